"""`zava promote` and `zava rollback`: which model is the champion, that `zava chat` and agents use."""

import getpass
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer
from rich.table import Table
from rich.text import Text

from flows.cli.common import ExitCode, JsonOption, ProfileOption, SetOption, err, out, print_json, read_profile
from flows.cli.run import prepare_clients

if TYPE_CHECKING:
    from tasks.core.config import Profile
    from tasks.core.promotion import GateVerdict

RunOption = Annotated[
    str | None, typer.Option("--run", metavar="ID", help="An MLflow run; default: the last finished of the workspace.")
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept in the evidence bundle.")]


def promote(
    run: RunOption = None,
    reason: ReasonOption = "",
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold a run's model against the gate of that run, and make it the champion. Ends with 1 where the gate refuses it.

    The gate is the one that the profile held when the run began. Calling this is the yes that `promotion.approval`
    waits for. Safe to repeat.

    Example: `zava promote --reason "better on returns"`
    """
    from flows.cli.progress import StageLines
    from tasks.core.promotion import Decision
    from tasks.progress import listening
    from tasks.promote import promote as promote_run

    config = read_profile(profile, overrides)
    prepare_clients(config)
    decision = Decision(answer="approved", by=getpass.getuser(), reason=reason)
    with StageLines(err) as lines, listening(lines):
        made = promote_run(config, run or _last_run(config), decision)
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        out.print(_table(made.case.verdict))
        out.print(made.sentence, markup=False, soft_wrap=True)
    if made.outcome == "refused":
        raise typer.Exit(ExitCode.FAILED)


def rollback(
    reason: ReasonOption = "",
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the previous champion the champion again; a second rollback restores the one that was taken back.

    A model that was taken back is not promoted again by a run; only another rollback brings it back.

    Example: `zava rollback --reason "wrong refunds"`
    """
    from flows.cli.progress import StageLines
    from tasks.progress import listening
    from tasks.rollback import Order
    from tasks.rollback import rollback as take_back

    config = read_profile(profile, overrides)
    prepare_clients(config)
    with StageLines(err) as lines, listening(lines):
        made = take_back(config, Order(getpass.getuser(), reason, uuid4().hex))
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        out.print(made.sentence, markup=False, soft_wrap=True)


def _last_run(config: "Profile") -> str:
    from tasks.artifacts import latest_summary
    from tasks.core.errors import PromotionError

    summary = latest_summary(config)
    if summary is None:
        raise PromotionError(f"No finished run in {str(config.workspace)!r}: `zava run` makes one.")
    return summary.tracked.run_id


def _table(verdict: "GateVerdict") -> Table:
    from tasks.core.promotion import figure_text

    table = Table(box=None, pad_edge=False)
    for heading in ("rule of the gate", "", "figure", "bound", ""):
        table.add_column(heading, justify="right" if heading == "figure" else "left", overflow="fold")
    for one in verdict.results:
        mark = "[green]passed[/]" if one.passed else "[red]failed[/]"
        bound = f"{one.bound} {figure_text(one.threshold, one.unit)}"
        table.add_row(one.rule.replace("_", " "), mark, figure_text(one.figure, one.unit), bound, Text(one.note))
    return table
