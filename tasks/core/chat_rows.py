"""What is wrong with a row of anybody's chat fine-tuning data, in the OpenAI shape: where, what, and how to mend it.

Unlike the format gate, which holds our own rows to one strict form, this takes all that providers take: several calls
in a turn, text beside a call, content in parts, rows with and without tools. An error is what a provider refuses or
what would teach a model nonsense; a warning is what may be meant.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from tasks.core.tool_schema import ToolBook, read_arguments

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
ROW_KEYS = frozenset({"messages", "tools", "parallel_tool_calls", "functions", "response_format", "metadata"})
MESSAGE_KEYS = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "weight", "refusal", "function_call", "audio"}
)
# What most messages have: words, a call, a result.
_WORDS_KEYS = {"role", "content"}
_CALL_KEYS = {*_WORDS_KEYS, "tool_calls"}
_RESULT_KEYS = {*_WORDS_KEYS, "tool_call_id"}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PART_TYPES = frozenset({"text", "image_url", "input_audio", "file", "refusal"})
_NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}
_SHOWN = 80


class Problem(NamedTuple):
    """Something wrong in a row: a code for counting, the JSON path, what it is, and what to do about it."""

    code: str
    path: str
    message: str
    remedy: str
    severity: Literal["error", "warning"] = "error"


class ToolCache:
    """Checks and compiles the tools of a row once, as long as row after row has the same ones."""

    def __init__(self) -> None:
        """Start with nothing compiled."""
        self._tools: Any = None
        self._problems: tuple[Problem, ...] = ()
        self._book: ToolBook | None = None

    def read(self, tools: Any) -> tuple[ToolBook | None, tuple[Problem, ...]]:
        """Return the compiled tools, or None where they are broken or left out, and what is wrong with them."""
        if tools != self._tools or self._tools is None:
            self._problems = tuple(_tool_problems(tools))
            usable = tools is not None and not any(problem.severity == "error" for problem in self._problems)
            self._book = ToolBook([_whole(tool) for tool in tools]) if usable else None
        self._tools = tools  # also where they are equal: the same object is compared at once
        return self._book, self._problems


def row_problems(row: Any, cache: ToolCache) -> Iterator[Problem]:
    """Yield all that is wrong with one row, from its keys to its last message."""
    if not isinstance(row, dict):
        yield Problem("row-not-object", "$", f"the row is a JSON {_kind(row)}", "write one JSON object a line")
        return
    yield from _key_problems(row)
    book, problems = cache.read(row.get("tools"))
    yield from problems
    messages = row.get("messages")
    if not isinstance(messages, list):
        if "messages" in row:
            yield Problem("messages-not-list", "$.messages", f"messages is a JSON {_kind(messages)}", "make it a list")
    elif not messages:
        yield Problem("no-messages", "$.messages", "the conversation is empty", "remove the row")
    else:
        yield from _conversation_problems(messages, book)


def _key_problems(row: Mapping[str, Any]) -> Iterator[Problem]:
    if "messages" not in row:
        have = ", ".join(map(repr, list(row)[:6])) or "nothing"
        remedy = "put the conversation into 'messages' as objects with 'role' and 'content'"
        if row.keys() & {"preferred_output", "non_preferred_output"}:
            remedy = "this is a row for preference tuning; use it with method 'dpo'"
        yield Problem("messages-missing", "$", f"the row has no 'messages', but {have}", remedy)
    for key in row:
        if key not in ROW_KEYS and key != "messages":
            text = f"unknown key {key!r} in the row"
            yield Problem("unknown-row-key", f"$.{key}", text, "remove it; some providers refuse it", "warning")
    if "functions" in row:
        yield Problem("legacy-functions", "$.functions", "'functions' is outdated", "use 'tools'", "warning")
    parallel = row.get("parallel_tool_calls", False)
    if not isinstance(parallel, bool):
        text = f"parallel_tool_calls is a JSON {_kind(parallel)}"
        yield Problem("parallel-not-boolean", "$.parallel_tool_calls", text, "make it true or false")


def _tool_problems(tools: Any) -> Iterator[Problem]:
    if tools is None:
        return
    if not isinstance(tools, list):
        yield Problem("tools-not-list", "$.tools", f"tools is a JSON {_kind(tools)}", "make it a list of tools")
        return
    if not tools:
        yield Problem("tools-empty", "$.tools", "tools is an empty list", "leave 'tools' out, or list tools", "warning")
    names: set[str] = set()
    for place, tool in enumerate(tools):
        path = f"$.tools[{place}]"
        found = _one_tool_problem(tool, path, names)
        if found is not None:
            yield found
        else:
            names.add(tool["function"]["name"])


def _one_tool_problem(tool: Any, path: str, names: set[str]) -> Problem | None:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or tool.get("type") != "function":
        remedy = "write {'type': 'function', 'function': {'name': ..., 'parameters': ...}}"
        return Problem("tool-shape", path, "not a tool of type 'function' with a 'function'", remedy)
    name, path = function.get("name"), f"{path}.function"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        remedy = "use 1 to 64 letters, digits, '_' and '-'"
        return Problem("tool-name", f"{path}.name", f"{_cut(name)} is no name for a tool", remedy)
    if name in names:
        return Problem("tool-twice", f"{path}.name", f"a tool before it is named {name!r} too", "remove one of them")
    if not isinstance(function.get("description", ""), str):
        return Problem("tool-description", f"{path}.description", "the description is not text", "make it text")
    try:
        ToolBook([_whole(tool)])
    except ValueError as error:
        text = str(error).partition(" has parameters that are ")[2] or str(error)
        return Problem("tool-parameters", f"{path}.parameters", text, "write a JSON schema of type 'object'")
    return None


def _whole(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tool with the parameters that may be left out."""
    function = tool["function"]
    parameters = function.get("parameters")
    return {
        "type": "function",
        "function": {**function, "parameters": _NO_ARGUMENTS if parameters is None else parameters},
    }


