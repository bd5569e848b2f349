"""Imports follow the arrows: flows -> tasks -> tasks.core, tasks -> zava_mcp; infra and zava_mcp stand alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("flows", "tasks", "zava_mcp", "infra")
MAY_IMPORT = {
    "flows": {"flows", "tasks", "zava_mcp", "infra"},
    "tasks": {"tasks", "zava_mcp"},
    "tasks.core": {"tasks.core"},
    "zava_mcp": {"zava_mcp"},
    "infra": {"infra"},
}
CLIENTS = {"openai", "mlflow", "boto3", "mcp"}
CORE_LIBRARIES = {
    *("datasketch", "pydantic", "pydantic_core", "yaml", "jsonschema", "referencing", "numpy", "orjson", "scipy"),
}
LINES = 400


def sources() -> list[Path]:
    return [path for package in OURS for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""


def room_of(module: str) -> str:
    return "tasks.core" if module == "tasks.core" or module.startswith("tasks.core.") else module.split(".")[0]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_imports_follow_the_arrows(path: Path) -> None:
    room = room_of(module_of(path))
    allowed = MAY_IMPORT[room]
    wrong = [
        name
        for name in imported(path)
        if name.split(".")[0] in OURS and room_of(name) not in allowed and room_of(name).split(".")[0] not in allowed
    ]
    assert wrong == []


def test_core_knows_values_only() -> None:
    import sys

    allowed = CORE_LIBRARIES | {"tasks"} | sys.stdlib_module_names
    wrong = {
        (module_of(path), name)
        for path in sources()
        if room_of(module_of(path)) == "tasks.core"
        for name in imported(path)
        if name.split(".")[0] not in allowed
    }
    assert wrong == set()


def test_flows_build_no_clients() -> None:
    wrong = {
        (module_of(path), name)
        for path in sources()
        if path.is_relative_to(ROOT / "flows")
        for name in imported(path)
        if name.split(".")[0] in CLIENTS
    }
    assert wrong == set()


def test_the_grader_stands_alone() -> None:
    import sys

    names = set(imported(ROOT / "tasks/core/grader.py"))
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_a_file_is_one_room(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


def test_the_top_level_is_the_one_promised() -> None:
    folders = {
        p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name != "zava.egg-info"
    }
    # `make docs` builds into site/, which is no part of the project.
    assert folders - {"site"} == {"flows", "tasks", "zava_mcp", "configs", "infra", "tests", "docs"}
