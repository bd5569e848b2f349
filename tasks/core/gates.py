"""The gates that need no shop: is a row well-formed, led by the policy, founded on what was said, and not too long.

All are pure functions over a row in the OpenAI shape: `messages`, `tools` and `parallel_tool_calls`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.core.conversation import Fault, GateVerdict
from tasks.core.policy import Procedure, breaches
from tasks.core.provenance import Sources, unsourced
from tasks.core.record import canonical_json
from tasks.core.tokens import estimate_all, estimate_tokens
from tasks.core.tool_schema import ToolBook, read_arguments

ROW_KEYS = {"messages", "tools", "parallel_tool_calls"}
_KEYS = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls"},
    "tool": {"role", "content", "tool_call_id"},
}
# Which roles may come next; "call" is an assistant turn that calls a tool.
_NEXT = {
    "": {"system", "user"},
    "system": {"user"},
    "user": {"assistant", "call"},
    "assistant": {"user"},
    "call": {"tool"},
    "tool": {"assistant", "call"},
}
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

Row = Mapping[str, Any]


class ToolShelf:
    """Compiles the tools of a row once, as long as row after row has the same ones."""

    def __init__(self) -> None:
        """Start with no tools compiled."""
        self._tools: Any = None
        self._book: ToolBook | None = None
        self._tokens = 0
        self.bad_names: list[str] = []  # of the tools on it

    def book(self, tools: Sequence[Mapping[str, Any]]) -> ToolBook:
        """Return the compiled tools, or raise ValueError that says what is wrong with them."""
        if self._book is None or tools != self._tools:
            self._book = ToolBook(tools)
            self.bad_names = [name for name in self._book.names if not _TOOL_NAME.fullmatch(name)]
            self._tokens = estimate_tokens(canonical_json(tools))
        self._tools = tools  # also where they are equal: the same object is compared at once
        return self._book

    def tokens(self, tools: Sequence[Mapping[str, Any]]) -> int:
        """Return about how many tokens the tools are."""
        self.book(tools)
        return self._tokens


def format_gate(row: Row, shelf: ToolShelf) -> GateVerdict:
    """Say whether a row is what a provider takes: keys, roles in order, paired calls, arguments that fit the schema."""
    return _verdict("format", _first(_row_faults(row, shelf)))


def provenance_gate(row: Row, shelf: ToolShelf) -> GateVerdict:
    """Say whether every argument value of a well-formed row, and every id in its replies, comes from somewhere."""
    return _verdict("provenance", _first(_invented(row, shelf)))


def policy_gate(row: Row, procedure: Procedure, customer_id: str | None = None) -> GateVerdict:
    """Say whether a well-formed row was led as the policy asks."""
    return _verdict("policy", _first(breaches(row["messages"], procedure, customer_id)))


def length_gate(row: Row, shelf: ToolShelf, most_tokens: int) -> GateVerdict:
    """Say whether a well-formed row is short enough to be learned whole; its tokens are estimated, tools included."""
    fixed, texts = shelf.tokens(row["tools"]), list(_texts(row))
    # A token is one character at least, so most rows need no counting.
    if fixed + sum(map(len, texts)) <= most_tokens:
        return _verdict("length", None)
    tokens = fixed + estimate_all(texts)
    fault = Fault("too long", f"about {tokens:,} tokens, more than {most_tokens:,}") if tokens > most_tokens else None
    return _verdict("length", fault)


def _texts(row: Row) -> Iterator[str]:
    for message in row["messages"]:
        yield message["content"] or ""
        for call in message.get("tool_calls") or ():
            yield call["function"]["name"]
            yield call["function"]["arguments"]


def kind_of(verdict: GateVerdict) -> str:
    """Return what kind of fault a verdict names, for counting: its reason without the detail."""
    return f"{verdict.gate}: {verdict.reason.partition(': ')[0]}"


def _verdict(gate: str, fault: Fault | None) -> GateVerdict:
    if fault is None:
        return GateVerdict(gate=gate, passed=True)
    reason = f"{fault.kind}: {fault.detail}" if fault.detail else fault.kind
    return GateVerdict(gate=gate, passed=False, reason=reason, turn=fault.turn)


def _first(faults: Iterator[Fault]) -> Fault | None:
    return next(faults, None)


def _row_faults(row: Row, shelf: ToolShelf) -> Iterator[Fault]:
    if set(row) != ROW_KEYS:
        yield Fault("wrong keys", f"a row has exactly {', '.join(sorted(ROW_KEYS))}, not {', '.join(sorted(row))}")
        return
    if row["parallel_tool_calls"] is not False:
        yield Fault("parallel_tool_calls must be false", repr(row["parallel_tool_calls"]))
    messages, tools = row["messages"], row["tools"]
    if not isinstance(messages, list) or not isinstance(tools, list) or not tools:
        yield Fault("messages must be a list and tools a list that is not empty")
        return
    try:
        book = shelf.book(tools)
    except ValueError as error:
        yield Fault("broken tools", str(error))
        return
    yield from (Fault("bad tool name", name) for name in shelf.bad_names)
    yield from _message_faults(messages, book)


def _message_faults(messages: Sequence[Any], book: ToolBook) -> Iterator[Fault]:
    before, call_ids = "", list[str]()
    for turn, message in enumerate(messages):
        fault = _shape_fault(message)
        if fault is not None:
            yield fault._replace(turn=turn)
            return
        now = "call" if message.get("tool_calls") else message["role"]
        if now not in _NEXT[before]:
            yield Fault("roles out of order", f"{now} after {before or 'the start'}", turn)
        if now == "call":
            yield from _call_faults(message["tool_calls"], book, call_ids, turn)
        elif now == "tool" and message["tool_call_id"] not in call_ids[-1:]:
            yield Fault("tool result without its call", repr(message["tool_call_id"]), turn)
        before = now
    if before not in {"assistant", "call"}:
        yield Fault("the last turn must be the assistant's", f"it is {before or 'missing'}", len(messages) - 1)


def _shape_fault(message: Any) -> Fault | None:
    """Return what is wrong with one message by itself."""
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(role, str) or role not in _KEYS:
        return Fault("not a message with a known role")
    content = message.get("content")
    if not message.keys() <= _KEYS[role]:
        return Fault("unknown keys in a message", f"{role} has {', '.join(sorted(message.keys() - _KEYS[role]))}")
    if role == "assistant":
        return _assistant_fault(message)
    if not isinstance(content, str) or (role != "tool" and not content.strip()):
        return Fault("message without text", role)
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        return Fault("tool result without its call", "tool_call_id is missing")
    return None


def _assistant_fault(message: Mapping[str, Any]) -> Fault | None:
    content, calls = message.get("content"), message.get("tool_calls")
    if "tool_calls" not in message:
        return None if isinstance(content, str) and content.strip() else Fault("message without text", "assistant")
    if not isinstance(calls, list) or not calls:
        return Fault("tool_calls must be left out or hold a call")
    if content is not None:
        return Fault("text beside a tool call", "content must be null there")
    return Fault("more than one call in a turn", str(len(calls))) if len(calls) > 1 else None


def _call_faults(calls: Sequence[Any], book: ToolBook, call_ids: list[str], turn: int) -> Iterator[Fault]:
    for call in calls:
        if not _is_call(call):
            yield Fault("not a function call with id, name and arguments", turn=turn)
            return
        if call["id"] in call_ids:
            yield Fault("call id used twice", repr(call["id"]), turn)
        call_ids.append(call["id"])
        try:
            arguments = read_arguments(call["function"]["arguments"])
        except ValueError as error:
            yield Fault("arguments are not a JSON object", str(error), turn)
            return
        if fault := book.fault(call["function"]["name"], arguments):
            yield Fault("arguments do not fit the tool", fault, turn)


def _is_call(call: Any) -> bool:
    if not isinstance(call, dict) or set(call) != {"id", "type", "function"} or call["type"] != "function":
        return False
    function = call["function"]
    if not isinstance(function, dict) or set(function) != {"name", "arguments"}:
        return False
    return bool(call["id"]) and all(isinstance(text, str) for text in (call["id"], *function.values()))


def _invented(row: Row, shelf: ToolShelf) -> Iterator[Fault]:
    sources = Sources(shelf.book(row["tools"]))
    for turn, message in enumerate(row["messages"]):
        for call in message.get("tool_calls") or ():
            name, text = call["function"]["name"], call["function"]["arguments"]
            yield from (
                Fault("invented argument", f"{name} {found}", turn)
                for found in unsourced(read_arguments(text), sources)
            )
        if message["role"] == "assistant" and message["content"]:
            yield from (
                Fault("invented in a reply", repr(found), turn) for found in sources.unfounded(message["content"])
            )
        sources.add(message)
