"""The replay of the Noah Brown story on a live sandbox, with scripted models."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from openai import AsyncOpenAI

from tasks.core.config import EvaluationConfig
from tasks.core.errors import DataError
from tasks.episode import Called, Spoke, Step
from tasks.replay import ReplayResult, replay, transcript
from tests.fake_provider import FakeProvider, Reply, call, fault, say
from zava_mcp import policy
from zava_mcp.seed import generate_shop
from zava_mcp.snapshot import dump_snapshot, parse_snapshot
from zava_mcp.store import RetailStore

pytestmark = pytest.mark.anyio
CONFIG = EvaluationConfig(timeout_s=60)
LOOKUP = {"first_name": "Noah", "last_name": "Brown", "zip": "80279"}
ADDRESS = {
    "address1": "415 Maple Avenue",
    "address2": "Apt 203",
    "city": "Denver",
    "state": "CO",
    "country": "USA",
    "zip": "80202",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def shop_base() -> RetailStore:
    return generate_shop(7, customers=5, products=4, orders=6)


def agent(user_id: Callable[[str], str], address: dict[str, str] = ADDRESS) -> Callable[[dict[str, Any]], Reply]:
    """Play the policy, with the id that `user_id` makes of what the lookup returned."""

    def script(request: dict[str, Any]) -> Reply:
        messages = request["messages"]
        told = [m["content"] for m in messages if m["role"] == "tool"]
        said = [m["content"] for m in messages if m["role"] == "user"]
        if not told:
            return call("find_user_id_by_name_zip", LOOKUP)
        if len(told) == 1:
            return call("get_user_details", {"user_id": user_id(told[0])})
        if len(said) == 1:
            return say("I will set your address to 415 Maple Avenue, Denver. Do you confirm (yes/no)?")
        if len(told) == 2:
            return call("update_address", {"user_id": user_id(told[0]), **address})
        return say("Your address is updated. Anything else?")

    return script


async def play(
    base: RetailStore,
    script: Callable[[dict[str, Any]], Reply],
    watch: Callable[[str | Step], None] = lambda step: None,
) -> ReplayResult:
    with FakeProvider(script) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            return await replay(client, "model-1", base, policy.text(), CONFIG, watch)


async def test_a_model_that_hands_the_id_on_passes(shop_base: RetailStore) -> None:
    before = shop_base.digest()
    seen: list[str | Step] = []
    result = await play(shop_base, agent(lambda found: found), seen.append)
    assert result.verdict.reasons == ()
    assert result.verdict.passed
    assert [played.call.name for played in result.calls] == [
        "find_user_id_by_name_zip",
        "get_user_details",
        "update_address",
    ]
    assert json.loads(result.calls[2].result)["address"] == ADDRESS
    assert [type(step) for step in seen] == [str, Called, Called, Spoke, str, Called, Spoke]
    assert shop_base.digest() == before


async def test_a_model_that_makes_the_id_of_name_and_zip_fails(shop_base: RetailStore) -> None:
    result = await play(shop_base, agent(lambda found: "noah_brown_80279"))
    verdict = result.verdict
    assert not verdict.passed
    assert (verdict.lookup_id, verdict.details_id) == ("noah_brown_6181", "noah_brown_80279")
    assert "get_user_details: user_id 'noah_brown_80279'" in verdict.invented
    assert not verdict.address_changed
    text = transcript(result)
    assert "**Failed** after 3 tool calls" in text
    assert "but the lookup had returned 'noah_brown_6181'" in text
    assert "Made up: user_id 'noah_brown_80279'." in text


async def test_another_address_than_the_wanted_one_fails(shop_base: RetailStore) -> None:
    result = await play(shop_base, agent(lambda found: found, {**ADDRESS, "zip": "80279"}))
    assert result.verdict.reasons == ("the address in the shop is not the new one",)


async def test_a_change_of_anything_else_fails(shop_base: RetailStore) -> None:
    other = next(key for key in shop_base.users if key != "noah_brown_6181")
    straight = agent(lambda found: found)

    def meddling(request: dict[str, Any]) -> Reply:
        told = sum(m["role"] == "tool" for m in request["messages"])
        if told == 3:
            return call("update_address", {"user_id": other, **ADDRESS})
        return straight(request)

    result = await play(shop_base, meddling)
    assert "something else in the shop was changed" in result.verdict.reasons
    assert result.verdict.address_changed


async def test_a_model_that_only_talks_comes_to_an_end(shop_base: RetailStore) -> None:
    result = await play(shop_base, lambda request: say("Hello! What is your name?"))
    assert "the customer was not looked up" in result.verdict.reasons
    assert sum(m.role == "user" for m in result.messages) == 8


async def test_a_model_that_only_calls_comes_to_an_end(shop_base: RetailStore) -> None:
    result = await play(shop_base, lambda request: call("calculate", {"expression": "1 + 1"}))
    assert not result.verdict.passed
    assert "stopped: more than 12 calls in a turn" in result.verdict.reasons[-1]


async def test_a_model_that_fails_in_the_middle_fails_the_story(shop_base: RetailStore) -> None:
    result = await play(shop_base, lambda request: fault(500))
    assert not result.verdict.passed
    assert "stopped: no answer (provider)" in result.verdict.reasons[-1]


async def test_a_shop_without_the_customer_is_refused(shop_base: RetailStore) -> None:
    snapshot = dump_snapshot(shop_base)
    orders = snapshot["users"].pop("noah_brown_6181")["orders"]
    snapshot["orders"] = {key: order for key, order in snapshot["orders"].items() if key not in orders}
    with pytest.raises(DataError, match="has no customer 'noah_brown_6181'"):
        await play(parse_snapshot(snapshot, source="test"), lambda request: say("Hello"))
