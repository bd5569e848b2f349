import json
from typing import Any

from tasks.core.conversation import Conversation, Message, ToolCall
from tasks.core.dataset import LeakCheck, RowMeta, content_key, line_of, row_of


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


def meta(customer_id: str, split: str, *template_ids: str) -> RowMeta:
    return RowMeta(
        row_sha256="0",
        conversation_id="c",
        scenario_id="s",
        customer_id=customer_id,
        split=split,  # type: ignore[arg-type]  # a plain string in tests
        teacher="expert",
        intents=(),
        template_ids=template_ids,
    )


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


def test_the_content_key_is_of_what_was_said_and_done_alone() -> None:
    assert content_key(a_conversation()) == content_key(a_conversation(id="expert-2", split="valid"))
    assert content_key(a_conversation()) != content_key(a_conversation(messages=a_conversation().messages[:1]))


def test_a_customer_in_two_splits_is_a_leak() -> None:
    check = LeakCheck(lambda template_id: template_id == "yes.5")
    assert check.leak(meta("a", "train", "yes.1")) is None
    assert check.leak(meta("b", "heldout", "yes.5")) is None
    assert check.leak(meta("a", "heldout", "yes.5")) == "customer 'a' is in train and in heldout"


def test_phrasing_of_the_wrong_split_is_a_leak() -> None:
    check = LeakCheck(lambda template_id: template_id == "yes.5")
    assert "of valid speaks template 'yes.5'" in str(check.leak(meta("a", "valid", "yes.1", "yes.5")))
    assert "of heldout speaks template 'yes.1'" in str(check.leak(meta("b", "heldout", "yes.1")))
