"""`zava deploy`: the loop by the clock and by the button, run by a worker."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from flows.cli.common import JsonOption, ProfileOption, SetOption, err, out, print_json, read_profile
from flows.cli.run import prepare_clients
from flows.cli.services import start

if TYPE_CHECKING:
    from flows.deployments import Deployed
    from tasks.core.config import Profile


FileOption = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="Register nothing; write a prefect.yaml for prefect deploy."),
]


def deploy(
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register every flow with Prefect, by the `deployment` of the profile, and start the worker that runs them.

    Schedules, the work pool, one retraining at a time, alerts and what happens to lost runs are keys of that section.
    Ends with 3 where the scheduler makes no runs, which a healthy server may hide. Safe to repeat; what a profile no
    longer holds is taken back.

    Example: `zava deploy --set 'deployment.schedules.retrain={cron: "0 3 * * 0", timezone: Europe/Berlin}'`
    """
    from flows import services
    from tasks.artifacts import workspace
    from tasks.files import write_atomically

    config = read_profile(profile, overrides)
    if file is not None:
        from flows.prefect_file import prefect_file

        write_atomically(file, prefect_file(config).encode())
        return
    start(config)
    prepare_clients(config)
    from flows.deployments import deploy as register

    with err.status("Registering, and waiting for the first scheduled runs"):
        made = register(config)
    services.retire(config)
    # JSON is YAML too; `zava up` starts from it what these deployments need.
    write_atomically(workspace(config).deployed_path, config.model_dump_json(indent=2).encode())
    start(config, loop_only=False)
    if as_json:
        print_json([_row(one) for one in made])
    else:
        out.print(_table(made))
        out.print(_hint(config), markup=False, soft_wrap=True)


def _row(one: "Deployed") -> dict[str, Any]:
    return {
        "deployment": f"{one.flow}/{one.name}",
        "id": str(one.deployment_id),
        "cron": one.clock and one.clock.cron,
        "timezone": one.clock and one.clock.timezone,
        "next_run": one.next_run and one.next_run.isoformat(),
    }


def _table(made: "list[Deployed]") -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("deployment", "schedule", "next run"):
        table.add_column(heading)
    for one in made:
        clock = f"{one.clock.cron} {one.clock.timezone}" if one.clock else "when asked"
        table.add_row(f"{one.flow}/{one.name}", clock, f"{one.next_run:%Y-%m-%d %H:%M} UTC" if one.next_run else "")
    return table


def _hint(config: "Profile") -> str:
    pool = config.deployment.pool
    where = f"{config.services.prefect}/deployments"
    if config.deployment.pool_type == "process" and not config.services.prefect_url:
        return f"The worker of pool {pool!r} runs them; begin one by hand on {where}"
    return f"Begin one by hand on {where}; they wait for a worker: prefect worker start --pool {pool}"
