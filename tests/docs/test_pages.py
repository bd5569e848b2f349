"""The pages of docs/: built strictly, true to the code where they are made from it, and without another host."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import typer
from properdocs.commands.build import build
from properdocs.config import load_config
from pydantic import BaseModel

from docs.loop import PICTURE, picture
from flows.cli import app
from tasks.core.config import Profile

ROOT = Path(__file__).parents[2]
# What a browser fetches by itself when it shows a page.
FETCHED = {
    ("script", "src"),
    ("img", "src"),
    ("link", "href"),
    ("iframe", "src"),
    ("source", "src"),
    ("object", "data"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "properdocs.yml"), site_dir=str(folder))
    assert config.strict
    build(config)
    return folder


class Page(HTMLParser):
    """The words of a page, and what a browser fetches for it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value for name, value in attrs if value and (tag, name) in FETCHED]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page(file: Path) -> Page:
    return Page(file.read_text(encoding="utf-8"))


def test_no_page_asks_another_host(site: Path) -> None:
    pages = {file: page(file) for file in site.rglob("*.html")}
    assert len(pages) > 10
    outside = [(str(file), url) for file, one in pages.items() for url in one.fetched if re.match(r"\w+:|//", url)]
    styles = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    outside += [("css", url) for url in re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")]*)", styles)]
    assert outside == []


def keys(model: type[BaseModel]) -> Iterator[tuple[str, str | None, bool]]:
    """Yield each key of a section and of those within it: name, description, and whether it holds a section."""
    for name, field in model.model_fields.items():
        inner = [one for one in kinds(field.annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
        yield name, field.description, bool(inner)
        for one in inner:
            yield from keys(one)


def kinds(annotation: Any) -> Iterator[Any]:
    yield annotation
    if get_origin(annotation) in (Union, UnionType, tuple, dict, list):
        for one in get_args(annotation):
            yield from kinds(one)


def test_every_key_of_a_profile_says_what_it_is() -> None:
    assert [name for name, description, is_section in keys(Profile) if not description and not is_section] == []


def test_the_reference_has_every_key_with_its_description(site: Path) -> None:
    words = " ".join("".join(page(site / "reference/configuration.html").words).split())
    plain = {name: " ".join((description or "").replace("`", "").split()) for name, description, _ in keys(Profile)}
    assert [name for name, description in plain.items() if name not in words or description not in words] == []


def test_the_reference_has_every_command_and_option(site: Path) -> None:
    words = "".join(page(site / "reference/command-line.html").words)
    assert [told for told in commands(typer.main.get_command(app), "zava") if told not in words] == []


def commands(command: Any, name: str) -> Iterator[str]:
    yield name
    for parameter in command.params:
        yield max(parameter.opts, key=len) if parameter.param_type_name == "option" else parameter.metavar
        yield parameter.help or ""
    for inner in getattr(command, "commands", {}).values():
        yield from commands(inner, f"{name} {inner.name}")


def test_the_picture_of_the_loop_is_the_one_that_the_code_draws() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture()
