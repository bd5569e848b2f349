"""How a turn on the page ends where the agent does not come to its answer: stopped by the customer, or by a fault."""

import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx2
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.page import page
from tasks.core.config import load_profile
from tests.fake_provider import FakeProvider, Reply, Request, call, say
from tests.loop import ADDRESS
from tests.ports import free_port
from tests.receiving import receiving
from tests.worlds import served, small_shop
from zava_mcp.http import build_app
from zava_mcp.sandboxes import Sandboxes

pytestmark = pytest.mark.anyio
Told = dict[str, Any]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Desk(NamedTuple):
    """A conversation on a page that is served, and what its model was asked."""

    client: httpx2.AsyncClient
    at: str
    asked: list[Request]

    async def say(self, words: str, stop_at: str = "") -> list[Told]:
        """Say something and return what comes; stop the agent at the first step of a kind."""
        came: list[Told] = []
        async with self.client.stream("POST", f"{self.at}/say", json={"words": words}) as answer:
            async for line in answer.aiter_lines():
                came.append(json.loads(line))
                if came[-1]["kind"] == stop_at:
                    await self.stop()
        return came

    async def stop(self) -> None:
        assert (await self.client.post(f"{self.at}/stop", json={})).status_code == 204

    async def shown(self) -> Told:
        shown: Told = (await self.client.get(self.at)).json()
        return shown

    def heard_by_the_model(self) -> list[tuple[str, str]]:
        return [(message["role"], message["content"]) for message in self.asked[-1]["messages"][1:]]


Opening = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture
def opening(tmp_path: Path) -> Opening:
    @asynccontextmanager
    async def opened(*replies: Reply, around: Callable[[ASGIApp], ASGIApp] = lambda app: app) -> AsyncIterator[Desk]:
        left, port = list(replies), free_port()
        shop = around(build_app(Sandboxes(small_shop().fork())))
        with FakeProvider(lambda request: left.pop(0)) as provider, served(shop) as (mcp, _):
            settings = (
                f"workspace={tmp_path}",
                f"provider.base_url={provider.base_url}",
                f"services.shop_port={mcp.split(':')[2].removesuffix('/mcp')}",
            )
            with receiving(page(lambda: load_profile("local", settings), port), port) as address:
                async with httpx2.AsyncClient(base_url=address, timeout=60, trust_env=False) as client:
                    begun = await client.post("/conversations")
                    yield Desk(client, f"/conversations/{begun.json()['id']}", provider.requests)

    return opened


def begun_to_say(text: str) -> Reply:
    """Return an answer that comes piece by piece, of which the end never comes."""
    piece = json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]})
    headers = {"content-length": "100000"}
    return Reply(body=f"data: {piece}\n\n".encode(), content_type="text/event-stream", headers=headers)


async def test_what_was_heard_of_a_stopped_answer_stays_on_the_page_and_with_the_model(opening: Opening) -> None:
    async with opening(begun_to_say("First I"), say("Done.")) as desk:
        came = await desk.say("Hello", stop_at="heard")
        assert [step["kind"] for step in came] == ["heard", "spoke", "halted"]
        shown = await desk.shown()
        assert not shown["busy"]
        kept = [{"kind": "said", "text": "Hello"}, {"kind": "spoke", "text": "First I"}, {"kind": "halted"}]
        assert shown["told"] == kept
        assert (await desk.say("Go on"))[-1] == {"kind": "spoke", "text": "Done."}
        assert desk.heard_by_the_model() == [("user", "Hello"), ("assistant", "First I"), ("user", "Go on")]


async def test_words_that_got_no_answer_before_the_stop_are_heard_with_the_next(opening: Opening) -> None:
    async with opening(say("Too late.").after(600), say("Done.")) as desk:
        async with anyio.create_task_group() as group:
            group.start_soon(desk.say, "Hello")
            while not desk.asked:
                await anyio.sleep(0.01)
            await desk.stop()
        assert [step["kind"] for step in (await desk.shown())["told"]] == ["said", "halted"]
        await desk.say("Go on")
        assert desk.heard_by_the_model() == [("user", "Hello\nGo on")]


async def test_stopping_an_agent_at_rest_changes_nothing(opening: Opening) -> None:
    async with opening(say("Done.")) as desk:
        await desk.stop()
        await desk.say("Hello")
        await desk.stop()
        assert [step["kind"] for step in (await desk.shown())["told"]] == ["said", "spoke"]


async def test_what_the_shop_was_told_before_the_stop_is_shown(opening: Opening) -> None:
    look = threading.Event()

    def blind_at_first(app: ASGIApp) -> ASGIApp:
        async def blind(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"].endswith("/changes") and not look.is_set():
                look.set()
                await anyio.sleep_forever()
            await app(scope, receive, send)

        return blind

    user = next(iter(small_shop().users))
    change = call("update_address", {"user_id": user, **ADDRESS})
    async with opening(change, say("Done."), around=blind_at_first) as desk:
        came = await desk.say("Hello", stop_at="called")
        assert [step["kind"] for step in came] == ["called", "changed", "halted"]
        assert "415 Maple Avenue" in {one["after"] for one in (await desk.shown())["changes"]}
        await desk.say("And?")
        assert [role for role, _ in desk.heard_by_the_model()] == ["user", "assistant", "tool", "user"]


async def test_a_fault_that_nobody_foresaw_is_told_and_the_words_can_be_said_again(
    opening: Opening, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the moon is down")

    async with opening(say("Done.")) as desk:
        with monkeypatch.context() as patched:
            patched.setattr("tasks.talk._trace_headers", broken)
            [failed] = await desk.say("Hello")
        assert failed["kind"] == "failed"
        assert "RuntimeError: the moon is down. What was done stays done. Say it again" in failed["text"]
        assert "services/page.log" in failed["text"]
        assert "Traceback" in caplog.text
        assert (await desk.shown())["told"] == [{"kind": "said", "text": "Hello"}, failed]
        assert [step["kind"] for step in await desk.say("Hello")] == ["spoke"]
        assert desk.heard_by_the_model() == [("user", "Hello")]
