"""`zava evaluate --episodes`: whole conversations with simulated customers."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

from flows.cli.common import err, out, print_json

if TYPE_CHECKING:
    from tasks.core.config import Profile
    from tasks.core.episodes import EpisodesReport


class Wanted(NamedTuple):
    """Which episodes are asked for."""

    tasks: Path
    snapshot: Path | None
    customer: str | None
    trials: int


def play(config: "Profile", model_id: str, wanted: Wanted, *, as_json: bool) -> None:
    """Play the episodes and show how reliable the model is, and whose fault the failures are."""
    from flows.cli.progress import StageLines
    from tasks.measure_episodes import episodes
    from tasks.progress import listening

    if wanted.snapshot is not None:
        world = config.world.model_copy(update={"snapshot": wanted.snapshot})
        config = config.model_copy(update={"world": world})
    with StageLines(err) as lines, listening(lines):
        report = episodes(config, model_id, wanted.tasks, wanted.trials, wanted.customer)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        out.print(_table(report))


def _table(report: "EpisodesReport") -> Table:
    from tasks.core.run import interval, percent

    table = Table(box=None, pad_edge=False)
    table.add_column(f"{report.tasks} episodes, {report.trials} trials each, customer: {report.customer}")
    table.add_column(report.model_id, justify="right", overflow="fold")
    table.add_row("goal reached and policy kept, in %", interval(report.success))
    table.add_row("goal reached, in %", interval(report.reached))
    for k, (success, reached) in enumerate(zip(report.success_hat, report.reached_hat, strict=True), start=1):
        table.add_row(f"pass^{k}, with the policy / goal alone", f"{percent(success)} / {percent(reached)}")
    for who, count in report.blamed.items():
        table.add_row(f"failed by the {who}", str(count))
    for rule, count in report.broken_rules.items():
        table.add_row(f"broken: {rule}", str(count))
    return table
