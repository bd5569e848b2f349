"""`zava doctor`: is this machine fit for a run, and what to do where it is not."""

import typer
from rich.table import Table

from flows.cli.common import ExitCode, JsonOption, ProfileOption, SetOption, out, print_json, read_profile

MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "fault": "[red]fault[/]"}


def doctor(profile: ProfileOption = "local", overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Check versions, workspace, disk, machine, keys, what the provider can do, ports and services.

    What it asks of a provider costs nothing. Ends with 1 where a fault was found.

    Example: `zava doctor --profile local`
    """
    from flows.doctor import examine

    checks = examine(read_profile(profile, overrides))
    if as_json:
        print_json([check._asdict() for check in checks])
    else:
        table = Table(box=None, pad_edge=False)
        for heading in ("check", "", "found", "what to do"):
            table.add_column(heading, overflow="fold")
        for check in checks:
            table.add_row(check.name, MARKS[check.level], check.found, check.advice)
        out.print(table)
    if any(check.level == "fault" for check in checks):
        raise typer.Exit(ExitCode.FAILED)
