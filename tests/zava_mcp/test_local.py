import json

import anyio
import pytest

from zava_mcp.local import LocalShop
from zava_mcp.store import RetailStore

pytestmark = pytest.mark.anyio

CANCEL = {"order_id": "#W4923227", "reason": "no longer needed"}


async def test_each_conversation_works_on_a_fresh_sandbox(imported: RetailStore) -> None:
    before = imported.digest()
    async with LocalShop(imported) as shop:
        for _ in range(3):
            store = shop.reset()
            text, is_error = await shop.call("cancel_pending_order", CANCEL)
            assert not is_error
            assert json.loads(text)["status"] == "cancelled"
            assert store is shop.store
            assert store.orders["#W4923227"].status == "cancelled"
    assert imported.digest() == before


async def test_tools_come_in_the_shape_of_a_chat_completion_request(imported: RetailStore) -> None:
    async with LocalShop(imported) as shop:
        tools = await shop.tools()
    assert len(tools) == 18
    assert all(set(tool) == {"type", "function"} and tool["type"] == "function" for tool in tools)
    assert all(set(tool["function"]) == {"name", "description", "parameters"} for tool in tools)


async def test_several_shops_run_side_by_side(imported: RetailStore) -> None:
    digests: list[str] = []

    async def converse(zip_code: str) -> None:
        async with LocalShop(imported) as shop:
            address = {"address1": "1", "address2": "", "city": "c", "state": "s", "country": "USA", "zip": zip_code}
            await shop.call("update_address", {"user_id": "noah_brown_6181", **address})
            text, _ = await shop.call("get_user_details", {"user_id": "noah_brown_6181"})
            assert json.loads(text)["address"]["zip"] == zip_code
            digests.append(shop.store.digest())

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(converse, f"0000{number}")
    assert len(set(digests)) == 4
