"""Commands run in this process, as a person would type them."""

from pathlib import Path

from typer.testing import CliRunner

from flows.cli import app


def zava(*arguments: str, given: str | None = None) -> tuple[int, str, str]:
    """Run a command in this process; return its exit status, standard output and standard error."""
    result = CliRunner().invoke(app, list(arguments), input=given)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def settings(folder: Path, **keys: object) -> list[str]:
    given = {"workspace": folder / "workspace", **{name.replace("__", "."): value for name, value in keys.items()}}
    return [part for name, value in given.items() for part in ("--set", f"{name}={value}")]


def small(count: int) -> dict[str, object]:
    """Return settings for so many conversations in each split."""
    return {f"synthesis__{split}_conversations": count for split in ("train", "valid", "heldout")}
