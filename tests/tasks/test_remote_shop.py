"""The shop over HTTP, as slow as servers can be."""

import asyncio

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tasks import remote_shop
from tasks.core.errors import ServiceError
from tasks.remote_shop import open_remote_shop
from tests.worlds import served, small_shop
from zava_mcp.http import build_app
from zava_mcp.sandboxes import Sandboxes


class Slow:
    """Answers all but the health check late."""

    def __init__(self, app: ASGIApp, delay_s: float) -> None:
        self._app = app
        self._delay_s = delay_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            await asyncio.sleep(self._delay_s)
        await self._app(scope, receive, send)


async def products(address: str) -> tuple[str, bool]:
    async with open_remote_shop(address, "one") as shop:
        return await shop.call("list_products", {})


def test_a_slow_call_is_waited_for_longer_than_for_any_other_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_shop, "ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.setattr(remote_shop, "CALL_TIMEOUT_S", 20)
    with served(Slow(build_app(Sandboxes(small_shop().fork())), 1)) as (address, _):
        text, is_error = asyncio.run(products(address))
    assert not is_error
    assert text.startswith("{")


def test_a_shop_with_a_key_is_called_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(build_app(Sandboxes(small_shop().fork()), key="sk-shop")) as (address, _):
        monkeypatch.setenv("ZAVA_SHOP_KEY", "sk-shop")
        assert not asyncio.run(products(address))[1]


def test_a_call_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_shop, "CALL_TIMEOUT_S", 0.5)
    with (
        served(Slow(build_app(Sandboxes(small_shop().fork())), 3)) as (address, _),
        pytest.raises(ServiceError, match=r"The shop at .* failed: .*`zava status` tells how it is"),
    ):
        asyncio.run(products(address))
