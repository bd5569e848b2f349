"""The report of a run: one HTML file that needs nothing else, a Markdown summary, and the run as JSON."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.charts import Line, line_chart
from tasks.core import outcomes
from tasks.core.conversation import Message
from tasks.core.evaluation import EvalReport
from tasks.core.failure import STAGES
from tasks.core.metrics import HEADLINE, LOWER_IS_BETTER
from tasks.core.run import (
    RunSummary,
    Story,
    cost_text,
    difference_of,
    interval,
    metric_rows,
    percent,
    points,
    verdict,
)
from tasks.family_table import FamilyTable
from tasks.files import write_atomically

TEMPLATES = Path(__file__).parent / "templates"
# What the table of arms shows of each.
ARM_METRICS = (HEADLINE, "equivalent_accuracy", "decision_accuracy", "weighted_score", "invented_argument_rate")


class Written(NamedTuple):
    """The files of a report."""

    html: Path
    markdown: Path
    summary: Path


def write_report(summary: RunSummary, folder: Path) -> Written:
    """Write `report.html`, `report.md` and `summary.json` into a folder.

    Raises:
        DataError: The folder cannot be written.
    """
    written = Written(folder / "report.html", folder / "report.md", folder / "summary.json")
    summary = summary.model_copy(update={"report_path": str(written.html)})
    facts = _facts(summary)
    for path, template in ((written.html, "report.html.j2"), (written.markdown, "report.md.j2")):
        text = template_environment(html=path.suffix == ".html").get_template(template).render(facts)
        write_atomically(path, text.encode())
    write_atomically(written.summary, summary.model_dump_json(indent=2).encode() + b"\n")
    return written


def write_transcript(story: Story, folder: Path) -> Path:
    """Write a replayed story as JSON lines, one message each, and return the file.

    Raises:
        DataError: The folder cannot be written.
    """
    path = folder / f"{story.arm}.transcript.jsonl"
    lines = (json.dumps(message.to_openai(), ensure_ascii=False) + "\n" for message in story.messages)
    write_atomically(path, "".join(lines).encode())
    return path


def template_environment(*, html: bool) -> Environment:
    """Return the templates of this project with the filters that they use."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(interval=interval, percent=percent, points=points, count="{:,}".format, cell=_cell)
    return environment


def _cell(text: str) -> str:
    """Return a text that fits into one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _facts(summary: RunSummary) -> dict[str, Any]:
    """Return what the templates show."""
    return {
        "run": summary,
        "verdict": verdict(summary.comparison),
        "date": datetime.fromtimestamp(summary.started_at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "metrics": metric_rows(summary.comparison),
        "headline": HEADLINE,
        "arm_metrics": ARM_METRICS,
        "lower_is_better": LOWER_IS_BETTER,
        "slices": _slices(summary),
        "arms": _arms(summary),
        "failures": _gains(outcomes.gain_by_failure(*_both(summary))),
        "tools": _gains(outcomes.gain_by_slice(*_both(summary), HEADLINE, "tool=")),
        "stages_of": STAGES,
        "outcome_names": outcomes.OUTCOMES,
        "reach": difference_of(summary.comparison, HEADLINE),
        "unanswered": _unanswered(summary),
        "stories": [(story, _turns(story.messages)) for story in summary.stories],
        "family": FamilyTable.of(summary.families),
        "loss": _loss(summary),
        "accuracy": _accuracy(summary),
        "cost": cost_text(summary.cost),
    }


def _unanswered(summary: RunSummary) -> list[str]:
    """Return the bounds of each metric that unanswered decisions leave open."""
    return [
        f"{report.arm}, {name}: {percent(metric.best)} at best, {percent(metric.worst)} at worst"
        for report in _both(summary)
        for name, metric in report.metrics.items()
        if metric.best is not None and metric.worst is not None
    ]


class ArmRow(NamedTuple):
    """An arm as text; `against` holds its differences from the arms before it."""

    name: str
    model_id: str
    values: tuple[str, ...]
    against: tuple[str, ...]
    errored: int


def _arms(summary: RunSummary) -> list[ArmRow]:
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
        values = tuple(interval(report.metrics.get(name)) for name in ARM_METRICS)
        rows.append(ArmRow(report.arm, report.model_id, values, tuple(against), report.errored))
    return rows


class GainRow(NamedTuple):
    """What a kind of failure or a tool gives to the gain, as text."""

    name: str
    base: int
    tuned: int
    gain: str


def _gains(contributions: list[outcomes.Contribution]) -> list[GainRow]:
    return [GainRow(one.name, one.first, one.second, f"{100 * one.gain:+.1f}") for one in contributions]


def _both(summary: RunSummary) -> tuple[EvalReport, EvalReport]:
    return summary.comparison.base, summary.comparison.tuned


class SliceRow(NamedTuple):
    """The headline metric of both arms on one slice, as text."""

    name: str
    base: str
    tuned: str
    n: int


def _slices(summary: RunSummary) -> list[SliceRow]:
    base, tuned = summary.comparison.base.slices, summary.comparison.tuned.slices
    rows = []
    for name in tuned:
        after = tuned[name].get(HEADLINE)
        if after:
            rows.append(SliceRow(name, interval(base.get(name, {}).get(HEADLINE)), interval(after), after.n))
    return rows


class Turn(NamedTuple):
    """A message of a transcript as it is shown."""

    who: str
    text: str


def _turns(messages: tuple[Message, ...]) -> list[Turn]:
    turns = []
    for message in messages:
        if message.role == "system":
            continue
        if message.content:
            turns.append(Turn(message.role, message.content))
        turns += [Turn("call", f"{call.name}({call.arguments})") for call in message.tool_calls]
    return turns


def _loss(summary: RunSummary) -> str:
    curve = summary.curve
    train = [(float(m.step), m.train_loss) for m in curve if m.train_loss is not None]
    valid = [(float(m.step), m.valid_loss) for m in curve if m.valid_loss is not None]
    lines = [Line("training", train, "a"), Line("validation", valid, "b")]
    return line_chart("Loss by step", lines, x_label="step", y_label="cross-entropy a token")


def _accuracy(summary: RunSummary) -> str:
    curve = summary.curve
    train = [(float(m.step), m.train_mean_token_accuracy) for m in curve if m.train_mean_token_accuracy is not None]
    valid = [(float(m.step), m.valid_mean_token_accuracy) for m in curve if m.valid_mean_token_accuracy is not None]
    lines = [Line("training", train, "a"), Line("validation", valid, "b")]
    return line_chart("Token accuracy by step", lines, x_label="step", y_label="share of tokens right")
