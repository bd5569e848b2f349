"""`zava run`: the whole loop, with progress all the way and a table at the end."""

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.common import ExitCode, JsonOption, ProfileOption, SetOption, err, out, print_json, read_profile
from flows.cli.services import start

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.core.config import Profile


PlanOption = Annotated[
    bool, typer.Option("--plan", help="First show what it will take, and ask, or obey the limit of the profile.")
]
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
    With `--plan`, what it will take is shown before anything is paid for: a teacher's models before they are asked, all
    else once the dataset is made. A limit in the profile (training.max_cost) then stands for the answer.

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
        out.print(f"page     http://127.0.0.1:{config.services.page_port}", markup=False, soft_wrap=True)
    if not verdict(summary.comparison).better:
        raise typer.Exit(ExitCode.FAILED)


def _is_agreed(config: "Profile", yes: bool) -> bool:
    """Show what the run will take, on standard error; return whether it may go on."""
    from flows.cli.plan import plan_rows, synthesis_rows
    from flows.cli.progress import StageLines
    from tasks import measure, mix, plan, storing
    from tasks.progress import listening

    measure.require_shop(config)
    config = mix.steered(config)
    with StageLines(err) as lines, listening(lines):
        fetched = storing.fetched_dataset(config)
    ahead = None if fetched else plan.synthesis_ahead(config)
    if ahead and not _goes_on(synthesis_rows(config, ahead), yes):
        return False
    began = time.monotonic()
    with StageLines(err) as lines, listening(lines):
        dataset = storing.dataset_of(config)
    made = plan.plan_of(config, dataset)
    took = made.synthesis.model_copy(update={"minutes": (time.monotonic() - began) / 60})
    agreed = _goes_on(plan_rows(config, made.model_copy(update={"synthesis": took})), yes or _is_limited(config))
    plan.check_limit(config, made)
    return agreed


def _is_limited(config: "Profile") -> bool:
    return config.training.max_cost is not None


def _goes_on(rows: "Iterable[tuple[str, str]]", agreed: bool) -> bool:
    for name, figure in rows:
        err.print(f"{name:22} {figure}", markup=False, soft_wrap=True)
    return agreed or typer.confirm("Go on?", err=True)


def prepare_clients(config: "Profile") -> None:
    """Set what Prefect and MLflow read from the environment, for this process and those that it starts."""
    from infra.services.catalog import client_environment

    os.environ.update(client_environment(config.workspace, config.services.prefect))
    # The bars and lines of this command tell what happens; the logs are kept by the server.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
