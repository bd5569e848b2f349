"""`zava reconcile`, `zava cleanup`, `zava webhook`: what is left behind, and messages from outside."""

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
HostOption = Annotated[str, typer.Option("--host", help="Listen there; from other machines only behind TLS.")]
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


def webhook(profile: ProfileOption = "local", overrides: SetOption = None, host: HostOption = "127.0.0.1") -> None:
    """Receive signed messages that begin runs, as `deployment.hooks` says; after a deploy `zava up` does.

    POST /hooks/retrain begins a retraining, /hooks/contract begins one where policy or tools are others than the last
    model learned, /hooks/transcript puts a failing conversation into the replay pack and the scenario mix,
    /hooks/provider ends the wait for a job at once. They are signed by the Standard Webhooks; the secrets (whsec_ and
    base64) are in ZAVA_HOOK_RETRAIN_SECRET and so on, OPENAI_WEBHOOK_SECRET for the provider. Put a proxy with
    TLS in front. GET /healthz, /readyz and Prometheus' /metrics.

    Example: `zava webhook --set 'deployment.hooks={retrain: {parameters: [synthesis.intents]}, provider: {}}'`
    """
    import uvicorn

    config = read_profile(profile, overrides)
    prepare_clients(config)
    from flows.webhook import receiver

    uvicorn.run(receiver(config), host=host, port=config.services.webhook_port, log_level="warning")


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
