"""Calls a second on the shop: plain store, MCP in process, over stdio and over HTTP.

Run from the root: `python -m tests.bench.bench_shop`. A conversation is eight calls, one of them a write.
"""

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from zava_mcp.local import LocalShop
from zava_mcp.seed import generate_shop
from zava_mcp.store import RetailStore

CONVERSATIONS = 150
SERVED_CONVERSATIONS = 40
ADDRESS = {"address1": "9 Elm Road", "address2": "", "city": "Reno", "state": "NV", "country": "USA", "zip": "89501"}

Call = Callable[[str, dict[str, Any]], Awaitable[object]]


class Speed(NamedTuple):
    """How many conversations of how many calls took how many seconds."""

    way: str
    conversations: int
    calls: int
    seconds: float

    def line(self) -> str:
        """Return one line of the report."""
        return (
            f"{self.way:<12} {self.conversations / self.seconds:8.1f} conversations/s "
            f"{self.calls / self.seconds:9.1f} calls/s {1000 * self.seconds / self.calls:7.2f} ms a call"
        )


def conversation(shop: RetailStore, user_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the eight calls of one customer's conversation."""
    user = shop.users[user_id]
    order_id = user.orders[0]
    item = shop.orders[order_id].items[0]
    return [
        ("find_user_id_by_email", {"email": user.email}),
        ("get_user_details", {"user_id": user_id}),
        ("list_user_orders", {"user_id": user_id}),
        ("get_order_details", {"order_id": order_id}),
        ("get_product_details", {"product_id": item.product_id}),
        ("get_item_details", {"item_id": item.item_id}),
        ("calculate", {"expression": f"{item.price} * 2"}),
        ("update_address", {"user_id": user_id, **ADDRESS}),
    ]


async def converse(way: str, shop: RetailStore, count: int, call: Call, fresh: Callable[[], object]) -> Speed:
    """Play so many conversations one after the other."""
    plans = [conversation(shop, user_id) for user_id in list(shop.users)[:count]]
    start = time.perf_counter()
    for plan in plans:
        fresh()
        for name, arguments in plan:
            await call(name, arguments)
    return Speed(way, len(plans), sum(map(len, plans)), time.perf_counter() - start)


async def store_alone(shop: RetailStore) -> Speed:
    """Measure the store without any protocol."""
    box = [shop]

    async def call(name: str, arguments: dict[str, Any]) -> object:
        return getattr(box[0], name)(**arguments)

    return await converse("store", shop, CONVERSATIONS, call, lambda: box.__setitem__(0, shop.fork()))


async def in_process(shop: RetailStore) -> Speed:
    """Measure MCP over memory, as the project's own loops use it."""
    async with LocalShop(shop) as local:
        return await converse("in process", shop, CONVERSATIONS, local.call, local.reset)


async def over_stdio(shop: RetailStore) -> Speed:
    """Measure a server process over pipes."""
    server = StdioServerParameters(command=sys.executable, args=["-m", "zava_mcp"])
    async with Client(server) as client:
        return await converse("stdio", shop, SERVED_CONVERSATIONS, client.call_tool, lambda: None)


async def over_http(shop: RetailStore) -> Speed:
    """Measure a server process over HTTP on a sandbox."""
    async with (
        served() as url,
        httpx2.AsyncClient(headers={"X-Zava-Sandbox": "bench"}) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        return await converse("http", shop, SERVED_CONVERSATIONS, client.call_tool, lambda: None)


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """Start a server on a free port and yield the address of its MCP endpoint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "zava_mcp", "--transport", "http", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()
        yield f"http://127.0.0.1:{port}/mcp"
        process.terminate()


async def main() -> None:
    """Measure all ways and print a line for each."""
    shop = generate_shop()
    for measure in (store_alone, in_process, over_stdio, over_http):
        sys.stdout.write((await measure(shop)).line() + "\n")


if __name__ == "__main__":
    anyio.run(main)
