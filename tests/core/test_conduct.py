"""The rules of conduct, each kept and each broken."""

import json
from typing import Any

import pytest

from tasks.core.conduct import broken_rules
from tasks.core.conversation import Message, ToolCall
from tasks.core.policy import is_yes
from tasks.core.story import PlayedCall

ORDER = json.dumps({"order_id": "#W1", "user_id": "ann_lee_1"})
CANCEL = ("cancel_pending_order", {"order_id": "#W1", "reason": "no longer needed"}, ORDER)
LOOKUP = ("find_user_id_by_email", {"email": "a@example.com"}, "ann_lee_1")
PROFILE = ("get_user_details", {"user_id": "ann_lee_1"}, "{}")
READ = ("get_order_details", {"order_id": "#W1"}, ORDER)

Step = str | tuple[str, dict[str, Any], str]


def broken(*steps: Step, invented: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return what breaks in a conversation of the customer's and the agent's words, in turn, and calls in between."""
    messages = [Message(role="system", content="policy")]
    calls: list[PlayedCall] = []
    turn, agent_speaks = 0, False
    for step in steps:
        if isinstance(step, str):
            messages.append(Message(role="assistant" if agent_speaks else "user", content=step))
            turn += not agent_speaks
            agent_speaks = not agent_speaks
            continue
        call = ToolCall(id=f"c{len(calls)}", name=step[0], arguments=json.dumps(step[1]))
        messages += [
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", content=step[2], tool_call_id=call.id),
        ]
        calls.append(PlayedCall(turn=turn, call=call, result=step[2], is_error=False, invented=invented))
    return broken_rules(messages, calls)


def test_a_well_led_conversation_breaks_nothing() -> None:
    assert broken("Cancel #W1", LOOKUP, PROFILE, READ, "Cancel #W1?", "Yes, please.", CANCEL, "Done.") == ()
    assert broken("What do you sell?", ("list_products", {}, "{}"), "Lamps.") == ()


@pytest.mark.parametrize(
    ("steps", "rule"),
    [
        (("Hi", READ, "It is pending."), "acted before the customer was found"),
        (("Hi", LOOKUP, READ, "Hm."), "the profile was not fetched right after the lookup"),
        (("Hi", LOOKUP, "Ann?", "Yes", PROFILE, "Good."), "the profile was not fetched right after the lookup"),
        (("Hi", LOOKUP, PROFILE, ("get_user_details", {"user_id": "b"}, "{}"), "Hm."), "another customer's profile"),
        (
            ("Hi", LOOKUP, PROFILE, (LOOKUP[0], LOOKUP[1], "bob_1"), ("get_user_details", {"user_id": "bob_1"}, "{}")),
            "a second customer was looked up",
        ),
        (("Hi", LOOKUP, PROFILE, READ, CANCEL, "Done."), "changed without an explicit yes"),
        (("Hi", LOOKUP, PROFILE, "Cancel it?", "No, wait.", CANCEL, "Done."), "changed without an explicit yes"),
        (("Hi", LOOKUP, PROFILE, "I see.", "Yes.", CANCEL, "Done."), "changed without an explicit yes"),
        (
            ("Hi", LOOKUP, PROFILE, (READ[0], READ[1], '{"user_id": "bob_1"}'), "Cancel it?", "Yes", CANCEL, "Done."),
            "another customer's order",
        ),
    ],
)
def test_a_broken_rule_is_named_and_no_other(steps: tuple[Step, ...], rule: str) -> None:
    assert broken(*steps) == (rule,)


def test_an_invention_is_a_broken_rule() -> None:
    assert broken("Hi", LOOKUP, PROFILE, "Yes?", invented=("email 'a'",)) == ("an invented argument",)


def test_one_call_a_turn_and_no_words_beside_it() -> None:
    calls = tuple(ToolCall(id=str(n), name="list_products", arguments="{") for n in range(2))
    messages = [Message(role="assistant", content="Let me see.", tool_calls=calls)]
    assert broken_rules(messages, []) == ("more than one call in a turn", "text beside a tool call")


@pytest.mark.parametrize(
    ("words", "agrees"),
    [("Yes.", True), ("ok, go ahead", True), ("No", False), ("Yes, but wait", False), ("Blue", False), ("", False)],
)
def test_only_a_yes_is_a_yes(words: str, agrees: bool) -> None:
    assert is_yes(words) == agrees
