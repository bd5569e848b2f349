"""One decision seen close: what was right and what models did, argument by argument, and where each value came from."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tasks.core import grader
from tasks.core.conversation import Message, ToolCall
from tasks.core.evaluation import EvalItem, ItemMeta, Score
from tasks.core.outcomes import outcome_of
from tasks.core.provenance import Origin, Sources, text_of, trace_arguments

# A model may make a thousand calls, with thousands of arguments each: a reader has seen enough before.
_CALLS, _ARGUMENTS, _CHARS, _VALUE_CHARS = 4, 30, 1000, 200
# The end of a long history is what the next move follows from.
_TURNS = 30

Json = Mapping[str, Any]


class Turn(NamedTuple):
    """A message as it is shown; `number` counts the messages from 1, without the system prompt."""

    number: int
    who: str
    text: str


class Argument(NamedTuple):
    """A value of a call and, in words, where it comes from; `differs` from the right call's value at this path."""

    path: str
    value: str
    origin: str
    invented: bool
    differs: bool


class Call(NamedTuple):
    """A call; `unread` are arguments that are no JSON object, `missing` the paths that only the right call has."""

    tool: str
    differs: bool
    arguments: tuple[Argument, ...]
    missing: tuple[str, ...] = ()
    unread: str = ""


class Move(NamedTuple):
    """What was right, or what a model did; `more` calls are not shown."""

    who: str
    outcome: str
    calls: tuple[Call, ...]
    text: str
    more: int = 0


class CloseUp(NamedTuple):
    """A decision with the end of its history, the right move and those of the models."""

    item_id: str
    tool: str
    history: tuple[Turn, ...]
    moves: tuple[Move, ...]


def close_up(item: EvalItem, meta: ItemMeta, scores: Mapping[str, Score]) -> CloseUp:
    """Return a decision with what each model, by arm, did with it."""
    messages, tools = item.item["messages"], item.item.get("tools") or []
    expected = item.item["expected_output"]
    right = Message.from_openai(expected)
    tracer = _Tracer(messages, tools, right.tool_calls)
    calls, more = tracer.calls(right.tool_calls)
    moves = [Move("right", "", calls, _cut(text_of(expected.get("content")) or ""), more)]
    for arm, score in scores.items():
        calls, more = tracer.calls(score.made)
        # Without calls the answer is words; of older scores it is also the calls, as text.
        text = "" if calls else score.answer or score.explanation
        moves.append(Move(arm, outcome_of(score), calls, _cut(text), more))
    return CloseUp(meta.item_id, meta.tool or "", tuple(turns_of(messages))[-_TURNS:], tuple(moves))


def turns_of(messages: Sequence[Json]) -> Iterator[Turn]:
    """Yield the messages (OpenAI shape) as they are shown, without the system prompt; long ones are cut."""
    number = 0
    for message in messages:
        if message["role"] == "system":
            continue
        number += 1
        if text := text_of(message.get("content")):
            yield Turn(number, message["role"], _cut(text))
        for call in message.get("tool_calls") or ():
            yield Turn(number, "call", _cut(f"{call['function']['name']}({call['function']['arguments']})"))


class _Tracer:
    """Lays calls beside the right ones of a decision and follows their values back."""

    def __init__(self, messages: Sequence[Json], tools: Sequence[Json], right: Sequence[ToolCall]) -> None:
        self._sources = Sources.of(messages, tools)
        self._right = [grader.read_call(_wire(call)) for call in right]
        self._numbers: dict[int, int] = {}
        self._tools: dict[int, str] = {}
        made = {call["id"]: call["function"]["name"] for m in messages for call in m.get("tool_calls") or ()}
        for turn, message in enumerate(messages):
            if message["role"] != "system":
                self._numbers[turn] = len(self._numbers) + 1
            if message["role"] == "tool":
                self._tools[turn] = str(made.get(message.get("tool_call_id"), "a tool"))

    def calls(self, calls: Sequence[ToolCall]) -> tuple[tuple[Call, ...], int]:
        """Return calls as they are shown, each beside the right call of its tool, and how many are left out."""
        left = list(self._right)
        shown = []
        for call in calls[:_CALLS]:
            place = next((place for place, (name, _) in enumerate(left) if name == call.name), None)
            shown.append(self._call(call, None if place is None else left.pop(place)[1]))
        return tuple(shown), max(0, len(calls) - _CALLS)

    def _call(self, call: ToolCall, right: Any) -> Call:
        wanted = right if isinstance(right, dict) else {}
        arguments = grader.read_arguments(call.arguments)
        try:
            traced = list(trace_arguments(arguments or {}, self._sources))
            expected = {one.path: one.value for one in trace_arguments(wanted, self._sources)}
        except RecursionError:  # brackets within brackets, as deep as the model liked
            arguments = None
        if arguments is None:
            return Call(call.name, right is None, (), tuple(wanted), _cut(call.arguments))
        shown = tuple(
            Argument(
                one.path,
                _cut(json.dumps(one.value, ensure_ascii=False), _VALUE_CHARS),
                self._source(one.origin),
                one.origin.kind == "invented",
                right is not None and not (one.path in expected and grader.same_value(expected[one.path], one.value)),
            )
            for one in traced[:_ARGUMENTS]
        )
        made = {one.path for one in traced}
        return Call(call.name, right is None, shown, tuple(path for path in expected if path not in made))

    def _source(self, origin: Origin) -> str:
        number = self._numbers.get(origin.turn) if origin.turn is not None else None
        place = "" if number is None else f", message {number}"
        if origin.kind == "derived":
            return f"derived: {origin.how}{place}"
        if origin.kind == "user":
            return f"customer{place}"
        if origin.kind == "tool" and origin.turn is not None:
            return f"{self._tools.get(origin.turn, 'a tool')}{place}"
        return {"policy": "the policy", "schema": "the tool's schema"}.get(origin.kind, "nobody gave it")


def _wire(call: ToolCall) -> dict[str, Any]:
    return {"function": {"name": call.name, "arguments": call.arguments}}


def _cut(text: str, most: int = _CHARS) -> str:
    return text if len(text) <= most else f"{text[:most]} ... ({len(text) - most:,} more characters)"
