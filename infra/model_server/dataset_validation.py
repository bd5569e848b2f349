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
    with path.open("rb") as lines:
        number = 0
        # `readline` with a limit, so that one endless line cannot fill the memory.
        while line := lines.readline(max_line_bytes + 1):
            number += 1
            if len(line) > max_line_bytes:
                _fail(number, f"is longer than {max_line_bytes} bytes")
            if line.strip():
                _check_line(number, line)
                count += 1
            if count > max_rows:
                _fail(number, f"is more than the {max_rows} rows allowed")
    if not count:
        raise DatasetError("The file has no rows. A row is one JSON object with 'messages' on one line.")
    return count


def _check_line(number: int, line: bytes) -> None:
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
    try:
        row = _Row.model_validate(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        _fail(number, f"is not a chat example: {where}: {first['msg']}")
    _check_messages(number, row.messages)


def _check_messages(number: int, messages: list[_Message]) -> None:
    called: set[str] = set()
    for i, message in enumerate(messages):
        where = f"messages.{i}"
        if message.role == "assistant":
            _check_assistant(number, where, message)
            called.update(call.id for call in message.tool_calls or ())
        elif message.tool_calls is not None:
            _fail(number, f"has tool_calls in {where}, whose role is {message.role!r}; only an assistant calls")
        elif message.content is None:
            _fail(number, f"has no content in {where}")
        if message.role == "tool" and message.tool_call_id not in called:
            _fail(number, f"answers a tool call that was not made: {where}.tool_call_id {message.tool_call_id!r}")
    if not any(message.role == "assistant" for message in messages):
        _fail(number, "has no assistant message to learn from")


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
