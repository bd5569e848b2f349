"""The table that a run ends with: at most 80 columns, base against tuned, replay, time, cost and addresses."""

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from flows.cli.services import age
from tasks.core.evaluation import Comparison
from tasks.core.metrics import HEADLINE
from tasks.core.run import RunSummary, cost_text, interval, metric_rows, points, verdict

WIDTH = 80


def show(console: Console, summary: RunSummary) -> None:
    """Print the outcome of a run."""
    judged = verdict(summary.comparison)
    console.print()
    console.print(Group(_metrics(summary), Text(), _facts(summary)), width=min(WIDTH, console.width))
    console.print(Text(judged.sentence, style="bold green" if judged.better else "bold red"), soft_wrap=True)
    for line in arm_lines(summary):
        console.print(line, markup=False, soft_wrap=True)
    for label, address in addresses(summary).items():
        console.print(f"{label:8} {address}", markup=False, soft_wrap=True)


def addresses(summary: RunSummary) -> dict[str, str]:
    """Return where to look on."""
    store = {"store": summary.report_address} if summary.report_address else {}
    return {
        "Prefect": summary.prefect.address,
        "MLflow": summary.tracked.address,
        "report": summary.report_path,
        **store,
        "chat": f"zava chat --model {summary.model_id}",
    }


def metrics_table(comparison: Comparison) -> Table:
    """Return the table of both arms, narrow enough for 80 columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("in %", max_width=25)
    for heading in ("base", "tuned", "gain", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in metric_rows(comparison):
        gain = f"{100 * row.change.difference:+.1f}" if row.change else "-"
        measured = row.tuned or row.base
        n = f"{measured.n:,}" if measured else ""
        table.add_row(row.name.replace("_", " "), interval(row.base), interval(row.tuned), gain, n)
    arms = (comparison.base, comparison.tuned)
    table.add_row("errored", *(str(report.errored) for report in arms))
    latency = (f"{report.latency_p50_s:.2f} / {report.latency_p95_s:.2f}" for report in arms)
    table.add_row("seconds, p50 / p95", *latency)
    table.add_row("tokens in / out", *(f"{report.prompt_tokens:,} / {report.completion_tokens:,}" for report in arms))
    return table


def _metrics(summary: RunSummary) -> Table:
    table = metrics_table(summary.comparison)
    replays = {story.arm: "passed" if story.passed else "failed" for story in summary.stories}
    table.add_row("replay, Noah Brown", replays.get("base", "-"), replays.get("tuned", "-"))
    return table


def arm_lines(summary: RunSummary) -> list[str]:
    """Return a line for each arm beside base and tuned: what it reached, or why it was left out."""
    if summary.standings is None:
        return []
    lines = []
    for report in summary.standings.reports[2:]:
        found = {one.against: one for one in summary.standings.contrasts if one.arm == report.arm}
        against = (f"{points(one.difference)} against {name}" for name, one in found.items())
        reached = interval(report.metrics.get(HEADLINE))
        note = f" ({summary.standings.notes[report.arm]})" if report.arm in summary.standings.notes else ""
        lines.append(f"{report.arm}: {HEADLINE.replace('_', ' ')} {reached}; {'; '.join(against)}{note}")
    return lines + [f"{one.arm}: {one.skipped}" for one in summary.standings.skipped]


def _facts(summary: RunSummary) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for entry in summary.stages:
        table.add_row(entry.name, f"{entry.seconds:.1f} s", "there already" if entry.reused else "")
    table.add_row("all", age(summary.seconds), cost_text(summary.cost))
    return table
