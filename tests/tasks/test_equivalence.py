"""Calls that are not those expected, played on the shop: what is as good, and what is not."""

import asyncio
import json
from typing import Any

import pytest

from tasks.core.conversation import ToolCall
from tasks.core.evaluation import Answer, EvalItem, ItemMeta, Played
from tasks.core.score import score_answer
from tasks.equivalence import MOST_CALLS, Answered, facts_of, play
from tests.worlds import shop_tools, small_shop
from zava_mcp.entities import User, compact_json

Call = tuple[str, dict[str, Any] | str]
SAME, OTHER = Played(same=True, changed=False), Played(same=False, changed=False)


def customer(orders: int) -> User:
    return next(user for user in small_shop().users.values() if len(user.orders) >= orders)


def wire(call: Call, number: int) -> dict[str, Any]:
    name, given = call
    arguments = given if isinstance(given, str) else json.dumps(given)
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def conversation(steps: list[Call | str]) -> list[tuple[EvalItem, ItemMeta]]:
    """Return the decisions of a conversation: a call of the agent with its real result, or its words."""
    store, user = small_shop().fork(), customer(2)
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Help."},
        {"role": "user", "content": f"I am {user.email}, zip {user.address.zip}. Look at {user.orders}."},
    ]
    decisions = []
    for number, step in enumerate(steps):
        calls = [] if isinstance(step, str) else [wire(step, number)]
        gold = {"role": "assistant", "content": step if isinstance(step, str) else None, "tool_calls": calls}
        item = {"messages": list(messages), "tools": shop_tools(), "expected_output": gold}
        decisions.append((EvalItem(item=item), meta(user, len(messages), step)))
        messages.append({key: value for key, value in gold.items() if value or key != "tool_calls"})
        if isinstance(step, str):
            messages.append({"role": "user", "content": "Yes."})
        else:
            messages.append({"role": "tool", "tool_call_id": f"call_{number}", "content": told(store, step)})
    return decisions


def told(store: Any, step: Call) -> str:
    arguments = step[1]
    assert isinstance(arguments, dict)
    result = getattr(store, step[0])(**arguments)
    if isinstance(result, str):
        return result
    return compact_json(result.to_json())


def meta(user: User, turn: int, step: Call | str) -> ItemMeta:
    return ItemMeta(
        item_id=f"c/{turn}",
        conversation_id="c",
        scenario_id="s",
        customer_id=user.user_id,
        turn=turn,
        kind="text" if isinstance(step, str) else "call",
        intents=("cancel",),
        tool=None if isinstance(step, str) else step[0],
        depth=turn,
        propagates=False,
    )


def answered(steps: list[Call | str], at: int, *calls: Call) -> tuple[list[Answered], int]:
    """Return the decisions of a conversation, all answered in words but one."""
    words = Answer(content="Hm.")
    made = [
        ToolCall(id=str(n), name=w["function"]["name"], arguments=w["function"]["arguments"])
        for n, w in enumerate(wire(call, n) for n, call in enumerate(calls))
    ]
    return [
        Answered(item, of, Answer(tool_calls=tuple(made)) if place == at else words)
        for place, (item, of) in enumerate(conversation(steps))
    ], at


def played(steps: list[Call | str], at: int, *calls: Call) -> Played | None:
    every, place = answered(steps, at, *calls)
    found = asyncio.run(play(small_shop(), every))
    assert [one for index, one in enumerate(found) if index != place] == [None] * (len(every) - 1)
    return found[place]


