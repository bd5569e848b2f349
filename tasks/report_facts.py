"""What the templates of a report show, by the name that they use."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from markupsafe import Markup

from tasks import close_ups, phrasing
from tasks import report_views as views
from tasks.charts import Dot, Line, line_chart, scatter_chart
from tasks.core import outcomes
from tasks.core.advice import main_reason, next_step
from tasks.core.close_up import Turn, turns_of
from tasks.core.conversation import Message
from tasks.core.cost import CostReport, points
from tasks.core.evaluation import EvalReport
from tasks.core.failure import MEANINGS, STAGES
from tasks.core.metrics import HEADLINE
from tasks.core.promotion import Promotion
from tasks.core.run import RunSummary, cost_text, difference_of, metric_rows, verdict
from tasks.core.training import TrainingMetric
from tasks.cost_words import break_even_text, hours_or_money, price_text
from tasks.family_table import Failure, FamilyTable
from tasks.templating import style_facts

SPEAKERS = {"user": "customer", "assistant": "agent", "call": "agent calls", "tool": "the tool returns"}
# Transcripts of the replay family, and steps of the training table: the rest is in MLflow.
STORIES, STEPS = 12, 12


class Part(NamedTuple):
    """A section of the page; its template has the name of the id."""

    id: str
    title: str


PARTS = (
    Part("gate", "The gate"),
    Part("compared", "Base against tuned"),
    Part("gain", "Where the gain came from"),
    Part("slices", "By slice"),
    Part("failures", "What went wrong"),
    Part("replay", "The replay"),
    Part("training", "Training"),
    Part("data", "The data"),
    Part("cost", "Time and cost"),
    Part("origin", "Where it comes from"),
)


def facts_of(summary: RunSummary, promotion: Promotion | None, costs: CostReport | None) -> dict[str, Any]:
    """Return what the templates show of a run."""
    compared, family = summary.comparison, FamilyTable.of(summary.families)
    both = (compared.base, compared.tuned)
    before, after = map(outcomes.failures, both)
    found = ((report.arm, phrasing.kept(report)) for report in both)
    phrasings = {arm: measured for arm, measured in found if measured}
    return {
        **style_facts(),
        "parts": [part for part in PARTS if part.id != "gate" or promotion],
        "run": summary,
        "promotion": promotion,
        "verdict": verdict(compared),
        "date": datetime.fromtimestamp(summary.started_at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "reason": main_reason(summary),
        "next": next_step(summary, promotion),
        "rows": metric_rows(compared),
        "metrics": views.metric_views(compared),
        "headline": HEADLINE,
        "reach": difference_of(compared, HEADLINE),
        "unanswered": views.unanswered(_reports(summary)),
        "arms": views.arm_views(summary),
        "arm_metrics": views.ARM_METRICS,
        "steps": views.waterfall(compared),
        "kinds": views.gain_views(outcomes.gain_by_failure(*both)),
        "tools": views.gain_views(outcomes.gain_by_slice(*both, HEADLINE, "tool=")),
        "meanings": MEANINGS,
        "stages_of": STAGES,
        "slices": views.slice_views(compared, phrasings),
        "phrasings": phrasings,
        "few": views.FEW,
        "failures": close_ups.failures_of(compared, summary.decisions),
        "shown": close_ups.SHOWN,
        "wrong": {kind: before[kind] + after[kind] for kind in STAGES},
        "reports": _reports(summary),
        "outcome_names": outcomes.OUTCOMES,
        "deed_names": outcomes.DEEDS,
        "speakers": SPEAKERS,
        "stories": [(story, _turns(story.messages)) for story in summary.stories],
        "family": family,
        "family_failures": _failed_stories(summary, family),
        "curves": _curves(summary),
        "curve_rows": _sampled(summary.curve),
        "funnel": views.funnel_views(summary.dataset.funnel),
        "coverage": views.coverage_view(summary.dataset.coverage),
        "cost": cost_text(summary.cost),
        "costs": costs,
        "frontiers": _frontiers(costs) if costs else [],
        "break_even_text": break_even_text,
        "price_text": price_text,
        "hours_or_money": hours_or_money,
    }


def _reports(summary: RunSummary) -> tuple[EvalReport, ...]:
    """Return the reports of all arms; of an older run those of base and tuned."""
    compared = summary.comparison
    return summary.standings.reports if summary.standings else (compared.base, compared.tuned)


def _turns(messages: tuple[Message, ...]) -> list[Turn]:
    return list(turns_of([message.to_openai() for message in messages]))


def _failed_stories(summary: RunSummary, family: FamilyTable) -> list[tuple[Failure, list[Turn]]]:
    """Return failed stories of the replay family with their transcripts, those of the tuned model first."""
    told = {(report.arm, result.member_id): result.messages for report in summary.families for result in report.results}
    ranked = sorted(family.failures, key=lambda failure: failure.arm != "tuned")
    return [(failure, _turns(told[failure.arm, failure.member_id])) for failure in ranked[:STORIES]]


class Curve(NamedTuple):
    """A chart of the training, with what it shows in words."""

    title: str
    unit: str
    lines: list[Line]
    text: str
    chart: Markup


def _curves(summary: RunSummary) -> list[Curve]:
    loss = [(m.step, m.train_loss, m.valid_loss) for m in summary.curve]
    right = [(m.step, m.train_mean_token_accuracy, m.valid_mean_token_accuracy) for m in summary.curve]
    made = (
        _curve("Loss by step", "mean cross-entropy a token", loss),
        _curve("Token accuracy by step", "share of tokens right", right),
    )
    return [curve for curve in made if curve.lines]


def _curve(title: str, unit: str, points: list[tuple[int, float | None, float | None]]) -> Curve:
    train = [(float(step), value) for step, value, _ in points if value is not None]
    valid = [(float(step), value) for step, _, value in points if value is not None]
    lines = [line for line in (Line("training", train, "a"), Line("validation", valid, "b")) if line.points]
    text = "; ".join(_told(line) for line in lines)
    return Curve(title, unit, lines, text, line_chart(f"{title}, {unit}: {text}", lines, x_label="step"))


def _told(line: Line) -> str:
    (first, begin), (last, end) = line.points[0], line.points[-1]
    return f"{line.label} from {begin:.3f} at step {first:,.0f} to {end:.3f} at step {last:,.0f}"


class Frontier(NamedTuple):
    """A scatter chart of accuracy against what it takes, in words, and the arms that no other beats."""

    unit: str
    best: tuple[str, ...]
    chart: Markup


def _frontiers(costs: CostReport) -> list[Frontier]:
    money = "machine-hours for 1,000 conversations" if costs.by_hours else "USD for 1,000 conversations"
    made = (
        (money, costs.best_for_money, points(costs.arms, by_hours=costs.by_hours)),
        ("seconds for an answer, median", costs.best_for_time, points(costs.arms, by_time=True)),
    )
    found = []
    for unit, best, arms in made:
        dots = [Dot(one.name, one.takes, one.quality, "a" if one.name in best else "b") for one in arms]
        told = "; ".join(f"{one.name} {100 * one.quality:.1f} % for {one.takes:.3g}" for one in arms)
        found.append(Frontier(unit, best, scatter_chart(f"Accuracy against {unit}: {told}", dots, x_label=unit)))
    return [one for one in found if one.chart]


def _sampled(curve: tuple[TrainingMetric, ...]) -> list[TrainingMetric]:
    """Return some steps, evenly spread, the last one among them."""
    if len(curve) <= STEPS:
        return list(curve)
    return [curve[round(place * (len(curve) - 1) / (STEPS - 1))] for place in range(STEPS)]
