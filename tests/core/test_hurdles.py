"""Hurdles make a scenario harder; they change neither the errand nor how it must end."""

import random
from typing import Any, get_args

import pytest

from tasks.core.drawing import draw_scenarios
from tasks.core.errand import NEEDED_STATUS
from tasks.core.hurdles import Room, with_hurdles
from tasks.core.phrases import mistyped, slots_of
from tasks.core.scenario import REFUSED, Hurdle, Request, Scenario, Split
from tests.worlds import small_view, synthesis

ALWAYS = dict.fromkeys(get_args(Hurdle), 1.0)
CANCEL = Request(intent="cancel", facts={"order_id": "#W1", "reason": "no longer needed"})
ORDERS = [{"order_id": "#W1", "status": "pending"}, {"order_id": "#W2", "status": "pending"}]


def drawn(hurdles: dict[str, float], split: Split = "train") -> list[Scenario]:
    return draw_scenarios(small_view(), synthesis(trap_rate=0.3, hurdles=hurdles), split, 150, 2)


def laid(*hurdles: Hurdle, room: Room | None = None, **changes: Any) -> Scenario:
    values: dict[str, Any] = {
        "id": "s",
        "seed": 1,
        "split": "train",
        "customer_id": "ann_1",
        "authenticate_by": "name_zip",
        "opening": "vague",
        "requests": (CANCEL,),
        "gold_writes": (),
        "gold_outcome": "",
    }
    scenario = Scenario(**{**values, **changes})
    return with_hurdles(scenario, dict.fromkeys(hurdles, 1.0), room or Room(ORDERS, ["12345"]), random.Random(1))


def test_with_and_without_hurdles_the_same_errands_are_drawn() -> None:
    for plain, hard in zip(drawn({}), drawn(ALWAYS), strict=True):
        assert plain.hurdles == ()
        bare = {"hurdles": (), "wrong_zip": "", "requests": ()}
        assert hard.model_copy(update=bare) == plain.model_copy(update=bare)
        for before, after in zip(plain.requests, hard.requests, strict=True):
            unslipped = {"first_named": "", "late": tuple(fact for fact in after.late if fact != "order_id")}
            assert after.model_copy(update=unslipped) == before


def test_a_share_of_none_and_of_all_is_none_and_all_that_fit() -> None:
    assert not [s for s in drawn(dict.fromkeys(ALWAYS, 0.0)) if s.hurdles]
    assert all({"impatient", "typos"} <= set(s.hurdles) for s in drawn(ALWAYS))
    half = sum("typos" in s.hurdles for s in drawn({"typos": 0.5}))
    assert 50 < half < 100


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_every_hurdle_is_only_where_it_fits_the_records(split: Split) -> None:
    view, seen = small_view(), set[str]()
    people = {(u["name"]["first_name"], u["name"]["last_name"], u["address"]["zip"]) for u in view.users.values()}
    for scenario in drawn(ALWAYS, split):
        seen |= set(scenario.hurdles)
        name = view.users[scenario.customer_id]["name"]
        if "wrong_zip" in scenario.hurdles:
            assert (name["first_name"], name["last_name"], scenario.wrong_zip) not in people
        if "persists" in scenario.hurdles:
            assert any(request.trap in REFUSED for request in scenario.requests)
        for request in scenario.requests:
            if request.first_named:
                wrong = view.orders[request.first_named]
                assert wrong["user_id"] == scenario.customer_id
                assert wrong["status"] == NEEDED_STATUS[request.intent]
                assert request.first_named != request.facts["order_id"]
    assert seen == set(get_args(Hurdle))


@pytest.mark.parametrize(
    ("hurdle", "changes"),
    [
        ("no_email", {"authenticate_by": "email"}),
        ("no_email", {"opening": "all"}),
        ("wrong_zip", {"authenticate_by": "email"}),
        ("wrong_zip", {"room": Room(ORDERS, [])}),
        ("unnamed_order", {"requests": (Request(intent="list_products", facts={}),)}),
        ("wrong_order", {"room": Room(ORDERS[:1], [])}),
        ("wrong_order", {"requests": (CANCEL.model_copy(update={"late": ("reason",)}),)}),
        ("wrong_order", {"requests": (CANCEL.model_copy(update={"trap": "wrong_state"}),)}),
        ("persists", {}),
        ("persists", {"requests": (CANCEL.model_copy(update={"trap": "changes_mind"}),)}),
    ],
)
def test_where_a_hurdle_has_no_room_it_is_not_laid(hurdle: Hurdle, changes: dict[str, Any]) -> None:
    assert laid(hurdle, **changes).hurdles == ()


def test_an_order_is_either_left_out_or_named_wrongly() -> None:
    scenario = laid("unnamed_order", "wrong_order")
    assert scenario.hurdles == ("unnamed_order",)
    assert laid("wrong_order").requests[0].first_named == "#W2"


def test_slips_of_the_pen_swap_two_letters_of_long_words_and_leave_slots_alone() -> None:
    template = "Please cancel the order {order} that I placed on {weekday}."
    slipped = mistyped(template, 1.0, random.Random(3))
    assert slipped != template
    assert slots_of(slipped) == slots_of(template)
    assert sorted(slipped) == sorted(template)
    for before, after in zip(template.split(), slipped.split(), strict=True):
        assert (before == after) == (len(before.strip(".")) < 5 or "{" in before or before[0].isupper())
