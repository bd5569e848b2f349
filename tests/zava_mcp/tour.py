"""One call of each of the 18 tools on the imported snapshot, and some that must be refused."""

from typing import Any

from mcp import Client
from mcp_types import TextContent

from zava_mcp.entities import Record, compact_json
from zava_mcp.errors import RetailError
from zava_mcp.store import RetailStore

ADDRESS = {"address1": "9 Élm Road", "address2": "", "city": "Reno", "state": "NV", "country": "USA", "zip": "89501"}

# Empty arguments of tools that take some are looked up in the shop.
TOUR: list[tuple[str, dict[str, Any]]] = [
    ("find_user_id_by_email", {"email": "noah.brown7922@example.com"}),
    ("find_user_id_by_name_zip", {"first_name": "Noah", "last_name": "Brown", "zip": "80279"}),
    ("get_user_details", {"user_id": "noah_brown_6181"}),
    ("update_address", {"user_id": "noah_brown_6181", **ADDRESS}),
    ("list_products", {}),
    ("search_products", {"query": "black backpack", "limit": 2}),
    ("get_product_details", {"product_id": "1075968781"}),
    ("get_item_details", {"item_id": "2323972008"}),
    ("list_user_orders", {"user_id": "isabella_lopez_6490"}),
    ("get_order_details", {"order_id": "#W4923227"}),
    ("modify_pending_order_address", {"order_id": "#W4923227", **ADDRESS}),
    ("modify_pending_order_payment", {}),
    ("modify_pending_order_items", {}),
    ("cancel_pending_order", {"order_id": "#W4923227", "reason": "no longer needed"}),
    ("return_delivered_order_items", {}),
    ("exchange_delivered_order_items", {}),
    ("calculate", {"expression": "(146.98 + 162.15) * 2"}),
    ("transfer_to_human_agents", {"summary": "The customer insists on a person."}),
    # These two are refused.
    ("get_order_details", {"order_id": "W4923227"}),
    ("cancel_pending_order", {"order_id": "#W4923227", "reason": "no longer needed"}),
]


def calls(shop: RetailStore) -> list[tuple[str, dict[str, Any]]]:
    """Return the tour with all its arguments."""
    paypal = next(key for key in shop.users["isabella_lopez_6490"].payment_methods if key.startswith("paypal"))
    delivered = [order.order_id for order in shop.orders.values() if order.status == "delivered"]
    delivered.remove("#W7678072")
    back = {"order_id": "#W7678072", "item_ids": ["2323972008"], "payment_method_id": "paypal_5727330"}
    found: dict[str, dict[str, Any]] = {
        "modify_pending_order_payment": {"order_id": "#W4923227", "payment_method_id": paypal},
        "modify_pending_order_items": _swap(shop, "#W6207110"),
        "return_delivered_order_items": back,
        "exchange_delivered_order_items": _swap(shop, delivered[0]),
    }
    return [(tool, found.get(tool, arguments)) for tool, arguments in TOUR]


def _swap(shop: RetailStore, order_id: str) -> dict[str, Any]:
    """Return arguments that replace the first item of an order by the cheapest other one."""
    order = shop.orders[order_id]
    old = order.items[0]
    variants = shop.products[old.product_id].variants.values()
    others = [variant for variant in variants if variant.available and variant.item_id != old.item_id]
    new = min(others, key=lambda variant: variant.price)
    method = order.payment_history[0].payment_method_id
    return {"order_id": order_id, "item_ids": [old.item_id], "new_item_ids": [new.item_id], "payment_method_id": method}


def expected(shop: RetailStore, tool: str, arguments: dict[str, Any]) -> tuple[str, bool]:
    """Return the text and the error flag that a call must give, by calling the store itself."""
    try:
        result = getattr(shop, tool)(**arguments)
    except RetailError as error:
        return str(error), True
    if isinstance(result, Record):
        result = result.to_json()
    return (result if isinstance(result, str) else compact_json(result)), False


async def told(client: Client, tool: str, arguments: dict[str, Any]) -> tuple[str, bool]:
    """Return the text and the error flag of a call over MCP."""
    result = await client.call_tool(tool, arguments)
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text, bool(result.is_error)


async def take(client: Client, shop: RetailStore) -> None:
    """Take the tour over a client and compare each answer with that of a store of its own."""
    refused = []
    for tool, arguments in calls(shop):
        answer = await told(client, tool, arguments)
        assert answer == expected(shop, tool, arguments), tool
        refused += [tool] if answer[1] else []
    assert refused == ["get_order_details", "cancel_pending_order"]
