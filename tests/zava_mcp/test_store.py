"""Each rule of the shop that is easy to get wrong, by its name."""

from decimal import Decimal
from typing import Any

import pytest

from zava_mcp.errors import ArgumentError, NotFoundError, PolicyError, RetailError
from zava_mcp.snapshot import dump_snapshot, parse_snapshot
from zava_mcp.store import RetailStore

LAMP, PEN = "1000000001", "2000000001"


def variant(item_id: str, price: float, color: str, available: bool = True) -> dict[str, Any]:
    return {"item_id": item_id, "options": {"color": color}, "available": available, "price": price}


def small_shop(*, status: str = "pending", paid_with: str = "card", items: list[str] | None = None) -> RetailStore:
    """Return a shop of one customer with one order; items are 'a' and 'b' of the lamp, 'p' of the pen."""
    lamps = [
        variant("a", 10.10, "red"),
        variant("b", 20.25, "blue"),
        variant("c", 30.40, "green"),
        variant("x", 1, "w", False),
    ]
    pens = [variant("p", 0.10, "red"), variant("q", 0.20, "blue")]
    products = {
        LAMP: {"name": "Lamp", "product_id": LAMP, "variants": {each["item_id"]: each for each in lamps}},
        PEN: {"name": "Pen", "product_id": PEN, "variants": {each["item_id"]: each for each in pens}},
    }
    ordered = []
    for item_id in items or ["a", "p"]:
        key = LAMP if item_id in products[LAMP]["variants"] else PEN
        chosen = products[key]["variants"][item_id]
        ordered.append(
            {
                "name": products[key]["name"],
                "product_id": key,
                "item_id": item_id,
                "price": chosen["price"],
                "options": chosen["options"],
            }
        )
    total = round(sum(item["price"] for item in ordered), 2)
    address = {
        "address1": "1 Oak Street",
        "address2": "",
        "city": "Reno",
        "country": "USA",
        "state": "NV",
        "zip": "89501",
    }
    methods = {
        "card": {"source": "credit_card", "id": "card", "brand": "visa", "last_four": "0001"},
        "pal": {"source": "paypal", "id": "pal"},
        "gift": {"source": "gift_card", "id": "gift", "balance": 15.0},
        "small_gift": {"source": "gift_card", "id": "small_gift", "balance": 10.10},
    }
    user = {
        "user_id": "ann_lee_1000",
        "name": {"first_name": "Ann", "last_name": "Lee"},
        "address": address,
        "email": "ann@example.com",
        "payment_methods": methods,
        "orders": ["#W1000000"],
    }
    order = {
        "order_id": "#W1000000",
        "user_id": "ann_lee_1000",
        "address": address,
        "items": ordered,
        "status": status,
        "payment_history": [{"transaction_type": "payment", "amount": total, "payment_method_id": paid_with}],
    }
    content = {"products": products, "users": {"ann_lee_1000": user}, "orders": {"#W1000000": order}}
    return parse_snapshot(content, source="small shop")


def balance(shop: RetailStore, card: str = "gift") -> Decimal:
    method = shop.users["ann_lee_1000"].payment_methods[card]
    assert method.source == "gift_card"
    return method.balance


def history(shop: RetailStore) -> list[tuple[str, Decimal, str]]:
    entries = shop.orders["#W1000000"].payment_history
    return [(entry.transaction_type, entry.amount, entry.payment_method_id) for entry in entries]


def test_each_modified_item_gets_its_own_new_price_and_options() -> None:
    shop = small_shop(items=["a", "p"])
    order = shop.modify_pending_order_items("#W1000000", ["a", "p"], ["b", "q"], "card")
    assert [(item.item_id, item.price, dict(item.options)) for item in order.items] == [
        ("b", Decimal("20.25"), {"color": "blue"}),
        ("q", Decimal("0.20"), {"color": "blue"}),
    ]
    assert order.status == "pending (item modified)"
    assert history(shop)[1:] == [("payment", Decimal("10.25"), "card")]


def test_a_repeated_item_id_asks_for_that_many_items_of_the_order() -> None:
    shop = small_shop(items=["a", "a", "p"])
    order = shop.modify_pending_order_items("#W1000000", ["a", "a"], ["b", "c"], "card")
    assert [item.item_id for item in order.items] == ["b", "c", "p"]
    with pytest.raises(NotFoundError, match="has item 'a' 2 times, not 3 times"):
        small_shop(items=["a", "a"]).modify_pending_order_items("#W1000000", ["a"] * 3, ["b"] * 3, "card")


