"""What the pages of docs/ take from the code: the reference, and the sources that they link to.

ProperDocs calls the functions `on_...` when it builds (`make docs`). The reference is made each time and lies in no
repository, so that it cannot be out of date.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import typer
from markdown.extensions.toc import slugify
from properdocs.config.defaults import ProperDocsConfig
from properdocs.structure.files import File, Files, InclusionLevel
from properdocs.structure.pages import Page
from pygments.formatters import HtmlFormatter
from typer.cli import get_docs_for_click

from flows.cli import app
from tasks.core.config import Profile

ROOT = Path(__file__).resolve().parent.parent
# [text](target) with a relative target, its anchor apart.
LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".md": "markdown", ".jsonl": "json", ".sh": "sh"}
Schema = Mapping[str, Any]


def configuration() -> str:
    """Return the page of all keys of a profile, section by section, as the code describes them."""
    schema = Profile.model_json_schema(mode="validation")
    parts = [
        "# Configuration",
        "A profile is one YAML file in `configs/` (`--profile NAME`) or anywhere else (`--profile FILE.yaml`). Every "
        "key can be set for one command by `--set section.key=value`, whose value is YAML; a key that is not there is "
        "refused, and the nearest one is named. Keys of providers are never in a profile: `provider.api_key_env` names "
        "the environment variable.",
        "This page is made from the code when it is built.",
        *_section("", schema, schema["$defs"], {}),
    ]
    return "\n\n".join(parts) + "\n"


def _section(path: str, section: Schema, definitions: Mapping[str, Schema], told: dict[str, str]) -> Iterator[str]:
    """Yield a section and those within it; `told` says where each kind of section is described."""
    below: dict[str, Schema] = {}
    rows = ["| key | is | default | what it says |", "|---|---|---|---|"]
    for name, field in section["properties"].items():
        inner, place = _inner(field, definitions), _place(path, name, field)
        kind = _kind(field, definitions)
        if inner is not None:
            told.setdefault(inner["title"], place)
            if told[inner["title"]] == place:
                below[place] = inner
            kind = kind.replace("a section", f"[a section](#{slugify(told[inner['title']], '-')})")
        cells = (f"`{name}`", kind, _default(name, field, section, inner), _told(field, inner))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    yield f"## {path}" if path else "## A profile"
    yield section.get("description", "").replace("\n", " ")
    yield "\n".join(rows)
    for place, inner in below.items():
        yield from _section(place, inner, definitions, told)


def _place(path: str, name: str, field: Schema) -> str:
    step = {"array": "[]", "object": ".NAME"}.get(field.get("type", ""), "")
    return f"{path}.{name}{step}".lstrip(".")


def _inner(field: Schema, definitions: Mapping[str, Schema]) -> Schema | None:
    """Return the section that a field holds, alone, in a list or by name."""
    for one in (field, *field.get("anyOf", ())):
        held = one.get("items", one.get("additionalProperties", one))
        if isinstance(held, Mapping) and "$ref" in held:
            found = definitions[held["$ref"].rpartition("/")[2]]
            return found if "properties" in found else None
    return None


def _told(field: Schema, inner: Schema | None) -> str:
    return str(field.get("description") or (inner or {}).get("description", "")).replace("\n", " ")


def _default(name: str, field: Schema, section: Schema, inner: Schema | None) -> str:
    if name in section.get("required", ()):
        return "must be given"
    value = field.get("default")
    if inner and isinstance(value, dict) and value:
        return "its defaults"
    if value is None or value in ("", [], {}):
        return "none"
    return f"`{_written(value)}`"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(_written, value))}]" if isinstance(value, list) else str(value)


def _kind(field: Schema, definitions: Mapping[str, Schema]) -> str:
    """Return a field's type and bounds in words."""
    if "anyOf" in field:
        return " or ".join(_kind(one, definitions) for one in field["anyOf"] if one.get("type") != "null")
    if "$ref" in field:
        found = definitions[field["$ref"].rpartition("/")[2]]
        return "a section" if "properties" in found else _kind(found, definitions)
    if "const" in field:
        return f"`{_written(field['const'])}`"
    if "enum" in field:
        return " ".join(f"`{_written(value)}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"list of: {_kind(field['items'], definitions)}" if field.get("items") else "list"
    if field.get("type") == "object":
        return _mapping(field, definitions)
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` `false`"}
    if field.get("format") == "path":
        return "path"
    return " ".join([words[field["type"]], *_bounds(field)])


def _mapping(field: Schema, definitions: Mapping[str, Schema]) -> str:
    values = field.get("additionalProperties")
    of = f" to {_kind(values, definitions)}" if isinstance(values, Mapping) else ""
    names = field.get("propertyNames")
    keys = _kind({"type": "string", **names}, definitions) if names else "text"
    return f"mapping of {keys}{of}"


def _bounds(field: Schema) -> Iterator[str]:
    for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<")):
        if key in field:
            yield f"{sign} {field[key]}"
    if "pattern" in field:
        yield f"like `{field['pattern']}`"


def command_line() -> str:
    """Return the page of all commands and options, as `--help` tells them."""
    command = typer.main.get_command(app)
    page = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="zava"), name="zava")
    return page.replace("# `zava`", "# Command line", 1).replace("```console", "```text")


def on_files(files: Files, config: ProperDocsConfig) -> Files:
    """Add the pages that are made, and those of the sources that are linked to."""
    made = {"reference/configuration.md": configuration(), "reference/command-line.md": command_line()}
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    files.append(File.generated(config, "pygments.css", content=_colours()))
    pages = [file for file in files if file.is_documentation_page()]
    for source in sorted({link for page in pages for link in _outside(page.src_uri, page.content_string)}):
        content = _listing(ROOT / source)
        files.append(File.generated(config, _listed(source), content=content, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Page, config: ProperDocsConfig, files: Files) -> str:
    """Lead links to sources to their pages."""
    here = page.file.src_uri

    def lead(found: re.Match[str]) -> str:
        target = _target(here, found[1])
        return os.path.relpath(_listed(target[3:]), PurePosixPath(here).parent) if _is_outside(target) else found[1]

    return markdown if here.startswith("source/") else LINK.sub(lead, markdown)


def _outside(here: str, markdown: str) -> Iterator[str]:
    """Yield the files of the project, beyond docs/, that a page links to."""
    for found in LINK.finditer(markdown):
        target = _target(here, found[1])
        if _is_outside(target) and (ROOT / target[3:]).is_file():
            yield target[3:]


def _target(here: str, link: str) -> str:
    return os.path.normpath(PurePosixPath(here).parent / link)


def _is_outside(target: str) -> bool:
    return target.startswith("../")


def _listed(source: str) -> str:
    return f"source/{source.replace('/', '_')}.md"


def _listing(source: Path) -> str:
    text = source.read_text(encoding="utf-8")
    fence = "`" * (max((len(run) for run in re.findall(r"`{3,}", text)), default=2) + 1)
    return f"# {source.relative_to(ROOT)}\n\n{fence}{LANGUAGES.get(source.suffix, 'text')}\n{text}\n{fence}\n"


def _colours() -> str:
    light: Any = HtmlFormatter(style="xcode")
    dark: Any = HtmlFormatter(style="github-dark")
    return f"{light.get_style_defs('.codehilite')}\n{dark.get_style_defs('[data-bs-theme=dark] .codehilite')}\n"
