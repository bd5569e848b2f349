import json
from typing import Any

from tasks.core.conversation import Conversation, Message, ToolCall
from tasks.core.dataset import Funnel, FunnelStep, line_of, row_of


def a_conversation(**changes: Any) -> Conversation:
    values: dict[str, Any] = {
        "id": "expert-1",
        "scenario_id": "1",
        "customer_id": "noah_brown_6181",
        "split": "train",
        "teacher": "expert",
        "intents": ("cancel",),
        "template_ids": ("yes.1",),
        "messages": (
            Message(role="user", content="Zoë?"),
            Message(role="assistant", tool_calls=(ToolCall(id="call_1", name="act", arguments="{}"),)),
            Message(role="tool", content="ok", tool_call_id="call_1"),
            Message(role="assistant", content="Yes."),
        ),
        "outcome": "cancel: done",
        "final_state": "0",
    }
    return Conversation(**{**values, **changes})


def test_a_row_is_one_line_with_exactly_the_keys_that_a_provider_takes() -> None:
    line = line_of(row_of(a_conversation(), [{"type": "function"}]))
    assert b"\n" not in line
    assert "Zoë".encode() in line
    row = json.loads(line)
    assert list(row) == ["messages", "tools", "parallel_tool_calls"]
    assert row["messages"][1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "act", "arguments": "{}"}}],
    }
    assert row["messages"][3] == {"role": "assistant", "content": "Yes."}


def test_the_funnel_says_of_each_gate_what_came_what_passed_why_not_and_shows_one() -> None:
    funnel = Funnel(
        played=10,
        stopped={"format": 1, "goal": 2},
        reasons={"goal: another outcome": 2, "format: bad tool name": 1},
        kept=7,
        examples={"goal: another outcome": "c-4: another outcome: 'done'"},
    )
    assert list(funnel.steps()) == [
        FunnelStep("format", 10, 9, "bad tool name (1)", ""),
        FunnelStep("goal", 9, 7, "another outcome (2)", "c-4: another outcome: 'done'"),
    ]