def test_an_item_that_was_just_put_in_is_not_replaced_again() -> None:
    order = small_shop(items=["a", "b"]).modify_pending_order_items("#W1000000", ["a", "b"], ["b", "c"], "card")
    assert [item.item_id for item in order.items] == ["b", "c"]


def test_money_stays_exact_where_floats_do_not() -> None:
    shop = small_shop(items=["p", "p", "p"])
    shop.modify_pending_order_items("#W1000000", ["p", "p", "p"], ["q", "q", "q"], "gift")
    assert 0.1 * 3 != 0.3
    assert history(shop)[1:] == [("payment", Decimal("0.30"), "gift")]
    assert balance(shop) == Decimal("14.70")
    assert '"amount":0.3,' in shop.orders["#W1000000"].compact()


def test_a_cheaper_item_is_refunded_and_a_gift_card_credited() -> None:
    shop = small_shop(items=["c"])
    shop.modify_pending_order_items("#W1000000", ["c"], ["a"], "gift")
    assert history(shop)[1:] == [("refund", Decimal("20.30"), "gift")]
    assert balance(shop) == Decimal("35.30")


def test_an_equal_price_is_booked_as_a_refund_of_nothing() -> None:
    shop = small_shop(items=["a", "b"])
    shop.modify_pending_order_items("#W1000000", ["a", "b"], ["b", "a"], "card")
    assert history(shop)[1:] == [("refund", Decimal("0.00"), "card")]


def test_items_are_modified_once_and_afterwards_nothing_of_the_order_changes() -> None:
    shop = small_shop()
    shop.modify_pending_order_items("#W1000000", ["a"], ["b"], "card")
    before = shop.digest()
    for change in (
        lambda: shop.modify_pending_order_items("#W1000000", ["b"], ["a"], "card"),
        lambda: shop.modify_pending_order_payment("#W1000000", "pal"),
        lambda: shop.modify_pending_order_address("#W1000000", "2", "", "Reno", "NV", "USA", "89501"),
        lambda: shop.cancel_pending_order("#W1000000", "no longer needed"),
    ):
        with pytest.raises(PolicyError, match="'pending \\(item modified\\)'; only while an order is 'pending'"):
            change()
    assert shop.digest() == before


def test_a_gift_card_must_cover_the_rise_of_the_price_before_anything_changes() -> None:
    shop = small_shop(items=["a"])
    before = shop.digest()
    with pytest.raises(PolicyError, match=r"'small_gift' holds \$10.10, which does not cover \$10.15"):
        shop.modify_pending_order_items("#W1000000", ["a"], ["b"], "small_gift")
    assert shop.digest() == before
    shop.modify_pending_order_items("#W1000000", ["a"], ["b"], "gift")
    assert balance(shop) == Decimal("4.85")


@pytest.mark.parametrize(
    ("item_ids", "new_item_ids", "problem"),
    [
        (["a"], ["a"], "is the item that was ordered"),
        (["a"], ["x"], "is not available"),
        (["a"], ["p"], "is no 'Lamp'"),
        (["a"], [LAMP], "is a product id, not an item id"),
        (["a"], ["z"], "No item 'z'"),
        (["b"], ["a"], "has no item 'b'; its items: 'a', 'p'"),
        (["a", "p"], ["b"], "item_ids has 2 entries and new_item_ids has 1"),
        ([], [], "item_ids is empty"),
    ],
)
@pytest.mark.parametrize("status", ["pending", "delivered"])
def test_a_wrong_replacement_is_refused_and_changes_nothing(
    status: str, item_ids: list[str], new_item_ids: list[str], problem: str
) -> None:
    shop = small_shop(status=status)
    before = dump_snapshot(shop)
    act = shop.modify_pending_order_items if status == "pending" else shop.exchange_delivered_order_items
    with pytest.raises(RetailError, match=problem):
        act("#W1000000", item_ids, new_item_ids, "card")
    assert dump_snapshot(shop) == before


