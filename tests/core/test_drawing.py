from collections import Counter
from typing import Any, get_args

import pytest

from tasks.core.drawing import draw_scenarios, noah_brown_story
from tasks.core.errand import MOST_READS, NEEDED_STATUS
from tasks.core.errors import SynthesisError
from tasks.core.scenario import STORY_CUSTOMER, Scenario, ShopView, Split, Trap, split_of
from tests.worlds import INTENTS, small_shop, small_view, synthesis

SPLITS: tuple[Split, ...] = get_args(Split)


def drawn(split: Split = "train", count: int = 300, seed: int = 1, **changes: Any) -> list[Scenario]:
    return draw_scenarios(small_view(), synthesis(**changes), split, count, seed)


def test_the_same_seed_draws_the_same_scenarios() -> None:
    assert drawn(count=50) == drawn(count=50)
    assert drawn(count=50) != drawn(count=50, seed=2)


def test_more_scenarios_begin_with_the_same_ones() -> None:
    assert drawn(count=60)[:20] == drawn(count=20)


def test_a_customer_belongs_to_one_split_and_the_customer_of_the_story_is_held_out() -> None:
    shares = Counter(split_of(f"customer_{n}") for n in range(5000))
    assert shares["train"] / 5000 == pytest.approx(0.75, abs=0.03)
    assert shares["valid"] / 5000 == pytest.approx(0.08, abs=0.02)
    assert split_of(STORY_CUSTOMER) == "heldout"


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_uses_its_own_customers_only_even_for_orders_of_others(split: Split) -> None:
    orders = small_view().orders
    for scenario in drawn(split, count=150, trap_rate=0.5):
        assert split_of(scenario.customer_id) == split
        for request in scenario.requests:
            if "order_id" in request.facts:
                owner = orders[request.facts["order_id"]]["user_id"]
                assert split_of(owner) == split
                assert (owner != scenario.customer_id) == (request.trap == "foreign_order")


def test_all_intents_and_traps_occur_and_a_human_is_asked_for_last() -> None:
    scenarios = drawn(count=400, trap_rate=0.5, traps=get_args(Trap))
    assert {request.intent for s in scenarios for request in s.requests} == set(INTENTS)
    assert {request.trap for s in scenarios for request in s.requests} == {None, *get_args(Trap)}
    for scenario in scenarios:
        assert "human" not in [request.intent for request in scenario.requests[:-1]]


def test_a_profile_says_which_traps_are_laid() -> None:
    traps = {request.trap for s in drawn(trap_rate=1.0, traps=["wrong_state"]) for request in s.requests}
    assert traps == {None, "wrong_state"}
    assert {r.trap for s in drawn(trap_rate=1.0) for r in s.requests} - {None} == set(synthesis().traps)


def test_what_is_wished_in_vain_is_forbidden_by_the_records() -> None:
    view, seen = small_view(), Counter[str]()
    for scenario in drawn(count=400, trap_rate=1.0, traps=get_args(Trap)):
        own = view.users[scenario.customer_id]["payment_methods"]
        for request in scenario.requests:
            facts, trap = request.facts, request.trap
            order = view.orders.get(facts.get("order_id", ""))
            match trap:
                case "unknown_payment":
                    assert facts["payment"]["source"] not in {method["source"] for method in own.values()}
                case "card_too_small":
                    assert own[facts["payment"]["id"]]["balance"] < order["payment_history"][0]["amount"]  # type: ignore[index]  # it names an order
                case "wrong_refund":
                    assert own[facts["payment"]["id"]]["source"] != "gift_card"
                    assert facts["payment"]["id"] != order["payment_history"][0]["payment_method_id"]  # type: ignore[index]  # as above
                case "not_available":
                    [change] = facts["changes"]
                    [product] = [p for p in view.products.values() if p["name"] == change["item"]]
                    variants = product["variants"].values()
                    assert not [v for v in variants if v["options"] == change["options"] and v["available"]]
                case _:
                    continue
            seen[str(trap)] += 1
    assert min(seen[trap] for trap in ("unknown_payment", "card_too_small", "wrong_refund", "not_available")) > 3


def test_without_traps_nothing_is_refused() -> None:
    assert not [r for s in drawn(trap_rate=0) for r in s.requests if r.trap]


def test_no_more_requests_than_allowed() -> None:
    assert {len(s.requests) for s in drawn(max_requests=1)} == {1}
    assert {len(s.requests) for s in drawn(max_requests=3)} == {1, 2, 3}


def test_requests_meet_orders_in_the_state_that_they_need_or_are_marked() -> None:
    orders = small_view().orders
    for request in (r for s in drawn(trap_rate=0.4) for r in s.requests):
        if request.intent in NEEDED_STATUS and request.trap != "foreign_order":
            fits = orders[request.facts["order_id"]]["status"] == NEEDED_STATUS[request.intent]
            assert fits == (request.trap != "wrong_state")


def test_the_gold_writes_are_taken_by_the_shop_in_order() -> None:
    for split in SPLITS:
        for scenario in drawn(split, count=150):
            shop = small_shop().fork()
            for call in scenario.gold_writes:
                getattr(shop, call.name)(**call.arguments)


def test_new_options_fit_exactly_one_available_variant() -> None:
    view = small_view()
    for scenario in drawn():
        for request in scenario.requests:
            for change in request.facts.get("changes", ()):
                [item] = [i for i in view.orders[request.facts["order_id"]]["items"] if i["name"] == change["item"]]
                variants = view.products[item["product_id"]]["variants"].values()
                fitting = [v for v in variants if v["available"] and v["options"] == change["options"]]
                assert len(fitting) == 1
                assert fitting[0]["item_id"] != item["item_id"]


def test_a_payment_method_is_called_by_its_kind_only_where_that_is_clear() -> None:
    for scenario in drawn(count=400):
        methods = small_view().users[scenario.customer_id]["payment_methods"]
        kinds = Counter(method["source"] for method in methods.values())
        for request in scenario.requests:
            payment = request.facts.get("payment")
            if payment is not None and payment["said_as"] == "kind":
                assert kinds[payment["source"]] == 1


def test_an_item_is_searched_in_a_few_orders_and_found_in_one_only() -> None:
    view = small_view()
    for scenario in drawn():
        for request in scenario.requests:
            if request.intent == "order_status_by_item":
                orders = [view.orders[key] for key in view.users[scenario.customer_id]["orders"]]
                with_item = [n for n, o in enumerate(orders) for i in o["items"] if i["name"] == request.facts["item"]]
                assert len(with_item) == 1
                assert with_item[0] < MOST_READS


def test_a_shop_without_fitting_orders_is_named() -> None:
    view = small_view()
    bare = ShopView({k: {**u, "orders": []} for k, u in view.users.items()}, view.orders, view.products)
    with pytest.raises(SynthesisError, match="No customer of the split 'train' has the orders for cancel"):
        draw_scenarios(bare, synthesis(intents={"cancel": 1.0}, trap_rate=0), "train", 1, 1)
    with pytest.raises(SynthesisError, match="0 customers in the split 'valid'"):
        draw_scenarios(ShopView({}, {}, {}), synthesis(), "valid", 1, 1)


def test_the_story_is_about_noah_brown_and_changes_his_address_in_the_shop() -> None:
    story, shop = noah_brown_story(), small_shop().fork()
    [call] = story.gold_writes
    shop.update_address(**call.arguments)
    assert shop.user("noah_brown_6181").address.to_json() == story.requests[0].facts["address"]
    assert shop.digest() != small_shop().digest()
