"""The server as its own process, over stdio and over real HTTP."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.zava_mcp import tour
from tests.zava_mcp.conftest import SNAPSHOT
from zava_mcp.snapshot import dump_snapshot
from zava_mcp.store import RetailStore

pytestmark = pytest.mark.anyio

CANCEL = {"order_id": "#W4923227", "reason": "no longer needed"}


class Served(NamedTuple):
    url: str
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    command = [sys.executable, "-m", "zava_mcp", "--transport", "http", "--port", "0", "--snapshot", str(SNAPSHOT)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield Served(process.stderr.readline().rsplit(" ", 1)[1].strip().removesuffix("/mcp"), process)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)


@asynccontextmanager
async def connected(url: str, sandbox: str | None = None) -> AsyncIterator[Client]:
    headers = {} if sandbox is None else {"X-Zava-Sandbox": sandbox}
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
    ):
        yield client


async def test_every_tool_answers_over_stdio(shop: RetailStore) -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "zava_mcp", "--snapshot", str(SNAPSHOT)],
        env=dict(os.environ),
        cwd=str(Path.cwd()),
    )
    async with Client(server) as client:
        await tour.take(client, shop)


async def test_every_tool_answers_over_http(served: Served, shop: RetailStore) -> None:
    async with connected(served.url, "tour") as client:
        await tour.take(client, shop)
    state = httpx2.get(f"{served.url}/sandboxes/tour/snapshot").json()
    assert state == dump_snapshot(shop)


async def test_clients_work_on_the_sandbox_that_they_name(served: Served) -> None:
    async with connected(served.url, "one") as one, connected(served.url, "two") as two:
        assert not (await tour.told(one, "cancel_pending_order", CANCEL))[1]
        assert (await tour.told(one, "cancel_pending_order", CANCEL))[1]
        assert not (await tour.told(two, "cancel_pending_order", CANCEL))[1]
        assert httpx2.delete(f"{served.url}/sandboxes/one").json() == {"dropped": True}
        assert not (await tour.told(one, "cancel_pending_order", CANCEL))[1]


async def test_without_a_sandbox_clients_share_the_shop(served: Served) -> None:
    arguments = {"order_id": "#W6207110", "reason": "ordered by mistake"}
    async with connected(served.url) as one:
        assert not (await tour.told(one, "cancel_pending_order", arguments))[1]
    async with connected(served.url) as two, connected(served.url, "fresh") as apart:
        text, _ = await tour.told(two, "get_order_details", {"order_id": "#W6207110"})
        assert json.loads(text)["status"] == "cancelled"
        # A sandbox starts from the shop as it was when serving began.
        text, _ = await tour.told(apart, "get_order_details", {"order_id": "#W6207110"})
        assert json.loads(text)["status"] == "pending"


async def test_a_sandbox_name_that_cannot_be_used_is_told(served: Served) -> None:
    async with connected(served.url, "no/way") as client:
        text, is_error = await tour.told(client, "list_products", {})
    assert is_error
    assert text.startswith("Sandbox name 'no/way' must be")
    assert httpx2.get(f"{served.url}/sandboxes/{'x' * 65}/snapshot").status_code == 400
    assert httpx2.delete(f"{served.url}/sandboxes/a%20b").status_code == 400


def test_the_health_check_answers(served: Served) -> None:
    assert httpx2.get(f"{served.url}/healthz").json()["status"] == "ok"


@pytest.mark.parametrize("path", ["/mcp", "/sandboxes/x/snapshot"])
@pytest.mark.parametrize(("header", "status"), [("Host", 421), ("Origin", 403)])
def test_a_foreign_host_or_origin_is_refused(served: Served, path: str, header: str, status: int) -> None:
    headers = {header: "http://evil.example" if header == "Origin" else "evil.example"}
    assert httpx2.get(f"{served.url}{path}", headers=headers).status_code == status
