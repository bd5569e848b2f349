import asyncio

import pytest

from tasks.core.coverage import cells_of, holes, table
from tasks.core.drawing import draw_scenarios, draw_wanted
from tasks.core.errors import ConfigError
from tasks.expert import play
from tests.core.test_dataset import a_conversation
from tests.worlds import phrases, small_shop, small_view, synthesis
from zava_mcp import policy
from zava_mcp.local import LocalShop

TARGETS = {
    "cancel_pending_order refused wrong_state": 2,
    "return_delivered_order_items declined explicit_yes": 1,
    "transfer_to_human_agents handed_over human_on_request": 1,
    "update_address ok explicit_yes": 1,
}


def test_calls_refusals_and_declined_changes_each_have_their_cell() -> None:
    conversation = a_conversation(outcome="cancel: refused wrong_state; return: kept; order_status: answered")
    assert [str(cell) for cell in cells_of(conversation)] == [
        "act ok own_records",
        "cancel_pending_order refused wrong_state",
        "return_delivered_order_items declined explicit_yes",
    ]


def test_a_call_that_the_shop_refused_is_an_error() -> None:
    messages = [*a_conversation().messages]
    messages[2] = messages[2].model_copy(update={"content": "No order '#W1'."})
    [cell, *_] = cells_of(a_conversation(messages=tuple(messages)))
    assert str(cell) == "act error own_records"


def test_the_table_sets_what_is_there_against_what_is_wanted() -> None:
    rows = table({"a ok x": 3, "b ok x": 1}, {"a ok x": 5, "c ok x": 2})
    assert [(row.tool, row.seen, row.target, row.missing) for row in rows] == [
        ("a", 3, 5, 2),
        ("b", 1, 0, 0),
        ("c", 0, 2, 2),
    ]


def test_the_holes_are_the_requests_that_are_missing_the_largest_first() -> None:
    assert holes([], TARGETS)[:2] == [("cancel", "wrong_state")] * 2
    refused = a_conversation(outcome="cancel: refused wrong_state")
    assert holes([refused], {"cancel_pending_order refused wrong_state": 2}) == [("cancel", "wrong_state")]
    assert holes([refused], {"cancel_pending_order refused wrong_state": 1}) == []


def test_a_target_that_no_request_leads_to_is_named_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"No request leads to 'cancel refused x'\. .* cancel_pending_order refused"):
        holes([], {"cancel refused x": 1})


def test_what_is_drawn_for_the_holes_fills_them_when_it_is_played() -> None:
    scenarios = draw_wanted(small_view(), synthesis(), holes([], TARGETS), 7, batch=1)

    async def play_all() -> list[str]:
        async with LocalShop(small_shop()) as shop:
            played = [await play(scenario, shop, phrases(), policy.text()) for scenario in scenarios]
        assert holes(played, TARGETS) == []
        return [conversation.split for conversation in played]

    assert set(asyncio.run(play_all())) == {"train"}
    assert len({scenario.id for scenario in scenarios}) == len(scenarios) == 5


def test_the_first_scenarios_are_the_same_with_and_without_targets() -> None:
    plain = draw_scenarios(small_view(), synthesis(), "train", 5, 7)
    assert draw_scenarios(small_view(), synthesis(coverage=TARGETS), "train", 5, 7) == plain
