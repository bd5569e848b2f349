"""What has changed in a sandbox, field by field, also over HTTP."""

import httpx2
import pytest

from zava_mcp.changes import Change, changes
from zava_mcp.http import build_app
from zava_mcp.sandboxes import Sandboxes
from zava_mcp.store import RetailStore


def test_each_changed_field_is_told_with_both_values_and_nothing_else(shop: RetailStore) -> None:
    order = next(order for order in shop.orders.values() if order.status == "pending")
    sandbox = shop.fork()
    sandbox.cancel_pending_order(order.order_id, "no longer needed")
    found = {change.field: change for change in changes(shop, sandbox) if change.record == f"orders/{order.order_id}"}
    assert found["status"] == Change(f"orders/{order.order_id}", "status", "pending", "cancelled")
    assert found["cancel_reason"].after == "no longer needed"
    refund = f"payment_history[{len(order.payment_history)}].transaction_type"
    assert (found[refund].before, found[refund].after) == (None, "refund")
    assert "order_id" not in found
    assert changes(shop, shop.fork()) == []


def test_a_change_to_what_was_is_none(shop: RetailStore) -> None:
    sandbox = shop.fork()
    user = next(iter(shop.users.values()))
    now = [user.address.to_json()[name] for name in ("address1", "address2", "city", "state", "country", "zip")]
    sandbox.update_address(user.user_id, *now)
    assert changes(shop, sandbox) == []


@pytest.mark.anyio
async def test_a_client_sees_the_changes_of_a_sandbox_over_http(shop: RetailStore) -> None:
    sandboxes = Sandboxes(shop)
    user_id = next(iter(shop.users))
    sandboxes.store("a").update_address(user_id, "1 New Street", "", "Rome", "GA", "USA", "30161")
    transport = httpx2.ASGITransport(app=build_app(sandboxes))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        told = (await client.get("/sandboxes/a/changes")).json()
        cities = [(one["record"], one["after"]) for one in told if one["field"] == "address.city"]
        assert cities == [(f"users/{user_id}", "Rome")]
        assert (await client.get("/sandboxes/b/changes")).json() == []
        assert (await client.get("/sandboxes/no%20name/changes")).status_code == 400
