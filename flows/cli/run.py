"""`zava run`: the whole loop, with progress all the way and a table at the end."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.common import ExitCode, JsonOption, ProfileOption, SetOption, err, out, print_json, read_profile
from flows.cli.services import start

if TYPE_CHECKING:
    from tasks.core.config import Profile
    from tasks.core.plan import Plan


PlanOption = Annotated[bool, typer.Option("--plan", help="First show what it will take, and ask.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def run(
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    plan: PlanOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make the dataset, fine-tune, measure base against tuned, record all of it. Ends with 1 unless tuned is better.

    Services that are down are started first. Safe to repeat, also after a kill: what is there is used again.
    With `--plan` the dataset is made first, which costs nothing, and what the rest will take is shown.

    Example: `zava run --profile local --set synthesis.train_conversations=200`
    """
    config = read_profile(profile, overrides)
    if plan and not _is_agreed(config, yes):
        return
    start(config)
    prepare_clients(config)
    # Imported after the environment is set: Prefect reads it then.
    from flows.cli.outcome import show
    from flows.cli.progress import StageLines
    from flows.retrain import retrain
    from tasks.core.run import verdict
    from tasks.progress import listening

    with StageLines(err) as lines, listening(lines):
        summary = retrain(config)
    if as_json:
        print_json(summary.model_dump(mode="json"))
    else:
        show(out, summary)
    if not verdict(summary.comparison).better:
        raise typer.Exit(ExitCode.FAILED)


def _is_agreed(config: "Profile", yes: bool) -> bool:
    """Show what the run will take, on standard error; return whether it may go on."""
    from flows.cli.progress import StageLines
    from tasks import measure
    from tasks.plan import plan_of
    from tasks.progress import listening

    with StageLines(err) as lines, listening(lines):
        made = plan_of(config, measure.dataset(config, measure.conversations(config)))
    for name, figure in plan_rows(made):
        err.print(f"{name:22} {figure}", markup=False)
    return yes or typer.confirm("Go on?", err=True)


def plan_rows(made: "Plan") -> list[tuple[str, str]]:
    """Return a plan's figures as a person reads them."""

    def usd(amount: float | None) -> str:
        return "no price known" if amount is None else f"{amount:.2f} USD"

    minutes = (
        "not known: no run yet"
        if made.minutes is None
        else f"about {made.minutes:.0f} min, as the last run that trained"
    )
    return [
        ("provider and base", f"{made.provider}, {made.base_model}"),
        ("rows to train on", f"{made.rows:,}"),
        ("tokens to train on", f"about {made.training_tokens:,}, {usd(made.training_cost)}"),
        ("decisions, two models", f"{made.decisions:,}, {usd(made.evaluation_cost)}"),
        ("time", minutes),
        ("detectable difference", f"{100 * made.detectable:.1f} points"),
    ]


def prepare_clients(config: "Profile") -> None:
    """Set what Prefect and MLflow read from the environment, for this process and those that it starts."""
    from infra.services.catalog import client_environment

    os.environ.update(client_environment(config.workspace, config.services.prefect_port))
    # The bars and lines of this command tell what happens; the logs are kept by the server.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
