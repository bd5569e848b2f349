"""Random tool calls on a snapshot: most of them sensible, some of them wrong in one place."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

Json = dict[str, Any]
Call = tuple[str, Json]

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
REASONS = st.sampled_from(["no longer needed", "ordered by mistake", "too expensive", ""])


class Content(dict[str, Any]):
    """A snapshot with a short name, for hypothesis writes out what a strategy was made from."""

    def __repr__(self) -> str:
        return "the snapshot"


def calls(snapshot: Json) -> SearchStrategy[Call]:
    """Return calls of all tools whose effect the reference knows."""
    content = Content(snapshot)
    users, orders, products = (sorted(content[section]) for section in ("users", "orders", "products"))
    pending, delivered = _rich(content, "pending"), _rich(content, "delivered")
    items = [item_id for product in content["products"].values() for item_id in product["variants"]]
    # A few orders only, so that a sequence meets the same one again.
    odd = [*orders[:3], "#W0000000", pending[0][1:]]
    to_change = st.sampled_from(pending * 6 + delivered + odd)
    to_send_back = st.sampled_from(delivered * 6 + pending + odd)
    user_ids = st.sampled_from([*users[:6], "nobody_1", "noah_brown_6181"])
    order_ids = to_change | to_send_back
    reads = st.one_of(
        st.tuples(st.just("get_user_details"), st.fixed_dictionaries({"user_id": user_ids})),
        st.tuples(st.just("list_user_orders"), st.fixed_dictionaries({"user_id": user_ids})),
        st.tuples(st.just("get_order_details"), st.fixed_dictionaries({"order_id": order_ids})),
        st.tuples(
            st.just("get_product_details"),
            st.fixed_dictionaries({"product_id": st.sampled_from([*products, items[0]])}),
        ),
        st.tuples(
            st.just("get_item_details"), st.fixed_dictionaries({"item_id": st.sampled_from([*items, products[0]])})
        ),
        st.just(("list_products", {})),
        st.tuples(st.just("find_user_id_by_email"), _emails(content)),
        st.tuples(st.just("find_user_id_by_name_zip"), _names(content)),
    )
    writes = st.one_of(
        st.tuples(st.just("update_address"), _address(user_id=user_ids)),
        st.tuples(st.just("modify_pending_order_address"), _address(order_id=to_change)),
        st.tuples(st.just("cancel_pending_order"), st.fixed_dictionaries({"order_id": to_change, "reason": REASONS})),
        _with_items(content, to_change, "modify_pending_order_payment"),
        _with_items(content, to_change, "modify_pending_order_items"),
        _with_items(content, to_send_back, "return_delivered_order_items"),
        _with_items(content, to_send_back, "exchange_delivered_order_items"),
    )
    return reads | writes | writes


def _rich(content: Json, status: str) -> list[str]:
    """Return orders of a status: three that another method could pay, three that a gift card at hand could not."""

    def others(order: Json) -> list[Json]:
        [paid, *_] = order["payment_history"]
        methods = content["users"][order["user_id"]]["payment_methods"].values()
        return [method for method in methods if method["id"] != paid["payment_method_id"]]

    def covering(order: Json) -> int:
        amount = order["payment_history"][0]["amount"]
        return sum(method.get("balance", amount) >= amount for method in others(order))

    def lacking(order: Json) -> int:
        return len(others(order)) - covering(order)

    found = [order for order in content["orders"].values() if order["status"] == status]
    chosen = [*sorted(found, key=covering, reverse=True)[:3], *sorted(found, key=lacking, reverse=True)[:3]]
    return [order["order_id"] for order in chosen]


def _address(**first: SearchStrategy[str]) -> SearchStrategy[Json]:
    fields = dict.fromkeys(("address1", "address2", "city", "state", "country"), TEXT)
    return st.fixed_dictionaries({**first, **fields, "zip": st.sampled_from(["80279", "10001"]) | TEXT})


def _emails(content: Json) -> SearchStrategy[Json]:
    emails = [user["email"] for user in content["users"].values()]
    return st.fixed_dictionaries({"email": st.sampled_from([*emails, emails[0].upper(), "nobody@example.com"])})


@st.composite
def _names(draw: DrawFn, content: Json) -> Json:
    user = content["users"][draw(st.sampled_from(list(content["users"])))]
    zip_code = draw(st.sampled_from([user["address"]["zip"], "80279", "10001"]))
    return {**user["name"], "zip": zip_code}


@st.composite
def _with_items(draw: DrawFn, content: Json, order_ids: SearchStrategy[str], tool: str) -> Call:
    order_id = draw(order_ids)
    order = content["orders"].get(order_id) or next(iter(content["orders"].values()))
    arguments: Json = {"order_id": order_id, "payment_method_id": draw(_methods(content, order))}
    if tool != "modify_pending_order_payment":
        places = range(len(order["items"]))
        right = st.lists(st.sampled_from(places), min_size=1, max_size=3, unique=True)
        chosen = draw(right | right | st.lists(st.sampled_from(places), min_size=2, max_size=3) | st.just(places))
        items = [order["items"][place] for place in chosen]
        arguments["item_ids"] = [item["item_id"] for item in items]
        if draw(st.integers(0, 19)) == 0:
            arguments["item_ids"] = draw(st.sampled_from([[], [order["items"][0]["product_id"]], ["1"]]))
        if tool != "return_delivered_order_items":
            arguments["new_item_ids"] = [draw(_variants(content, item)) for item in items]
            if draw(st.integers(0, 19)) == 0:
                arguments["new_item_ids"] = arguments["new_item_ids"][1:]
    return tool, arguments


def _methods(content: Json, order: Json) -> SearchStrategy[str]:
    paid = order["payment_history"][0]["payment_method_id"]
    others = sorted(set(content["users"][order["user_id"]]["payment_methods"]) - {paid})
    gifts = [method_id for method_id in others if method_id.startswith("gift_card")]
    strange = ["gift_card_0000000", *content["users"]["noah_brown_6181"]["payment_methods"]]
    return st.just(paid) | st.sampled_from(gifts or [paid]) | st.sampled_from([*others, *strange])


def _variants(content: Json, item: Json) -> SearchStrategy[str]:
    variants = content["products"][item["product_id"]]["variants"]
    right = [key for key in sorted(variants) if variants[key]["available"] and key != item["item_id"]]
    away = [key for key in sorted(variants) if not variants[key]["available"]]
    other = next(product for key, product in content["products"].items() if key != item["product_id"])
    wrong = [item["item_id"], item["product_id"], next(iter(other["variants"])), *away[:1]]
    dearer = [key for key in right if variants[key]["price"] > item["price"]]
    return st.sampled_from(dearer or right or wrong) | st.sampled_from(right or wrong) | st.sampled_from(right + wrong)
