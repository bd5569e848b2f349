"""The report of a run: one HTML file that needs nothing else, a Markdown summary, and the run as JSON."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.charts import Line, line_chart
from tasks.core.conversation import Message
from tasks.core.run import (
    HEADLINE,
    LOWER_IS_BETTER,
    RunSummary,
    Story,
    cost_text,
    interval,
    metric_rows,
    percent,
    points,
    verdict,
)
from tasks.files import write_atomically

TEMPLATES = Path(__file__).parent / "templates"


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
        "lower_is_better": LOWER_IS_BETTER,
        "slices": _slices(summary),
        "stories": [(story, _turns(story.messages)) for story in summary.stories],
        "loss": _loss(summary),
        "accuracy": _accuracy(summary),
        "cost": cost_text(summary.cost),
    }


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
