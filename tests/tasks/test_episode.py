"""The agent loop against a scripted provider and the real shop over MCP."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI

from tasks.core.config import EvaluationConfig
from tasks.core.conversation import Message
from tasks.core.errors import ProviderUnavailableError
from tasks.episode import LIMITS, Called, Guard, Limits, Spoke, Step, Stopped, run_turns
from tests.fake_provider import FakeProvider, Reply, call, fault, garbage, say
from zava_mcp.local import LocalShop
from zava_mcp.seed import generate_shop
from zava_mcp.store import RetailStore

pytestmark = pytest.mark.anyio
CONFIG = EvaluationConfig(timeout_s=60)
LOOKUP = call("find_user_id_by_name_zip", {"first_name": "Noah", "last_name": "Brown", "zip": "80279"})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def shop_base() -> RetailStore:
    return generate_shop(7, customers=3, products=3, orders=4)


def scripted(*replies: Reply) -> Callable[[dict[str, Any]], Reply]:
    left: Iterator[Reply] = iter(replies)
    return lambda request: next(left)


async def play(
    base: RetailStore, script: Callable[[dict[str, Any]], Reply], limits: Limits = LIMITS, guard: Guard = "off"
) -> tuple[list[Step], list[Message], list[dict[str, Any]]]:
    messages = [Message(role="system", content="policy"), Message(role="user", content="Hi, I am Noah Brown.")]
    with FakeProvider(script) as provider:
        async with (
            AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client,
            LocalShop(base) as shop,
        ):
            shop.reset()
            tools = await shop.tools()
            steps = [step async for step in run_turns(client, "m", messages, shop, tools, CONFIG, limits, guard)]
    return steps, messages, provider.requests


async def test_the_model_sees_what_the_shop_told_and_answers(shop_base: RetailStore) -> None:
    steps, messages, requests = await play(shop_base, scripted(LOOKUP, say("Hello Noah.")))
    lookup, spoke = steps
    assert isinstance(lookup, Called)
    assert (lookup.result, lookup.is_error) == ("noah_brown_6181", False)
    assert spoke == Spoke(text="Hello Noah.")
    assert [m.role for m in messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert requests[1]["messages"][3] == {
        "role": "tool",
        "content": "noah_brown_6181",
        "tool_call_id": requests[1]["messages"][2]["tool_calls"][0]["id"],
    }


async def test_malformed_arguments_and_an_unknown_tool_are_told_to_the_model(shop_base: RetailStore) -> None:
    steps, messages, _ = await play(
        shop_base, scripted(call("get_user_details", '{"user_id": '), call("open_door", {}), say("Sorry."))
    )
    assert [isinstance(step, Called) and step.is_error for step in steps] == [True, True, False]
    assert "not a JSON object" in (messages[3].content or "")
    assert "open_door" in (messages[5].content or "")


async def test_several_calls_in_one_answer_are_run_in_order_each_with_its_own_id(shop_base: RetailStore) -> None:
    both = call("calculate", {"expression": "1 + 1"}, ("calculate", {"expression": "2 + 2"}))
    for wire in both.message["tool_calls"]:
        wire["id"] = "same"
    steps, messages, _ = await play(shop_base, scripted(both, say("ok")))
    assert [step.result for step in steps if isinstance(step, Called)] == ["2", "4"]
    assert len({m.tool_call_id for m in messages if m.role == "tool"}) == 2


async def test_a_model_that_never_stops_calling_is_stopped(shop_base: RetailStore) -> None:
    forever = call("calculate", {"expression": "1 + 1"})
    steps, _, requests = await play(shop_base, lambda request: forever, Limits(calls_per_turn=3))
    assert isinstance(steps[-1], Stopped)
    assert len(requests) == 4
    assert sum(isinstance(step, Called) and not step.is_error for step in steps) == 3


async def test_of_a_thousand_calls_at_once_only_those_within_the_limit_are_run(shop_base: RetailStore) -> None:
    flood = call("calculate", {"expression": "1"}, *[("calculate", {"expression": "1"})] * 999)
    steps, messages, requests = await play(shop_base, scripted(flood), Limits(calls_per_turn=5))
    assert sum(isinstance(step, Called) and not step.is_error for step in steps) == 5
    assert sum(message.role == "tool" for message in messages) == 1000
    assert len(requests) == 1


async def test_the_limit_of_an_episode_spans_its_turns(shop_base: RetailStore) -> None:
    once = call("calculate", {"expression": "1"})
    limits = Limits(calls_per_turn=5, calls_per_episode=2)
    steps, _, _ = await play(shop_base, lambda request: once, limits)
    assert sum(isinstance(step, Called) and not step.is_error for step in steps) == 2


MADE_UP = call("get_user_details", {"user_id": "noah_brown_80279"})
FINDING = "user_id 'noah_brown_80279'"


@pytest.mark.parametrize(
    ("guard", "invented", "result"),
    [
        ("off", (), "No customer"),
        ("warn", (FINDING,), "No customer"),
        ("block", (FINDING,), f"get_user_details was not run: nobody gave {FINDING}."),
    ],
)
async def test_the_guard_runs_shows_or_blocks_a_call_with_a_made_up_id(
    shop_base: RetailStore, guard: Guard, invented: tuple[str, ...], result: str
) -> None:
    steps, messages, requests = await play(shop_base, scripted(MADE_UP, say("Sorry.")), guard=guard)
    assert isinstance(steps[0], Called)
    assert (steps[0].invented, steps[0].is_error) == (invented, True)
    assert steps[0].result.startswith(result)
    assert messages[-2].content == steps[0].result == requests[1]["messages"][-1]["content"]


async def test_the_guard_lets_what_the_customer_and_the_tools_gave_through(shop_base: RetailStore) -> None:
    search = call("search_products", {"query": "Brown", "limit": 5})
    steps, _, _ = await play(shop_base, scripted(search, say("Here.")), guard="block")
    assert isinstance(steps[0], Called)
    assert (steps[0].invented, steps[0].is_error) == ((), False)


@pytest.mark.parametrize("broken", [fault(500), garbage(), say("x").after(300)])
async def test_an_answer_that_fails_stops_the_turn_with_its_reason(shop_base: RetailStore, broken: Reply) -> None:
    messages = [Message(role="user", content="Hi")]
    with FakeProvider(lambda request: broken) as provider:
        async with (
            AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client,
            LocalShop(shop_base) as shop,
        ):
            config = EvaluationConfig(timeout_s=0.3)
            steps = [step async for step in run_turns(client, "m", messages, shop, [], config)]
    assert len(steps) == 1
    assert isinstance(steps[0], Stopped)
    assert steps[0].reason.startswith("no answer (")


async def test_a_provider_that_is_not_there_is_an_error() -> None:
    async with AsyncOpenAI(base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0) as client:
        with pytest.raises(ProviderUnavailableError, match="Nothing answers at"):
            async for _ in run_turns(client, "m", [Message(role="user", content="Hi")], _HangingShop(), [], CONFIG):
                pass


class _HangingShop:
    async def call(self, name: str, arguments: dict[str, Any], /) -> tuple[str, bool]:
        await asyncio.Event().wait()
        return "", False


async def test_a_tool_that_hangs_is_given_up_and_told_to_the_model() -> None:
    messages = [Message(role="user", content="Hi")]
    with FakeProvider(scripted(LOOKUP, say("Sorry."))) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k") as client:
            limits = Limits(tool_timeout_s=0.05)
            steps = [step async for step in run_turns(client, "m", messages, _HangingShop(), [], CONFIG, limits)]
    assert isinstance(steps[0], Called)
    assert steps[0].is_error
    assert "no result within 0.05 s" in steps[0].result
    assert json.dumps(provider.requests[1]["messages"]).count("no result within") == 1
