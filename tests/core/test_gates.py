import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.gates import ToolShelf, format_gate, kind_of, provenance_gate

Row = dict[str, Any]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_order_details",
        "description": "Get an order.",
        "parameters": {
            "type": "object",
            "properties": {"order_id": {"type": "string"}},
            "required": ["order_id"],
        },
    },
}


def call(arguments: str = '{"order_id":"#W1234567"}', call_id: str = "call_1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "get_order_details", "arguments": arguments}}


def a_row() -> Row:
    return {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Where is #W1234567?"},
            {"role": "assistant", "content": None, "tool_calls": [call()]},
            {"role": "tool", "content": '{"status":"pending"}', "tool_call_id": "call_1"},
            {"role": "assistant", "content": "It is pending."},
        ],
        "tools": [copy.deepcopy(TOOL)],
        "parallel_tool_calls": False,
    }


def changed(change: Callable[[Row], object]) -> Row:
    row = copy.deepcopy(a_row())
    change(row)
    return row


def test_a_sound_row_passes_both_gates() -> None:
    for gate in (format_gate, provenance_gate):
        verdict = gate(a_row(), ToolShelf())
        assert verdict.passed
        assert verdict.reason == ""


@pytest.mark.parametrize(
    ("change", "reason", "turn"),
    [
        (lambda r: r.pop("tools"), "wrong keys: a row has exactly messages, parallel_tool_calls, tools", None),
        (lambda r: r.update(id=7), "wrong keys", None),
        (lambda r: r.update(parallel_tool_calls=True), "parallel_tool_calls must be false: True", None),
        (lambda r: r.update(parallel_tool_calls=0), "parallel_tool_calls must be false: 0", None),
        (lambda r: r.update(messages="hi"), "messages must be a list", None),
        (lambda r: r.update(tools=[]), "messages must be a list and tools a list that is not empty", None),
        (lambda r: r["tools"].append(TOOL), "broken tools: tools[1] is named 'get_order_details'", None),
        (lambda r: r.update(messages=[]), "the last turn must be the assistant's: it is missing", -1),
        (lambda r: r["messages"].pop(), "the last turn must be the assistant's: it is tool", 3),
        (lambda r: r["messages"].pop(1), "roles out of order: call after system", 1),
        (lambda r: r["messages"].pop(3), "roles out of order: assistant after call", 3),
        (lambda r: r["messages"].pop(2), "roles out of order: tool after user", 2),
        (lambda r: r["messages"].insert(1, r["messages"][0]), "roles out of order: system after system", 1),
        (lambda r: r["messages"].append({"role": "robot"}), "not a message with a known role", 5),
        (lambda r: r["messages"].append({"role": ["user"]}), "not a message with a known role", 5),
        (lambda r: r["messages"].append("hi"), "not a message with a known role", 5),
        (lambda r: r["messages"][1].update(name="Eve"), "unknown keys in a message: user has name", 1),
        (lambda r: r["messages"][1].update(content=" "), "message without text: user", 1),
        (lambda r: r["messages"][1].update(content=[{"type": "text"}]), "message without text: user", 1),
        (lambda r: r["messages"][4].update(content=None), "message without text: assistant", 4),
        (lambda r: r["messages"][4].update(tool_calls=[]), "tool_calls must be left out or hold a call", 4),
        (lambda r: r["messages"][2].update(content="Let me see."), "text beside a tool call", 2),
        (lambda r: r["messages"][2]["tool_calls"].append(call(call_id="2")), "more than one call in a turn: 2", 2),
        (lambda r: r["messages"][3].update(tool_call_id="call_9"), "tool result without its call: 'call_9'", 3),
        (lambda r: r["messages"][3].pop("tool_call_id"), "tool result without its call", 3),
        (lambda r: r["messages"][2].update(tool_calls=[{}]), "not a function call with id, name and arguments", 2),
        (lambda r: r["messages"][2].update(tool_calls=[call(call_id="")]), "not a function call with id", 2),
        (lambda r: r["messages"][2].update(tool_calls=[call("{")]), "arguments are not a JSON object", 2),
        (lambda r: r["messages"][2].update(tool_calls=[call("[]")]), "arguments are not a JSON object", 2),
        (lambda r: r["messages"][2].update(tool_calls=[call("{}")]), "arguments do not fit the tool", 2),
        (
            lambda r: r["messages"][2].update(tool_calls=[call('{"order_id":"1","x":2}')]),
            "arguments do not fit the tool: get_order_details: Additional properties are not allowed",
            2,
        ),
        (lambda r: r["tools"][0]["function"].update(name="get order"), "bad tool name: get order", None),
    ],
)
def test_a_broken_row_is_refused_with_its_turn_and_reason(
    change: Callable[[Row], object], reason: str, turn: int | None
) -> None:
    verdict = format_gate(changed(change), ToolShelf())
    assert not verdict.passed
    assert verdict.reason.startswith(reason)
    assert verdict.turn == turn


def test_a_call_id_used_twice_is_refused() -> None:
    row = a_row()
    row["messages"] += [{"role": "user", "content": "Again #W1234567"}, *row["messages"][2:5]]
    verdict = format_gate(row, ToolShelf())
    assert (verdict.reason, verdict.turn) == ("call id used twice: 'call_1'", 6)


def test_an_invented_argument_is_refused_with_turn_tool_and_value() -> None:
    row = changed(lambda r: r["messages"][2].update(tool_calls=[call('{"order_id":"#W7654321"}')]))
    verdict = provenance_gate(row, ToolShelf())
    assert verdict.reason == "invented argument: get_order_details order_id '#W7654321'"
    assert verdict.turn == 2
    assert kind_of(verdict) == "provenance: invented argument"


def test_what_comes_later_is_no_source() -> None:
    row = a_row()
    row["messages"][1]["content"] = "Where is my order?"
    row["messages"][3]["content"] = '{"order_id":"#W1234567"}'
    assert not provenance_gate(row, ToolShelf()).passed


def test_tools_are_compiled_again_when_they_change() -> None:
    shelf = ToolShelf()
    first = shelf.book([TOOL])
    assert shelf.book(copy.deepcopy([TOOL])) is first
    assert shelf.book([{**TOOL, "function": {**TOOL["function"], "name": "other"}}]).names == ("other",)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, part in inner for found in [(*path, key), *places(part, (*path, key))]]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_whatever_is_put_into_a_row_gets_a_verdict_and_a_passed_row_keeps_the_contract(data: st.DataObject) -> None:
    row = a_row()
    *parents, last = data.draw(st.sampled_from(places(row)))
    target: Any = row
    for key in parents:
        target = target[key]
    target[last] = data.draw(json_values)
    verdict = format_gate(row, ToolShelf())
    assert verdict.passed == (verdict.reason == "")
    if verdict.passed:
        provenance_gate(row, ToolShelf())
        assert row["parallel_tool_calls"] is False
        assert row["messages"][-1]["role"] == "assistant"
        for message in row["messages"]:
            assert ("tool_calls" in message) == (message["content"] is None)
            for made in message.get("tool_calls", ()):
                assert isinstance(json.loads(made["function"]["arguments"])["order_id"], str)
