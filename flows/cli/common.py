"""What all commands share: options, consoles, exit codes, and errors told in one line."""

import json
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from flows.cli.completing import profile_keys, profile_names

if TYPE_CHECKING:
    from tasks.core.config import Profile

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class ExitCode(IntEnum):
    """What a command's exit status means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    SERVICE = 3
    INTERRUPTED = 130


ProfileOption = Annotated[
    str,
    typer.Option("--profile", "-p", help="A name in configs/, or a YAML file.", autocompletion=profile_names),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Override one key; may be repeated.",
        autocompletion=profile_keys,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def read_profile(name: str, overrides: list[str] | None) -> "Profile":
    """Read a profile with its overrides."""
    from tasks.core.config import load_profile

    return load_profile(name, tuple(overrides or ()))


def last_model(config: "Profile") -> str | None:
    """Return the model that the last run of this workspace tuned, or None."""
    from tasks.artifacts import latest_summary

    summary = latest_summary(config)
    return summary.model_id if summary else None


def print_json(value: Any) -> None:
    """Print a value as one indented JSON document."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


class ZavaGroup(TyperGroup):
    """Tells an error of the loop in one line, without a traceback, and ends with the status that fits it."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        from tasks.core.errors import ConfigError, ProviderUnavailableError, ServiceError, ZavaError

        try:
            return super().invoke(ctx)
        except ConfigError as error:
            _fail(error, ExitCode.USAGE)
        except (ServiceError, ProviderUnavailableError) as error:
            _fail(error, ExitCode.SERVICE)
        except ZavaError as error:
            _fail(error, ExitCode.FAILED)
        except BrokenPipeError:
            # The reader, such as `head`, has seen enough.
            sys.stderr.close()
            raise typer.Exit(ExitCode.OK) from None


def _fail(error: Exception, code: ExitCode) -> None:
    err.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
    raise typer.Exit(code) from None
