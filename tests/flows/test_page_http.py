"""Who may call the page's server, and what it says to what it cannot do."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx2
import pytest

from flows.page import LARGEST_BODY, page
from tasks.core.config import load_profile
from tasks.desk import LONGEST_WORDS, Desk, Unknown
from tests.fake_provider import FakeProvider, say
from tests.worlds import served, small_shop
from zava_mcp.http import build_app
from zava_mcp.sandboxes import Sandboxes

pytestmark = pytest.mark.anyio
OWN = "http://127.0.0.1:8769"
SLOW = say("Done.").after(1.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def sandboxes() -> Sandboxes:
    return Sandboxes(small_shop().fork())


@pytest.fixture
async def client(tmp_path: Path, sandboxes: Sandboxes) -> AsyncIterator[httpx2.AsyncClient]:
    with FakeProvider(lambda request: SLOW) as provider, served(build_app(sandboxes)) as (mcp, _):
        port = mcp.split(":")[2].removesuffix("/mcp")
        settings = (f"workspace={tmp_path}", f"provider.base_url={provider.base_url}", f"services.shop_port={port}")
        transport = httpx2.ASGITransport(app=page(lambda: load_profile("local", settings), 8769))
        async with httpx2.AsyncClient(transport=transport, base_url=OWN, timeout=30) as client:
            yield client


async def begun(client: httpx2.AsyncClient) -> str:
    answer = await client.post("/conversations")
    assert answer.status_code == 201
    return f"/conversations/{answer.json()['id']}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example:8769"}, 421),
        ({"host": "127.0.0.1:9000"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:5000"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": OWN}, 201),
        ({"host": "localhost:8769", "origin": "http://localhost:8769"}, 201),
    ],
)
async def test_only_the_page_s_own_address_may_call(
    client: httpx2.AsyncClient, headers: dict[str, str], status: int
) -> None:
    assert (await client.post("/conversations", headers=headers)).status_code == status
    assert (await client.get("/", headers=headers)).status_code == (200 if status == 201 else status)


async def test_the_page_runs_no_script_but_its_own_and_stands_in_no_frame(client: httpx2.AsyncClient) -> None:
    first, second = [(await client.get("/")).headers["content-security-policy"] for _ in range(2)]
    assert "default-src 'none'" in first
    assert "frame-ancestors 'none'" in first
    assert "unsafe-inline" not in first
    assert first != second


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b'{"words": "' + b"x" * LARGEST_BODY + b'"}', "application/json", 413, "at most 16,384 bytes"),
        (b'{"words": "Hi"}', "text/plain", 422, "not named application/json"),
        (b'{"words": ', "application/json", 422, "not JSON"),
        (b"[]", "application/json", 422, "not a JSON object"),
        (b"{}", "application/json", 422, "no text 'words'"),
        (b'{"words": " "}', "application/json", 422, "Say something"),
        (b'{"words": "' + b"x" * (LONGEST_WORDS + 1) + b'"}', "application/json", 422, "at most 2,000 characters"),
    ],
)
async def test_a_message_that_is_none_is_refused_in_words(
    client: httpx2.AsyncClient, body: bytes, kind: str, status: int, said: str
) -> None:
    answer = await client.post(f"{await begun(client)}/say", content=body, headers={"content-type": kind})
    assert (answer.status_code, said in answer.json()["error"]) == (status, True)


async def test_what_is_over_or_unknown_is_told(client: httpx2.AsyncClient) -> None:
    conversation = await begun(client)
    answer = await client.post(f"{conversation}/model", json={"model": "gpt-9"})
    assert (answer.status_code, answer.json()["error"]) == (404, "There is no model 'gpt-9' here.")
    answer = await client.post(f"{conversation}/replay", json={})
    assert (answer.status_code, "no words of a customer" in answer.json()["error"]) == (422, True)
    assert (await client.delete(conversation)).status_code == 204
    answer = await client.get(conversation)
    assert (answer.status_code, "begin a new one" in answer.json()["error"]) == (404, True)


async def test_while_the_agent_works_it_is_told_nothing_else_and_goes_on_without_a_listener(
    client: httpx2.AsyncClient,
) -> None:
    conversation = await begun(client)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: client.post(f"{conversation}/say", json={"words": "Hello"}))
        while not (await client.get(conversation)).json()["busy"]:
            await anyio.sleep(0.01)
        answer = await client.post(f"{conversation}/say", json={"words": "Hurry"})
        assert (answer.status_code, "still at work" in answer.json()["error"]) == (409, True)
        assert (await client.post(f"{conversation}/model", json={"model": "zava-base"})).status_code == 409
        group.cancel_scope.cancel()
    while (shown := (await client.get(conversation)).json())["busy"]:
        await anyio.sleep(0.01)
    assert shown["told"] == [{"kind": "said", "text": "Hello"}, {"kind": "spoke", "text": "Done."}]


async def test_too_many_conversations_push_the_one_out_that_was_not_used_for_longest(sandboxes: Sandboxes) -> None:
    with served(build_app(sandboxes)) as (mcp, _):
        profile = load_profile("local", (f"services.shop_port={mcp.split(':')[2].removesuffix('/mcp')}",))
        desk = Desk(lambda: profile, most=2)
        first, second = await desk.open(), await desk.open()
        assert desk.find(first.id) is first
        await desk.open()
        assert desk.find(first.id) is first
        with pytest.raises(Unknown, match="is over"):
            desk.find(second.id)


async def test_a_shop_that_is_down_is_told_with_the_way_out(tmp_path: Path) -> None:
    settings = (f"workspace={tmp_path}", "services.shop_port=9")
    transport = httpx2.ASGITransport(app=page(lambda: load_profile("local", settings), 8769))
    async with httpx2.AsyncClient(transport=transport, base_url=OWN) as client:
        answer = await client.post("/conversations")
    assert (answer.status_code, "Start it: zava up" in answer.json()["error"]) == (503, True)