def test_cancelling_refunds_the_payment_and_credits_a_gift_card_at_once() -> None:
    shop = small_shop(paid_with="gift")
    order = shop.cancel_pending_order("#W1000000", "ordered by mistake")
    assert (order.status, order.cancel_reason) == ("cancelled", "ordered by mistake")
    assert history(shop) == [("payment", Decimal("10.20"), "gift"), ("refund", Decimal("10.20"), "gift")]
    assert balance(shop) == Decimal("25.20")


def test_cancelling_after_a_change_of_payment_refunds_each_payment_once() -> None:
    shop = small_shop(paid_with="gift")
    shop.modify_pending_order_payment("#W1000000", "card")
    assert balance(shop) == Decimal("25.20")
    shop.cancel_pending_order("#W1000000", "no longer needed")
    assert history(shop) == [
        ("payment", Decimal("10.20"), "gift"),
        ("payment", Decimal("10.20"), "card"),
        ("refund", Decimal("10.20"), "gift"),
        ("refund", Decimal("10.20"), "card"),
    ]
    assert balance(shop) == Decimal("25.20")


def test_only_the_two_reasons_cancel() -> None:
    with pytest.raises(PolicyError, match=r"'too slow' is no reason to cancel; .* 'no longer needed' or 'ordered by"):
        small_shop().cancel_pending_order("#W1000000", "too slow")


def test_changing_the_payment_moves_gift_card_money_both_ways_to_the_last_cent() -> None:
    shop = small_shop(items=["a"], paid_with="gift")
    shop.modify_pending_order_payment("#W1000000", "small_gift")
    assert balance(shop) == Decimal("25.10")
    assert balance(shop, "small_gift") == Decimal("0.00")
    assert history(shop)[1:] == [("payment", Decimal("10.10"), "small_gift"), ("refund", Decimal("10.10"), "gift")]


@pytest.mark.parametrize(
    ("items", "method", "problem"),
    [
        (["a"], "card", "is paid with 'card' already"),
        (["b"], "gift", r"'gift' holds \$15.00, which does not cover \$20.25"),
        (["a"], "other", "'ann_lee_1000' has no payment method 'other'; on file: 'card', 'pal', 'gift', 'small_gift'"),
    ],
)
def test_a_payment_method_that_cannot_be_used_is_refused(items: list[str], method: str, problem: str) -> None:
    shop = small_shop(items=items)
    before = shop.digest()
    with pytest.raises(RetailError, match=problem):
        shop.modify_pending_order_payment("#W1000000", method)
    assert shop.digest() == before


def test_the_payment_is_changed_once() -> None:
    shop = small_shop()
    shop.modify_pending_order_payment("#W1000000", "pal")
    with pytest.raises(PolicyError, match="was changed before"):
        shop.modify_pending_order_payment("#W1000000", "gift")


@pytest.mark.parametrize("method", ["card", "gift", "small_gift"])
def test_a_return_goes_to_the_original_method_or_a_gift_card_and_only_records_the_request(method: str) -> None:
    shop = small_shop(status="delivered", items=["p", "a"])
    order = shop.return_delivered_order_items("#W1000000", ["p", "a"], method)
    assert order.status == "return requested"
    assert order.return_items == ("a", "p")
    assert order.return_payment_method_id == method
    assert len(history(shop)) == 1
    assert balance(shop) == Decimal("15.00")


def test_a_return_to_another_method_is_refused() -> None:
    with pytest.raises(PolicyError, match="refunds go to the original payment method or to a gift card"):
        small_shop(status="delivered").return_delivered_order_items("#W1000000", ["a"], "pal")


def test_an_exchange_records_sorted_items_and_the_difference_and_moves_no_money() -> None:
    shop = small_shop(status="delivered", items=["c", "a"])
    order = shop.exchange_delivered_order_items("#W1000000", ["c", "a"], ["a", "b"], "gift")
    assert order.exchange_items == ("a", "c")
    assert order.exchange_new_items == ("a", "b")
    assert order.exchange_price_difference == Decimal("-10.15")
    assert order.exchange_payment_method_id == "gift"
    assert order.status == "exchange requested"
    assert [item.item_id for item in order.items] == ["c", "a"]
    assert balance(shop) == Decimal("15.00")


