"""What pages claim that can be looked up: commands, options, keys of a profile, targets of make, modules, files."""

import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import typer
from pydantic import BaseModel
from typer.core import TyperGroup

from flows.cli import app
from tasks.core.config import Profile

ROOT = Path(__file__).parents[2]
SHELL = re.compile(r"```(?:sh|bash)\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
ENDS = {"|", ">", "<", "&", "&&", ";", "||", "2>&1", ">>", "<<"}
FOLDERS = "configs|docs|flows|infra|tasks|tests|zava_mcp"


class Claim(NamedTuple):
    """Words that may be wrong, and where they stand."""

    page: str
    words: str


def claims(page: Path) -> Iterator[Claim]:
    """Yield each command of a page's shell blocks, and all that stands in `code` of its text."""
    text = page.read_text(encoding="utf-8")
    for block in SHELL.findall(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            yield Claim(page.name, line.strip())
    for words in INLINE.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        yield Claim(page.name, words)


def wrong(claim: Claim, written: set[str]) -> str | None:
    """Return what is wrong with a claim, or None; `written` are files that a reader makes."""
    words = claim.words.removeprefix(".venv/bin/")
    if re.match(r"zava( |$)", words):
        return _wrong_command(_arguments(words)[1:])
    if found := re.match(r"make ([a-z]+)", words):
        return None if f"\n{found[1]}:" in (ROOT / "Makefile").read_text() else f"no target {found[1]!r}"
    if found := re.match(r"python -m ([\w.]+)", words):
        return None if find_spec(found[1]) else f"no module {found[1]!r}"
    if found := re.fullmatch(rf"((?:{FOLDERS})/[\w./-]*\w)", words):
        return None if (ROOT / found[1]).exists() or found[1] in written else f"no file {found[1]!r}"
    if re.fullmatch(r"[a-z]+(\.[a-z_]+)+(=.*)?", words) and words.split(".")[0] in Profile.model_fields:
        return _wrong_key(words.partition("=")[0].split("."), Profile)
    return None


def _arguments(words: str) -> list[str]:
    split = shlex.split(words, comments=True)
    ends = [place for place, word in enumerate(split) if word in ENDS or word.startswith(("<<", ">"))]
    return split[: min(ends, default=len(split))]


def _wrong_command(arguments: list[str]) -> str | None:
    command: Any = typer.main.get_command(app)
    known = set(command.get_help_option_names(typer.Context(command)))
    while arguments:
        word, *arguments = arguments
        if isinstance(command, TyperGroup) and word in command.commands:
            command = command.commands[word]
            known |= {name for parameter in command.params for name in parameter.opts}
        elif word.startswith("-"):
            if word.partition("=")[0] not in known | {"--install-completion", "--show-completion"}:
                return f"zava {command.name} has no option {word!r}"
            if word in {"--set", "-s"} and (bad := _wrong_key(arguments[0].partition("=")[0].split("."), Profile)):
                return bad
        elif command.name == "zava":
            return f"zava has no command {word!r}"
    return None


def _wrong_key(path: list[str], model: type[BaseModel]) -> str | None:
    for place, name in enumerate(path):
        if name not in model.model_fields:
            return f"no key {'.'.join(path[: place + 1])!r}"
        inner = _section(model.model_fields[name].annotation)
        if inner is None:
            return None
        model = inner
    return None


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a key holds; what is held by name or in a list has no fixed keys."""
    if get_origin(annotation) in (dict, tuple, list):
        return None
    sections = (one for one in (annotation, *get_args(annotation)) if isinstance(one, type))
    return next((one for one in sections if issubclass(one, BaseModel)), None)