def _conversation_problems(messages: Sequence[Any], book: ToolBook | None) -> Iterator[Problem]:
    thread = _Thread(book)
    for turn, message in enumerate(messages):
        path = f"$.messages[{turn}]"
        shape = [] if _is_surely_fine(message) else list(_shape_problems(message, path))
        yield from shape
        if not any(problem.severity == "error" for problem in shape):
            yield from thread.take(message, path, turn)
    yield from thread.end(len(messages))


def _is_surely_fine(message: Any) -> bool:
    """Whether a message by itself is well-formed beyond doubt; `_shape_problems` still judges what fails here."""
    if not isinstance(message, dict):
        return False
    keys, role, content = message.keys(), message.get("role"), message.get("content")
    if role == "tool":
        return keys == _RESULT_KEYS and isinstance(content, str) and _is_word(message["tool_call_id"])
    if role == "assistant" and content is None:
        return keys == _CALL_KEYS and bool(message["tool_calls"])
    if keys != _WORDS_KEYS or role not in ("system", "user", "assistant"):
        return False
    return isinstance(content, str) and bool(content) and not content.isspace()


def _shape_problems(message: Any, path: str) -> Iterator[Problem]:
    """Yield what is wrong with a message by itself."""
    if not isinstance(message, dict):
        remedy = "write an object with 'role' and 'content'"
        yield Problem("message-not-object", path, f"the message is a JSON {_kind(message)}", remedy)
        return
    role = message.get("role")
    if role not in ROLES or not isinstance(role, str):
        what = "no 'role'" if "role" not in message else f"the unknown role {_cut(role)}"
        yield Problem("role", f"{path}.role", f"the message has {what}", f"use one of {', '.join(ROLES)}")
        return
    for key in () if message.keys() <= MESSAGE_KEYS else message.keys() - MESSAGE_KEYS:
        yield Problem("unknown-message-key", f"{path}.{key}", f"unknown key {key!r}", "remove it", "warning")
    yield from _content_problems(message, role, path)
    weight = message.get("weight")
    if weight is not None and (isinstance(weight, bool | float) or weight not in (0, 1)):
        yield Problem("weight", f"{path}.weight", f"the weight is {_cut(weight)}", "use 0 or 1")
    if role == "tool" and not _is_word(message.get("tool_call_id")):
        text = "the tool result names no call"
        yield Problem("tool-call-id-missing", f"{path}.tool_call_id", text, "set it to the id of the call it answers")
    if role != "assistant" and message.get("tool_calls") is not None:
        text = f"a {role} message makes calls"
        yield Problem("calls-by-other-role", f"{path}.tool_calls", text, "only an assistant message may call tools")


def _content_problems(message: Mapping[str, Any], role: str, path: str) -> Iterator[Problem]:
    content, path = message.get("content"), f"{path}.content"
    if content is None:
        acts = message.get("tool_calls") or message.get("function_call") or message.get("refusal")
        if role == "assistant" and not acts:
            yield Problem("says-nothing", path, "the message has neither content nor calls", "give it one of the two")
        elif role != "assistant":
            yield Problem("content-missing", path, f"the {role} message has no content", "give it content, '' at least")
    elif isinstance(content, list):
        for place, part in enumerate(content):
            yield from _part_problems(part, f"{path}[{place}]")
    elif not isinstance(content, str):
        remedy = "make it text; of a result that is an object, its JSON text"
        yield Problem("content-type", path, f"the content is a JSON {_kind(content)}", remedy)
    elif not content.strip() and role in {"system", "developer", "user"}:
        yield Problem("content-empty", path, f"the {role} message is empty", "write it or remove it", "warning")


def _part_problems(part: Any, path: str) -> Iterator[Problem]:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in _PART_TYPES:
        yield Problem(
            "content-part", path, "not a part of content of a known type", "write {'type': 'text', 'text': ...}"
        )
    elif kind == "text" and not isinstance(part.get("text"), str):
        yield Problem("content-part", f"{path}.text", "the part has no text", "write {'type': 'text', 'text': ...}")


