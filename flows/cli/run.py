"""`zava run`: the whole loop, with progress all the way and a table at the end."""

import os
from typing import TYPE_CHECKING

import typer

from flows.cli.common import ExitCode, JsonOption, ProfileOption, SetOption, err, out, print_json, read_profile
from flows.cli.services import start

if TYPE_CHECKING:
    from tasks.core.config import Profile


def run(profile: ProfileOption = "local", overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Make the dataset, fine-tune, measure base against tuned, record all of it. Ends with 1 unless tuned is better.

    Services that are down are started first. Safe to repeat, also after a kill: what is there is used again.

    Example: `zava run --profile local --set synthesis.train_conversations=200`
    """
    config = read_profile(profile, overrides)
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


def prepare_clients(config: "Profile") -> None:
    """Set what Prefect and MLflow read from the environment, for this process and those that it starts."""
    from infra.services.catalog import client_environment

    os.environ.update(client_environment(config.workspace, config.services.prefect_port))
    # The bars and lines of this command tell what happens; the logs are kept by the server.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
