"""`zava evaluate --seen-phrasing`: the held-out errands in unseen words and in those of training."""

from typing import TYPE_CHECKING

from rich.table import Table

from flows.cli.common import out, print_json

if TYPE_CHECKING:
    from tasks.core.phrasing import PhrasingReport


def show(report: "PhrasingReport", *, as_json: bool) -> None:
    """Print both sets side by side, with the difference of each metric."""
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        out.print(_table(report))
        out.print(report.sentence, markup=False, soft_wrap=True)


def _table(report: "PhrasingReport") -> Table:
    from tasks.core.run import interval

    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("in %", max_width=23)
    for heading in ("unseen words", "seen words", "seen - unseen"):
        table.add_column(heading, justify="right", no_wrap=True)
    changes = {change.metric: change for change in report.differences}
    for name in dict.fromkeys([*report.unseen.metrics, *report.seen.metrics]):
        both = (interval(side.metrics.get(name)) for side in (report.unseen, report.seen))
        change = changes.get(name)
        gap = f"{100 * change.difference:+.1f} ({100 * change.low:.1f}..{100 * change.high:.1f})" if change else "-"
        table.add_row(name.replace("_", " "), *both, gap)
    table.add_row("errored", *(str(side.errored) for side in (report.unseen, report.seen)), "")
    return table
