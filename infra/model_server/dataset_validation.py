"""Reads a fine-tuning file line by line, and says which line is wrong and how."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from infra.model_server.errors import DatasetError
from infra.model_server.schemas import is_unicode

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class _Function(BaseModel):
    name: str
    arguments: str


class _Call(BaseModel):
    id: str
    type: Literal["function"]
    function: _Function


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    weight: Literal[1] | None = None


class _ToolFunction(BaseModel):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _Tool(BaseModel):
    type: Literal["function"]
    function: _ToolFunction


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    messages: list[_Message]
    tools: list[_Tool] | None = None
    parallel_tool_calls: bool | None = None


class _PreferenceInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    messages: list[_Message]
    tools: list[_Tool] | None = None
    parallel_tool_calls: bool | None = None


class _PreferenceRow(BaseModel):
    model_config = ConfigDict(extra="forbid")

    input: _PreferenceInput
    preferred_output: list[_Message]
    non_preferred_output: list[_Message]


def is_preference_file(path: Path) -> bool:
    """Tell whether a valid file holds pairs of answers rather than whole conversations."""
    return "input" in next(read_rows(path))


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file that was found valid when it was uploaded."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def count_rows(path: Path, *, max_line_bytes: int, max_rows: int) -> int:
    """Return the number of rows of a valid file.

    Raises:
        DatasetError: naming the first line that is not a training example.
    """
    count = 0
    kind: type[_Row | _PreferenceRow] | None = None
    with path.open("rb") as lines:
        number = 0
        # `readline` with a limit, so that one endless line cannot fill the memory.
        while line := lines.readline(max_line_bytes + 1):
            number += 1
            if len(line) > max_line_bytes:
                _fail(number, f"is longer than {max_line_bytes} bytes")
            if line.strip():
                kind = _check_line(number, line, kind)
                count += 1
            if count > max_rows:
                _fail(number, f"is more than the {max_rows} rows allowed")
    if not count:
        raise DatasetError("The file has no rows. A row is one JSON object with 'messages' on one line.")
    return count


def _check_line(number: int, line: bytes, kind: type[_Row | _PreferenceRow] | None) -> type[_Row | _PreferenceRow]:
    """Check a line, and return its kind; all lines of a file are of the kind of the first."""
    value = _parse_line(number, line)
    kind = kind or (_PreferenceRow if "input" in value else _Row)
    try:
        row = kind.model_validate(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = "a pair of answers" if kind is _PreferenceRow else "a chat example"
        _fail(number, f"is not {what}: {where}: {first['msg']}")
    if isinstance(row, _PreferenceRow):
        _check_pair(number, row)
    else:
        _check_messages(number, row.messages)
        if not any(message.role == "assistant" for message in row.messages):
            _fail(number, "has no assistant message to learn from")
    return kind


def _parse_line(number: int, line: bytes) -> dict[str, Any]:
    if line.startswith(BYTE_ORDER_MARK):
        _fail(number, "starts with a byte order mark; save the file as UTF-8 without one")
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        _fail(number, f"is not UTF-8 (byte {error.start})")
    except RecursionError:
        _fail(number, "is nested too deeply")
    except ValueError as error:
        _fail(number, f"is not JSON: {error}")
    if b"\\u" in line and not is_unicode(value):
        _fail(number, "holds half of a surrogate pair, which is no character")
    if not isinstance(value, dict):
        _fail(number, f"is a JSON {type(value).__name__}, not an object with 'messages'")
    return value


def _check_pair(number: int, row: _PreferenceRow) -> None:
    called = _check_messages(number, row.input.messages, "input.messages")
    if not row.input.messages or row.input.messages[-1].role == "assistant":
        _fail(number, "has an input that does not end before an assistant's turn")
    for name in ("preferred_output", "non_preferred_output"):
        messages: list[_Message] = getattr(row, name)
        if [message.role for message in messages] != ["assistant"]:
            _fail(number, f"has {len(messages)} messages in {name}, which is to hold one, the assistant's")
        _check_messages(number, messages, name, called)


def _check_messages(
    number: int, messages: list[_Message], path: str = "messages", called: set[str] | None = None
) -> set[str]:
    """Check messages that follow on calls already made; return the ids of all calls."""
    called = set(called or ())
    for i, message in enumerate(messages):
        where = f"{path}.{i}"
        if message.role == "assistant":
            _check_assistant(number, where, message)
            called.update(call.id for call in message.tool_calls or ())
        elif message.tool_calls is not None:
            _fail(number, f"has tool_calls in {where}, whose role is {message.role!r}; only an assistant calls")
        elif message.content is None:
            _fail(number, f"has no content in {where}")
        if message.role == "tool" and message.tool_call_id not in called:
            _fail(number, f"answers a tool call that was not made: {where}.tool_call_id {message.tool_call_id!r}")
    return called


def _check_assistant(number: int, where: str, message: _Message) -> None:
    if message.content is None and not message.tool_calls:
        _fail(number, f"has neither content nor tool_calls in {where}")
    for j, call in enumerate(message.tool_calls or ()):
        try:
            arguments = json.loads(call.function.arguments)
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            text = call.function.arguments[:80]
            _fail(number, f"has arguments that are no JSON object in {where}.tool_calls.{j}: {text!r}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _fail(number: int, what: str) -> NoReturn:
    raise DatasetError(f"Line {number} {what}.")
