"""Who may call a server that listens on other addresses than loopback."""

import socket

import httpx2
import pytest

from zava_mcp.errors import RetailError
from zava_mcp.http import bound_socket, build_app
from zava_mcp.sandboxes import Sandboxes
from zava_mcp.store import RetailStore

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("host", "status"),
    [("shop.internal:8765", 200), ("shop.internal", 200), ("127.0.0.1:8765", 200), ("evil.example:8765", 421)],
)
async def test_a_server_on_all_addresses_answers_to_its_own_names_only(
    shop: RetailStore, host: str, status: int
) -> None:
    app = build_app(Sandboxes(shop), host="0.0.0.0", allowed_hosts=["shop.internal"], key="k")
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        response = await client.get("/sandboxes/a/snapshot", headers={"Host": host, "Authorization": "Bearer k"})
    assert response.status_code == status


@pytest.mark.parametrize(
    ("given", "status"), [("Bearer sk-shop", 200), ("bearer sk-shop", 200), ("Bearer sk-other", 401), ("sk-shop", 401)]
)
async def test_a_server_with_a_key_answers_to_nobody_without_it(shop: RetailStore, given: str, status: int) -> None:
    transport = httpx2.ASGITransport(app=build_app(Sandboxes(shop), key="sk-shop"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        asked = await client.get("/sandboxes/a/snapshot", headers={"Authorization": given})
        assert (asked.status_code, (await client.get("/healthz")).status_code) == (status, 200)
        assert [(await client.post("/mcp")).status_code, (await client.delete("/sandboxes/a")).status_code] == [401] * 2


async def test_the_health_check_answers_under_any_name(shop: RetailStore) -> None:
    transport = httpx2.ASGITransport(app=build_app(Sandboxes(shop)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://10.0.0.7:8765") as client:
        response = await client.get("/healthz")
    assert response.json() == {"status": "ok", "sandboxes": 0}


def test_a_port_that_cannot_be_is_told() -> None:
    with pytest.raises(RetailError, match=r"Cannot listen on 127\.0\.0\.1:70000: .*0-65535.*Choose another --port"):
        bound_socket("127.0.0.1", 70000)


def test_answers_are_not_held_back_by_nagle_s_algorithm() -> None:
    # asyncio turns the algorithm off only for sockets that name their protocol.
    with bound_socket("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
