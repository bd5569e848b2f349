"""`zava up`, `zava down`, `zava status`: the services that the loop needs on this machine."""

import time
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from flows.cli.common import ExitCode, JsonOption, ProfileOption, SetOption, err, out, print_json, read_profile

if TYPE_CHECKING:
    from infra.services.supervisor import ServiceStatus
    from tasks.core.config import Profile

STYLES = {"healthy": "green", "starting": "yellow", "stopped": "dim", "orphaned": "red", "foreign": "red"}
ADVICE = {
    "starting": "wait, or read its log",
    "stopped": "zava up",
    "orphaned": "zava up",
    "foreign": "port taken; see zava doctor",
}


def up(profile: ProfileOption = "local", overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Start the local services and wait until they answer; those that are healthy are left alone.

    After `zava deploy` the worker that runs what it registered is one of them.

    Example: `zava up --profile local`
    """
    config = read_profile(profile, overrides)
    started = start(config, loop_only=False)
    if as_json:
        print_json({"started": started, "services": [s._asdict() for s in _status(config)]})
    elif not started:
        out.print("All services are up already.")


def start(config: "Profile", *, loop_only: bool = True) -> list[str]:
    """Bring the services up, telling each one's progress on standard error; return the names of those started.

    With `loop_only`, those that run deployments are left as they are.
    """
    from flows import services

    services.fetch_base(config, err.print)
    began = time.monotonic()
    addresses = {service.name: service.address for service in services.standing(config)}
    waiting: list[str] = []
    with err.status("Looking at the services") as spinner:

        def watch(name: str, state: str) -> None:
            if state == "starting":
                waiting.append(name)
            else:
                waiting.remove(name)
                err.print(f"{name:8} ready after {time.monotonic() - began:5.1f} s  {addresses[name]}")
            spinner.update(f"Starting {', '.join(waiting)}")

        return services.up(config, watch, loop_only=loop_only)


def down(profile: ProfileOption = "local", overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Stop the local services. Doing it twice is fine.

    Example: `zava down`
    """
    from flows import services

    stopped = services.down(read_profile(profile, overrides), lambda name, state: err.print(f"{name:8} {state}"))
    if as_json:
        print_json({"stopped": stopped})
    elif not stopped:
        out.print("Nothing was running.")


def status(profile: ProfileOption = "local", overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Show each local service: state, address, process, age and memory. Ends with 3 unless all are healthy.

    Example: `zava status --json`
    """
    rows = _status(read_profile(profile, overrides))
    if as_json:
        print_json([row._asdict() for row in rows])
    else:
        out.print(_table(rows))
    if any(row.state != "healthy" for row in rows):
        raise typer.Exit(ExitCode.SERVICE)


def _status(config: "Profile") -> "list[ServiceStatus]":
    from flows import services

    return services.status(config)


def _table(rows: "list[ServiceStatus]") -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("service", "state", "address", "pid", "up", "MiB", ""):
        table.add_column(heading, justify="right" if heading in {"pid", "up", "MiB"} else "left")
    for row in rows:
        table.add_row(
            row.name,
            f"[{STYLES[row.state]}]{row.state}[/]",
            row.address,
            str(row.pid or ""),
            age(row.uptime_s) if row.uptime_s is not None else "",
            f"{row.memory_mib:.0f}" if row.memory_mib is not None else "",
            ADVICE.get(row.state, ""),
        )
    return table


def age(seconds: float) -> str:
    """Return a duration as a person says it: `42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