USER = customer(2)
BY_EMAIL: Call = ("find_user_id_by_email", {"email": USER.email})
BY_NAME: Call = (
    "find_user_id_by_name_zip",
    {"first_name": USER.name.first_name, "last_name": USER.name.last_name, "zip": USER.address.zip},
)
PROFILE: Call = ("get_user_details", {"user_id": USER.user_id})
FIRST: Call = ("get_order_details", {"order_id": USER.orders[0]})
SECOND: Call = ("get_order_details", {"order_id": USER.orders[1]})
MOVE: Call = ("update_address", {"user_id": USER.user_id, **USER.address.to_json(), "address1": "1 Elm Street"})
ELSEWHERE: Call = ("update_address", {"user_id": USER.user_id, **USER.address.to_json(), "address1": "2 Elm Street"})
STEPS: list[Call | str] = [BY_EMAIL, PROFILE, FIRST, SECOND, "Do you confirm (yes/no)?", MOVE, "Done."]


@pytest.mark.parametrize(
    ("at", "calls", "came_of_it"),
    [
        (0, [BY_NAME], SAME),
        (2, [SECOND], SAME),  # read a moment later anyway
        (3, [FIRST], OTHER),  # read before: tells nothing new
        (1, [FIRST], SAME),
        (0, [PROFILE], SAME),
        (2, [PROFILE], OTHER),
        (2, [("get_order_details", {"order_id": "#W0"})], OTHER),
        (3, [SECOND, FIRST], OTHER),
        (4, [FIRST], OTHER),  # words were right
        (5, [ELSEWHERE], Played(same=False, changed=True)),
        (5, [MOVE, FIRST], Played(same=True, changed=True)),
        (5, [FIRST], OTHER),
        (4, [MOVE], Played(same=False, changed=True)),
        (3, [MOVE], Played(same=False, changed=True)),
        (0, [("open_the_door", {})], OTHER),
        (0, [("find_user_id_by_email", '{"email": ')], OTHER),
    ],
)
def test_what_came_of_other_calls(at: int, calls: list[Call], came_of_it: Played) -> None:
    assert played(STEPS, at, *calls) == came_of_it


@pytest.mark.parametrize("calls", [[BY_EMAIL], [], [FIRST] * (MOST_CALLS + 1)])
def test_there_is_nothing_to_play_of_the_right_call_of_words_and_of_a_thousand_calls(calls: list[Call]) -> None:
    assert played(STEPS, 0, *calls) is None


def test_arguments_nested_without_end_are_refused_like_others() -> None:
    deep = '{"email": ' + "[" * 900 + "]" * 900 + "}"
    assert played(STEPS, 0, ("find_user_id_by_email", deep)) == OTHER


def test_another_summary_hands_over_all_the_same() -> None:
    steps: list[Call | str] = [("transfer_to_human_agents", {"summary": "The customer asks for a human agent."})]
    assert played(steps, 0, ("transfer_to_human_agents", {"summary": "Wants a human."})) == SAME


def test_a_history_that_the_shop_does_not_reproduce_is_not_judged() -> None:
    every, _ = answered(STEPS, 2, SECOND)
    for one in every[1:]:
        one.item.item["messages"][3]["content"] = "somebody_else_1"
    assert asyncio.run(play(small_shop(), every)) == [None] * len(every)


def test_turns_that_are_left_out_end_what_is_to_come() -> None:
    every, _ = answered(STEPS, 1, SECOND)
    assert asyncio.run(play(small_shop(), every))[1] == SAME
    without = every[:2] + every[3:]
    assert asyncio.run(play(small_shop(), without))[1] == OTHER


def test_an_id_that_nobody_gave_earns_no_credit_even_where_it_is_right() -> None:
    every, _ = answered(STEPS, 0, PROFILE)
    facts = asyncio.run(facts_of(small_shop()))
    score = score_answer(*every[0], facts, SAME)
    assert (score.equivalent, score.failure) == (False, "invented_id")


def test_the_facts_of_the_shop_are_its_writing_tools_and_whose_each_id_is() -> None:
    facts = asyncio.run(facts_of(small_shop()))
    assert "update_address" in facts.writes
    assert not facts.writes & {"get_user_details", "transfer_to_human_agents", "calculate"}
    assert facts.owners[USER.user_id] == facts.owners[USER.orders[0]] == USER.user_id
    product = next(iter(small_shop().products.values()))
    assert facts.owners[product.product_id] is None
