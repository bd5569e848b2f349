"""The kind of a move, told by a call or by the words."""

from typing import Any

import pytest

from tasks.core.move import Act, act_of, move_of
from tasks.core.phrases import AGENT_ACTS, slots_of
from tests.worlds import phrases

SLOT = {"options": "size M", "reason": "no longer needed", "count": "50", "status": "pending"}


def expected_act(name: str) -> Act:
    head = name.partition(".")[0]
    if head in {"confirm", "refuse"}:
        return "confirm" if head == "confirm" else "refuse"
    if name.startswith("ask_"):
        return "ask"
    return "hand over" if name == "transferred" else "tell"


@pytest.mark.parametrize("name", sorted(AGENT_ACTS))
def test_every_phrase_of_the_expert_is_told_for_what_it_is(name: str) -> None:
    for template in phrases().agent[name]:
        text = template.format(**{slot: SLOT.get(slot, f"the {slot}") for slot in slots_of(template)})
        assert act_of(text) == expected_act(name), text


@pytest.mark.parametrize(
    ("text", "act"),
    [
        ("Could you please give me your email?", "ask"),
        ("Please tell me the order that you mean.", "ask"),
        ("Please note that the refund takes five days.", "tell"),
        ("I'm sorry to hear that! Which item would you like to return?", "ask"),
        ("I will cancel order #W1 as no longer needed. Shall I proceed?", "confirm"),
        ("Please reply with yes to go on. Is everything correct?", "confirm"),
        ("Unfortunately, that order cannot be changed. Is there anything else I can help you with?", "refuse"),
        ("I have transferred you to a human agent.", "hand over"),
        ("Your order was shipped. Is there anything else?", "tell"),
        ("", "tell"),
    ],
)
def test_words_of_other_models_are_told_by_the_same_rules(text: str, act: Act) -> None:
    assert act_of(text) == act


def item(*tools: str, text: str = "") -> dict[str, Any]:
    calls = [{"function": {"name": tool, "arguments": "{}"}} for tool in tools]
    return {"expected_output": {"role": "assistant", "content": text, "tool_calls": calls}}


def test_a_call_reads_writes_or_hands_over() -> None:
    writes = {"cancel_pending_order"}
    assert move_of(item("get_order_details"), writes) == "read"
    assert move_of(item("get_order_details", "cancel_pending_order"), writes) == "write"
    assert move_of(item("transfer_to_human_agents"), writes) == "hand over"
    assert move_of(item(text="Do you confirm (yes/no)?"), writes) == "confirm"