def test_a_delivered_order_takes_one_request_only() -> None:
    shop = small_shop(status="delivered")
    shop.exchange_delivered_order_items("#W1000000", ["a"], ["b"], "card")
    with pytest.raises(
        PolicyError, match="'exchange requested'; only items of a 'delivered' order can be exchanged, once"
    ):
        shop.exchange_delivered_order_items("#W1000000", ["p"], ["q"], "card")
    with pytest.raises(PolicyError, match="'exchange requested'"):
        shop.return_delivered_order_items("#W1000000", ["p"], "card")


@pytest.mark.parametrize("status", ["processed", "delivered", "cancelled", "return requested", "exchange requested"])
def test_only_a_pending_order_is_cancelled_or_modified(status: str) -> None:
    shop = small_shop(status=status)
    with pytest.raises(PolicyError, match=status):
        shop.cancel_pending_order("#W1000000", "no longer needed")


def test_a_new_default_address_leaves_the_orders_alone() -> None:
    shop = small_shop()
    user = shop.update_address("ann_lee_1000", "2 Elm Road", "Apt 3", "Boise", "ID", "USA", "83702")
    assert user.address.to_json() == {
        "address1": "2 Elm Road",
        "address2": "Apt 3",
        "city": "Boise",
        "country": "USA",
        "state": "ID",
        "zip": "83702",
    }
    assert shop.orders["#W1000000"].address.zip == "89501"
    assert shop.find_user_id_by_name_zip("ANN", "lee", "83702") == "ann_lee_1000"
    with pytest.raises(NotFoundError, match="with zip '89501'"):
        shop.find_user_id_by_name_zip("Ann", "Lee", "89501")


def test_an_order_id_without_its_sign_is_not_found_and_told_how_ids_look() -> None:
    with pytest.raises(NotFoundError, match=r"^No order 'W1000000'\. Order ids look like '#W0000000'\.$"):
        small_shop().get_order_details("W1000000")


def test_product_ids_and_item_ids_are_told_apart() -> None:
    shop = small_shop()
    with pytest.raises(NotFoundError, match="'a' is an item id, not a product id; its product is '1000000001'"):
        shop.get_product_details("a")
    with pytest.raises(NotFoundError, match="'1000000001' is a product id, not an item id"):
        shop.get_item_details(LAMP)


def test_names_and_emails_are_found_without_case_and_accents() -> None:
    shop = small_shop()
    assert shop.find_user_id_by_name_zip("Ánn", "LEE", "89501") == "ann_lee_1000"
    assert shop.find_user_id_by_email(" Ann@Example.com ") == "ann_lee_1000"
    with pytest.raises(NotFoundError, match=r"No customer has the email 'bob@example.com'"):
        shop.find_user_id_by_email("bob@example.com")


def test_an_empty_summary_is_refused() -> None:
    assert small_shop().transfer_to_human_agents("wants a person") == "Transfer successful"
    with pytest.raises(ArgumentError, match="summary is empty"):
        small_shop().transfer_to_human_agents(" ")


def test_records_are_frozen(shop: RetailStore) -> None:
    user = shop.users["noah_brown_6181"]
    with pytest.raises(TypeError, match="frozen"):
        user.payment_methods["x"] = None  # type: ignore[index]
    with pytest.raises(ValueError, match="frozen"):
        user.email = "x"  # type: ignore[misc]


def test_forks_do_not_see_one_another(shop: RetailStore) -> None:
    one, other = shop.fork(), shop.fork()
    one.update_address("noah_brown_6181", "1", "", "c", "s", "USA", "1")
    two = one.fork()
    two.update_address("noah_brown_6181", "2", "", "c", "s", "USA", "2")
    assert [each.users["noah_brown_6181"].address.zip for each in (shop, one, two, other)] == [
        "80279",
        "1",
        "2",
        "80279",
    ]


def test_the_digest_is_that_of_the_state_however_it_was_reached(shop: RetailStore) -> None:
    start = shop.digest()
    old = shop.users["noah_brown_6181"].address
    shop.update_address("noah_brown_6181", "1", "", "c", "s", "USA", "1")
    assert shop.digest() != start
    assert shop.fork().digest() == shop.digest()
    assert parse_snapshot(dump_snapshot(shop), source="test").digest() == shop.digest()
    shop.update_address("noah_brown_6181", old.address1, old.address2, old.city, old.state, old.country, old.zip)
    assert shop.digest() == start
