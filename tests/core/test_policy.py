import json
from collections.abc import Callable
from typing import Any

import pytest

from tasks.core.policy import asks_for_a_human, breaches, is_yes
from tasks.core.scenario import Split
from tests.worlds import phrases

Messages = list[dict[str, Any]]
PROFILE = {"user_id": "ann_1", "email": "ann@x.com", "orders": ["#W1", "#W2"]}


def user(text: str) -> Messages:
    return [{"role": "user", "content": text}]


def agent(text: str) -> Messages:
    return [{"role": "assistant", "content": text}]


def tool(name: str, result: Any, **arguments: str) -> Messages:
    call_id = f"{name}/{sorted(arguments.items())}"
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    content = result if isinstance(result, str) else json.dumps(result, separators=(",", ":"))
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": content, "tool_call_id": call_id},
    ]


FOUND = tool("find_user_id_by_email", "ann_1", email="ann@x.com")
KNOWN = [*FOUND, *tool("get_user_details", PROFILE, user_id="ann_1")]
READ = tool("get_order_details", {"order_id": "#W1", "status": "pending"}, order_id="#W1")
ASKED = agent("I will cancel order #W1, no longer needed. Do you confirm (yes/no)?")
CANCEL = tool("cancel_pending_order", {"order_id": "#W1", "status": "cancelled"}, order_id="#W1", reason="x")
WISH = user("I am ann@x.com, cancel #W1")
DONE = agent("Order #W1 is cancelled. Anything else?")
GOOD = [*WISH, *KNOWN, *READ, *ASKED, *user("Yes, please."), *CANCEL, *DONE]
NO_YES = "changed without an explicit yes to its details"
ELSEWHERE = tool("find_user_id_by_email", "bob_2", email="b@x.com")
HAND_OVER = tool("transfer_to_human_agents", "ok", summary="x")


def kinds(*parts: Messages, **options: Any) -> list[str]:
    return [fault.kind for fault in breaches([m for part in parts for m in part], **options)]


def test_a_conversation_by_the_policy_breaks_no_rule() -> None:
    assert kinds(GOOD, customer_id="ann_1") == []


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ([user("hi"), READ], "acted before the customer was found"),
        ([user("hi"), FOUND, READ], "the profile was not fetched right after the lookup"),
        ([user("hi"), FOUND, agent("Hello Ann.")], "the profile was not fetched right after the lookup"),
        ([user("hi"), FOUND, tool("get_user_details", PROFILE, user_id="ann_9")], "another customer's profile"),
        ([user("hi"), KNOWN, tool("get_user_details", PROFILE, user_id="bob_2")], "another customer's profile"),
        (
            [user("hi"), KNOWN, tool("find_user_id_by_email", "bob_2", email="b@x.com")],
            "a second customer was looked up",
        ),
        ([user("hi"), KNOWN, tool("get_order_details", {}, order_id="#W9")], "another customer's record"),
        ([WISH, KNOWN, READ, CANCEL, DONE], NO_YES),
        ([WISH, KNOWN, READ, ASKED, user("No, wait."), CANCEL], NO_YES),
        (
            [WISH, KNOWN, READ, agent("Shall I?"), user("Yes."), CANCEL],
            "changed without an explicit yes to its details",
        ),
        (
            [WISH, KNOWN, READ, agent("I cancel #W1."), user("Yes."), CANCEL],
            "changed without an explicit yes to its details",
        ),
        ([GOOD, CANCEL], NO_YES),
        ([WISH, KNOWN, agent("#W1?"), user("Yes."), CANCEL], "changed a record without reading it first"),
        ([user("#W1?"), KNOWN, agent("Order #W1 is pending.")], "the state of a record that was not read"),
        ([WISH, KNOWN, ASKED, user("No.")], "a change offered before the record was read"),
        ([user("hi"), KNOWN, HAND_OVER], "handed over though nobody asked and nothing was refused"),
        ([user("A human!"), KNOWN, HAND_OVER, READ], "a call after the hand-over"),
        ([user("What of #W1 and #W2?"), KNOWN, READ, DONE], "a record that the customer named was never taken up"),
    ],
)
def test_each_rule_is_seen_to_be_broken(parts: list[Messages], kind: str) -> None:
    assert kinds(*parts) == [kind]


def test_the_turn_and_the_value_are_named() -> None:
    [fault] = breaches([*user("hi"), *KNOWN, *tool("get_order_details", {}, order_id="#W9")])
    assert (fault.turn, fault.detail) == (5, "#W9")


def test_the_customer_must_be_that_of_the_scenario() -> None:
    assert set(kinds(GOOD, customer_id="bob_2")) == {"not the customer of the scenario"}


def test_a_hand_over_after_a_refusal_is_by_the_policy() -> None:
    refused = agent("I am sorry, I cannot change your email.")
    assert kinds(user("Change my email"), KNOWN, refused, user("But I want it"), HAND_OVER) == []


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_the_words_of_every_customer_are_understood(split: Split) -> None:
    def texts(act: str) -> list[str]:
        return [text for _, text in phrases().templates(act, split)]

    check: list[tuple[Callable[[str], bool], str, bool]] = [
        (is_yes, "yes", True),
        (is_yes, "no", False),
        (asks_for_a_human, "request.human", True),
        (asks_for_a_human, "do.human", True),
    ]
    for judge, act, expected in check:
        assert [text for text in texts(act) if judge(text) != expected] == []


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("Yes, no problem.", True),
        ("yes but wait", False),
        ("OK", True),
        ("Okay, but not that card", False),
        ("Do it.", True),
        ("Don't do it.", False),
        ("What does it cost?", False),
        ("I'd rather keep it, yes", False),
        ("Correct, go ahead and thanks", True),
    ],
)
def test_anything_but_a_yes_is_a_no(text: str, yes: bool) -> None:
    assert is_yes(text) is yes
