"""The report of a run: one HTML file that needs nothing else, a Markdown summary, and the run as JSON."""

import json
from pathlib import Path
from typing import NamedTuple

from tasks.core.cost import CostReport
from tasks.core.promotion import GateVerdict, Promotion
from tasks.core.run import RunSummary, Story
from tasks.files import write_atomically
from tasks.report_facts import facts_of
from tasks.templating import template_environment


class Written(NamedTuple):
    """The files of a report."""

    html: Path
    markdown: Path
    summary: Path


def write_report(summary: RunSummary, folder: Path, costs: CostReport | None = None) -> Written:
    """Write `report.html`, `report.md` and `summary.json` into a folder.

    Raises:
        DataError: The folder cannot be written.
    """
    written = Written(folder / "report.html", folder / "report.md", folder / "summary.json")
    summary = summary.model_copy(update={"report_path": str(written.html)})
    write_pages(summary, folder, costs=costs)
    write_atomically(written.summary, summary.model_dump_json(indent=2).encode() + b"\n")
    return written


def write_pages(
    summary: RunSummary, folder: Path, promotion: Promotion | None = None, costs: CostReport | None = None
) -> list[Path]:
    """Write the report as HTML and Markdown, with the promotion once it was decided, and return the files.

    Raises:
        DataError: The folder cannot be written.
    """
    facts = facts_of(summary, promotion, costs)
    pages = [folder / "report.html", folder / "report.md"]
    for path in pages:
        template = template_environment(html=path.suffix == ".html").get_template(f"{path.name}.j2")
        write_atomically(path, template.render(facts).encode())
    return pages


def write_transcript(story: Story, folder: Path) -> Path:
    """Write a replayed story as JSON lines, one message each, and return the file.

    Raises:
        DataError: The folder cannot be written.
    """
    path = folder / f"{story.arm}.transcript.jsonl"
    lines = (json.dumps(message.to_openai(), ensure_ascii=False) + "\n" for message in story.messages)
    write_atomically(path, "".join(lines).encode())
    return path


def gate_table(judged: GateVerdict) -> str:
    """Return the rules of a gate as a Markdown table."""
    return template_environment(html=False).get_template("gate.md.j2").render(verdict=judged)
