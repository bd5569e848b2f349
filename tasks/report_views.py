"""The tables of a report as its templates show them: numbers, with the marks beside them."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from markupsafe import Markup

from tasks.core import metrics, outcomes
from tasks.core.coverage import CoverageRow
from tasks.core.coverage import table as coverage_table
from tasks.core.dataset import Funnel, FunnelStep
from tasks.core.evaluation import Comparison, Difference, EvalReport, Metric
from tasks.core.metrics import HEADLINE
from tasks.core.phrasing import PhrasingReport
from tasks.core.run import RunSummary, metric_rows, percent, points
from tasks.marks import bar, intervals

# What the table of arms shows of each.
ARM_METRICS = (HEADLINE, "equivalent_accuracy", "decision_accuracy", "weighted_score", "invented_argument_rate")
# Below so many decisions an interval is wide, and the cell says so.
FEW = 20


class MetricView(NamedTuple):
    """A metric of both arms, what it is the share of, and its picture."""

    name: str
    meaning: str
    lower_is_better: bool
    base: Metric | None
    tuned: Metric | None
    change: Difference | None
    n: int
    mark: Markup


def metric_views(comparison: Comparison) -> list[MetricView]:
    """Return the metrics of both arms, in the order in which they are measured."""
    return [
        MetricView(
            row.name,
            metrics.MEANINGS[row.name],
            row.name in metrics.LOWER_IS_BETTER,
            row.base,
            row.tuned,
            row.change,
            max((metric.n for metric in (row.base, row.tuned) if metric), default=0),
            intervals(row.base, row.tuned),
        )
        for row in metric_rows(comparison)
    ]


class Fall(NamedTuple):
    """A row of the waterfall: a total, or the points that one step gives; the counts are of wrong decisions."""

    name: str
    points: float
    is_total: bool
    base: int | None
    tuned: int | None
    mark: Markup


def waterfall(comparison: Comparison) -> list[Fall]:
    """Return how the share of decisions that are right or equivalent goes from base to tuned, step by step."""
    base, tuned = comparison.base, comparison.tuned
    at = _share(base)
    if at is None:
        return []
    rows = [Fall("base", 100 * at, True, None, None, bar(0, at, "base"))]
    for step in outcomes.gain_by_step(base, tuned):
        style = "tuned" if step.gain >= 0 else "worse"
        rows.append(Fall(step.name, 100 * step.gain, False, step.first, step.second, bar(at, at + step.gain, style)))
        at += step.gain
    return [*rows, Fall("tuned", 100 * at, True, None, None, bar(0, at, "tuned"))]


def _share(report: EvalReport) -> float | None:
    """Return the share of decisions that are right or equivalent."""
    decisions = sum(sum(row.values()) for row in report.outcomes.values())
    good = sum(row.get(name, 0) for row in report.outcomes.values() for name in (outcomes.RIGHT, outcomes.EQUIVALENT))
    return good / decisions if decisions else None


class GainView(NamedTuple):
    """What a kind of failure or a tool gives to the gain."""

    name: str
    base: int
    tuned: int
    gain: float
    mark: Markup


def gain_views(contributions: Iterable[outcomes.Contribution]) -> list[GainView]:
    """Return contributions, each with a bar to the right of the middle for a gain and to the left for a loss."""
    rows = list(contributions)
    most = max((abs(one.gain) for one in rows), default=0.0) or 1.0
    return [
        GainView(
            one.name,
            one.first,
            one.second,
            100 * one.gain,
            bar(0.5, 0.5 + one.gain / most / 2, "tuned" if one.gain >= 0 else "worse"),
        )
        for one in rows
    ]


class SliceView(NamedTuple):
    """The headline metric of both arms on one slice."""

    name: str
    n: int
    base: Metric | None
    tuned: Metric
    gain: float | None


def slice_views(
    comparison: Comparison, phrasings: Mapping[str, PhrasingReport] = MappingProxyType({})
) -> dict[str, list[SliceView]]:
    """Return the slices by what they are of; intents and tools with the lowest of the tuned model first.

    `phrasings` holds, by arm, what was measured of seen and unseen words; where the tuned model's is, it is a slice.
    """
    base, tuned = comparison.base.slices, comparison.tuned.slices
    if "tuned" in phrasings:
        tuned, base = tuned | _by_phrasing(phrasings["tuned"]), base | _by_phrasing(phrasings.get("base"))
    groups: dict[str, list[SliceView]] = {of: [] for of in ("intent", "tool", "depth")}
    for name, found in tuned.items():
        after, before = found.get(HEADLINE), base.get(name, {}).get(HEADLINE)
        if after:
            of, _, value = name.partition("=")
            gain = after.value - before.value if before else None
            groups.setdefault(of, []).append(SliceView(value, after.n, before, after, gain))
    ranked = {of: sorted(rows, key=lambda row: row.tuned.value) for of, rows in groups.items()}
    ranked["depth"] = sorted(groups["depth"], key=lambda row: int(row.name.partition("-")[0]))
    return {of: rows for of, rows in ranked.items() if rows}


def _by_phrasing(report: PhrasingReport | None) -> dict[str, dict[str, Metric]]:
    """Return the metrics on both sets as slices; nothing where they were not measured."""
    if report is None:
        return {}
    return {"phrasing=as in training": report.seen.metrics, "phrasing=unseen": report.unseen.metrics}


class ArmView(NamedTuple):
    """An arm as text; `against` holds its differences from the arms before it, `note` how it was asked."""

    name: str
    model_id: str
    note: str
    values: tuple[Metric | None, ...]
    against: tuple[str, ...]
    errored: int


def arm_views(summary: RunSummary) -> list[ArmView]:
    """Return all arms that were measured, with their differences from base and tuned."""
    ranked = summary.standings
    if ranked is None:
        return []
    rows = []
    for report in ranked.reports:
        contrasts = {one.against: one for one in ranked.contrasts if one.arm == report.arm}
        against = (
            f"{points(one.difference)}, p = {one.p_holm:.3g}" if (one := contrasts.get(name)) else "-"
            for name in ("base", "tuned")
        )
        values = tuple(report.metrics.get(name) for name in ARM_METRICS)
        note = ranked.notes.get(report.arm, "")
        rows.append(ArmView(report.arm, report.model_id, note, values, tuple(against), report.errored))
    return rows


def unanswered(reports: Iterable[EvalReport]) -> list[str]:
    """Return the bounds of each metric that unanswered decisions leave open."""
    return [
        f"{report.arm}, {name}: {percent(metric.best)} at best, {percent(metric.worst)} at worst"
        for report in reports
        for name, metric in report.metrics.items()
        if metric.best is not None and metric.worst is not None
    ]


class FunnelView(NamedTuple):
    """A gate of the funnel, with the share of all conversations that got through it."""

    step: FunnelStep
    mark: Markup


def funnel_views(funnel: Funnel) -> list[FunnelView]:
    """Return the gates of the funnel in their order."""
    played = funnel.played or 1
    return [FunnelView(step, bar(0, step.passed / played, "tuned")) for step in funnel.steps()]


class CoverageView(NamedTuple):
    """How often each tool was used with each outcome; `most` is the largest count, `rows` are the cells by rule."""

    outcomes: tuple[str, ...]
    tools: dict[str, dict[str, int]]
    most: int
    rows: list[CoverageRow]


def coverage_view(counts: Mapping[str, int]) -> CoverageView:
    """Return the coverage of the training rows as a grid, and cell by cell."""
    rows = coverage_table(counts, {})
    tools: dict[str, dict[str, int]] = {}
    for row in rows:
        cells = tools.setdefault(row.tool, {})
        cells[row.outcome] = cells.get(row.outcome, 0) + row.seen
    order = ("ok", "error", "refused", "declined", "handed_over")
    seen = tuple(name for name in order if any(name in cells for cells in tools.values()))
    most = max((count for cells in tools.values() for count in cells.values()), default=1)
    return CoverageView(seen, tools, most, rows)
