import json
from pathlib import Path
from typing import Any

import pytest

from zava_mcp.snapshot import load_snapshot
from zava_mcp.store import RetailStore

SNAPSHOT = Path(__file__).parents[1] / "data" / "retail_snapshot.json"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def imported() -> RetailStore:
    """The imported snapshot; tests that change something fork it."""
    return load_snapshot(SNAPSHOT)


@pytest.fixture
def shop(imported: RetailStore) -> RetailStore:
    return imported.fork()


@pytest.fixture
def content() -> dict[str, Any]:
    """The snapshot as plain JSON values, free to be changed."""
    return json.loads(SNAPSHOT.read_text(encoding="utf-8"))
