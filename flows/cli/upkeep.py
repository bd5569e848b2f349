"""`zava reconcile`, `zava cleanup`, `zava webhook`: what is left behind, and word from a provider."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.cli.common import JsonOption, ProfileOption, SetOption, out, print_json, read_profile
from flows.cli.run import prepare_clients
from flows.cli.services import start

if TYPE_CHECKING:
    from tasks.core.finding import Finding

EveryOption = Annotated[
    float | None, typer.Option("--every", min=1, metavar="MINUTES", help="Stay, and do it again every so many minutes.")
]
PortOption = Annotated[int, typer.Option("--port", min=1, max=65535, help="Where to listen.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")]


def reconcile(
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    every: EveryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Finish, adopt or report what killed workers left: runs, jobs, uploads and deployments that belong to nobody.

    Runs that were killed end as crashed in Prefect and as killed in MLflow; jobs are found again by their key.

    Example: `zava reconcile --every 15`
    """
    config = read_profile(profile, overrides)
    start(config)
    prepare_clients(config)
    from flows.reconcile import reconcile as reconcile_flow

    if every is not None:
        parameters = {"profile": config.model_dump(mode="json")}
        reconcile_flow.serve(name=config.name, interval=timedelta(minutes=every), parameters=parameters)
        return
    _show(reconcile_flow(config), as_json)


def cleanup(
    profile: ProfileOption = "local", overrides: SetOption = None, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """List uploads that no job uses and deployments that this project made, which may cost by the hour; remove them.

    Example: `zava cleanup --profile azure --yes`
    """
    from tasks import reconcile as left_behind
    from tasks.clients import openai_client

    config = read_profile(profile, overrides)
    with openai_client(config.provider) as client:
        found = left_behind.idle_things(config, client)
        if found and not yes:
            _show(found, as_json)
            if as_json or not typer.confirm(f"Remove these {len(found)}?", err=True):
                return
        _show(left_behind.removed(config, client, found), as_json)


def webhook(profile: ProfileOption = "local", overrides: SetOption = None, port: PortOption = 8767) -> None:
    """Receive a provider's signed messages about jobs on 127.0.0.1, so that a wait ends at once; end with Ctrl-C.

    The secret of the endpoint is read from OPENAI_WEBHOOK_SECRET. Without this command, jobs are asked as ever.

    Example: `zava webhook --profile openai --port 8767`
    """
    import uvicorn

    from flows.webhook import receiver
    from tasks.artifacts import workspace
    from tasks.core.errors import ConfigError

    config = read_profile(profile, overrides)
    secret = os.environ.get("OPENAI_WEBHOOK_SECRET")
    if not secret:
        raise ConfigError("No secret to check signatures with: set the variable OPENAI_WEBHOOK_SECRET.")
    uvicorn.run(receiver(workspace(config).bells, secret), host="127.0.0.1", port=port, log_level="warning")


def _show(found: "list[Finding]", as_json: bool) -> None:
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in found])
    elif not found:
        out.print("All is in order.")
    else:
        table = Table(box=None, pad_edge=False)
        for heading in ("what", "id", "", ""):
            table.add_column(heading, overflow="fold")
        for finding in found:
            table.add_row(finding.kind, finding.id, finding.outcome, finding.note)
        out.print(table)
