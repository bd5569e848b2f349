"""The server as a client sees it, over memory."""

from typing import Any

import pytest
from mcp import Client

from tests.zava_mcp import tour
from zava_mcp import policy
from zava_mcp.sandboxes import Sandboxes
from zava_mcp.server import POLICY_URI, build_server
from zava_mcp.store import RetailStore

pytestmark = pytest.mark.anyio

ADDRESS = ("address1", "address2", "city", "state", "country", "zip")
ARGUMENTS = {
    "find_user_id_by_email": ("email",),
    "find_user_id_by_name_zip": ("first_name", "last_name", "zip"),
    "get_user_details": ("user_id",),
    "update_address": ("user_id", *ADDRESS),
    "list_products": (),
    "search_products": ("query", "limit"),
    "get_product_details": ("product_id",),
    "get_item_details": ("item_id",),
    "list_user_orders": ("user_id",),
    "get_order_details": ("order_id",),
    "cancel_pending_order": ("order_id", "reason"),
    "modify_pending_order_address": ("order_id", *ADDRESS),
    "modify_pending_order_items": ("order_id", "item_ids", "new_item_ids", "payment_method_id"),
    "modify_pending_order_payment": ("order_id", "payment_method_id"),
    "return_delivered_order_items": ("order_id", "item_ids", "payment_method_id"),
    "exchange_delivered_order_items": ("order_id", "item_ids", "new_item_ids", "payment_method_id"),
    "calculate": ("expression",),
    "transfer_to_human_agents": ("summary",),
}
WRITES = {name for name in ARGUMENTS if name.startswith(("update", "cancel", "modify", "return", "exchange"))}


async def test_every_tool_answers_as_the_store_does(shop: RetailStore) -> None:
    assert {tool for tool, _ in tour.TOUR} == set(ARGUMENTS)
    own = shop.fork()
    async with Client(build_server(shop)) as client:
        await tour.take(client, own)
    assert shop.digest() == own.digest()


async def test_the_tools_and_their_arguments_are_those_of_the_design(shop: RetailStore) -> None:
    async with Client(build_server(shop)) as client:
        tools = (await client.list_tools()).tools
    assert {tool.name: tuple(tool.input_schema["properties"]) for tool in tools} == ARGUMENTS
    assert all(tool.input_schema["additionalProperties"] is False for tool in tools)
    assert all(tool.description for tool in tools)


async def test_reads_and_writes_are_told_apart_by_annotations(shop: RetailStore) -> None:
    async with Client(build_server(shop)) as client:
        tools = (await client.list_tools()).tools
    assert {tool.name for tool in tools if tool.annotations and tool.annotations.read_only_hint is False} == WRITES


async def test_closed_vocabularies_are_in_the_schema(shop: RetailStore) -> None:
    async with Client(build_server(shop)) as client:
        tools = {tool.name: tool.input_schema["properties"] for tool in (await client.list_tools()).tools}
    assert tools["cancel_pending_order"]["reason"]["enum"] == ["no longer needed", "ordered by mistake"]
    assert tools["search_products"]["limit"] == {"default": 5, "maximum": 20, "minimum": 1, "type": "integer"}


CANCEL = {"order_id": "#W4923227", "reason": "no longer needed"}
RETURN = {"order_id": "#W7678072", "item_ids": ["2323972008"], "payment_method_id": "paypal_5727330"}


@pytest.mark.parametrize(
    ("tool", "arguments", "problem"),
    [
        ("cancel_pending_order", CANCEL | {"force": True}, "there is no argument 'force'"),
        ("cancel_pending_order", {"order_id": "#W4923227"}, "argument 'reason' is missing"),
        ("cancel_pending_order", CANCEL | {"reason": "bored"}, "argument 'reason' is 'bored': Input should be"),
        ("cancel_pending_order", CANCEL | {"order_id": 4923227}, "argument 'order_id' is 4923227: Input should be a"),
        ("return_delivered_order_items", RETURN | {"item_ids": '["2323972008"]'}, "argument 'item_ids' is"),
        ("return_delivered_order_items", RETURN | {"item_ids": [2323972008]}, "argument 'item_ids.0' is 2323972008"),
        ("update_address", {"user_id": "noah_brown_6181", "zip": None}, "argument 'address1' is missing"),
        (
            "search_products",
            {"query": "lamp", "limit": "7"},
            "argument 'limit' is '7': Input should be a valid int",
        ),
        ("search_products", {"query": "lamp", "limit": True}, "argument 'limit' is True"),
        ("search_products", {"query": "lamp", "limit": 21}, "argument 'limit' is 21"),
        ("list_products", {"page": 2}, "list_products: there is no argument 'page'. It takes no arguments."),
        ("forget_everything", {}, "Unknown tool: forget_everything"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_and_change_nothing(
    shop: RetailStore, tool: str, arguments: dict[str, Any], problem: str
) -> None:
    before = shop.digest()
    async with Client(build_server(shop)) as client:
        text, is_error = await tour.told(client, tool, arguments)
    assert is_error
    assert problem in text
    assert "pydantic" not in text
    assert shop.digest() == before


async def test_a_long_wrong_value_is_shortened(shop: RetailStore) -> None:
    async with Client(build_server(shop)) as client:
        text, _ = await tour.told(client, "get_user_details", {"user_id": ["x" * 10_000]})
    assert len(text) < 250


async def test_the_refusal_is_the_message_itself(shop: RetailStore) -> None:
    async with Client(build_server(shop)) as client:
        reply = await tour.told(client, "get_order_details", {"order_id": "W123"})
    assert reply == ("No order 'W123'. Order ids look like '#W0000000'.", True)


async def test_the_policy_is_a_resource_and_a_prompt(shop: RetailStore) -> None:
    async with Client(build_server(shop)) as client:
        [resource] = (await client.read_resource(POLICY_URI)).contents
        [message] = (await client.get_prompt("retail_agent")).messages
    assert getattr(resource, "text", None) == policy.text()
    assert getattr(message.content, "text", None) == policy.text()


async def test_one_server_serves_another_sandbox_once_the_shared_store_is_exchanged(shop: RetailStore) -> None:
    sandboxes, fresh = Sandboxes(shop), shop.fork()
    async with Client(build_server(sandboxes)) as client:
        replies = [await tour.told(client, "cancel_pending_order", CANCEL) for _ in range(2)]
        sandboxes.shared = fresh
        replies.append(await tour.told(client, "cancel_pending_order", CANCEL))
    assert [is_error for _, is_error in replies] == [False, True, False]