class _Thread:
    """The conversation as it goes on: which calls wait for their results, and who spoke last."""

    def __init__(self, book: ToolBook | None) -> None:
        self._book = book
        self._waiting: dict[str, str] = {}  # call id -> path
        self._ids: set[str] = set()
        self._last = ""
        self._learns = False

    def take(self, message: Mapping[str, Any], path: str, turn: int) -> Iterator[Problem]:
        role = message["role"]
        if role == "tool":
            if self._waiting.pop(message["tool_call_id"], None) is None:
                yield self._unasked(message["tool_call_id"], f"{path}.tool_call_id")
        elif self._waiting:
            yield from self._unanswered()
        if role in {"system", "developer"} and turn and self._last not in {"system", "developer"}:
            text = f"a {role} message after the conversation began"
            yield Problem("system-late", path, text, "put it first", "warning")
        if role == self._last and role in {"user", "assistant"}:
            yield Problem("same-role-twice", path, f"two {role} messages in a row", "join them", "warning")
        if role == "assistant":
            self._learns |= message.get("weight") != 0
            calls = message.get("tool_calls")
            if calls is not None:
                yield from self._call_all(calls, f"{path}.tool_calls")
        self._last = role

    def end(self, count: int) -> Iterator[Problem]:
        if not self._learns:
            remedy = "add one, or give one the weight 1"
            yield Problem("nothing-to-learn", "$.messages", "there is no assistant message to learn from", remedy)
        elif self._last != "assistant":
            text = f"the conversation ends with a {self._last} message" if self._last else "the last message is broken"
            yield Problem("last-not-assistant", f"$.messages[{count - 1}]", text, "end it with the assistant's answer")

    def _unasked(self, call_id: str, path: str) -> Problem:
        if call_id in self._ids:
            text = f"call {call_id!r} is answered already, or too late"
            return Problem("answered-twice", path, text, "one result right after its call")
        text = f"no call before it has the id {_cut(call_id)}"
        return Problem("result-without-call", path, text, "use the id of the call, or remove the result")

    def _unanswered(self) -> Iterator[Problem]:
        for call_id, path in self._waiting.items():
            text = f"call {call_id!r} has no result before the next message"
            yield Problem("call-without-result", path, text, "add its 'tool' message right after the call")
        self._waiting.clear()

    def _call_all(self, calls: Any, path: str) -> Iterator[Problem]:
        if not isinstance(calls, list) or not calls:
            yield Problem("calls-empty", path, "tool_calls holds no call", "leave it out, or list the calls")
            return
        for place, call in enumerate(calls):
            where = f"{path}[{place}]"
            problem = _call_problem(call, where)
            if problem is not None:
                yield problem
                continue
            if call["id"] in self._ids:
                text = f"the id {call['id']!r} was used by a call before"
                yield Problem("call-id-twice", f"{where}.id", text, "give every call of a row its own id")
            self._ids.add(call["id"])
            self._waiting[call["id"]] = where
            yield from self._arguments(call["function"], f"{where}.function")

    def _arguments(self, function: Mapping[str, Any], path: str) -> Iterator[Problem]:
        try:
            arguments = read_arguments(function["arguments"])
        except ValueError as error:
            text = f"the arguments are not a JSON object: {error}: {_cut(function['arguments'])}"
            yield Problem(
                "arguments-json", f"{path}.arguments", text, "write the arguments as the text of a JSON object"
            )
            return
        if self._book is None:
            return
        if function["name"] not in self._book.names:
            text = f"{_cut(function['name'])} is none of the row's tools"
            yield Problem("unknown-tool", f"{path}.name", text, f"call one of: {', '.join(self._book.names[:8])}")
        elif fault := self._book.fault(function["name"], arguments):
            extra = "Additional properties" in fault
            remedy = "remove the argument, or add it to the tool" if extra else "make them fit the tool's parameters"
            yield Problem("arguments-schema", f"{path}.arguments", fault, remedy, "warning" if extra else "error")


def _call_problem(call: Any, path: str) -> Problem | None:
    """Return what is wrong with the shape of a call, or None."""
    if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
        remedy = "write {'id': ..., 'type': 'function', 'function': {'name': ..., 'arguments': ...}}"
        return Problem("call-shape", path, "not a call with a 'function'", remedy)
    if not _is_word(call.get("id")):
        return Problem("call-id-missing", f"{path}.id", "the call has no id", "give it one; its result names it")
    if call.get("type") != "function":
        return Problem("call-type", f"{path}.type", f"the type is {_cut(call.get('type'))}", "make it 'function'")
    name, arguments = call["function"].get("name"), call["function"].get("arguments")
    if not _is_word(name):
        return Problem("call-name", f"{path}.function.name", "the call names no tool", "name the tool")
    if not isinstance(arguments, str):
        text = f"the arguments are a JSON {_kind(arguments)}, not text"
        remedy = 'write them as the text of a JSON object: "{\\"id\\": 1}"'
        return Problem("arguments-not-text", f"{path}.function.arguments", text, remedy)
    return None


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def _cut(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
