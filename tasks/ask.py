"""Asks a model one thing and says what came of it; every answer is kept on disk, so that none is paid for twice."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import httpx2
import openai
from openai import AsyncOpenAI

from tasks.core.config import EvaluationConfig
from tasks.core.conversation import ToolCall
from tasks.core.errors import DataError, ProviderError
from tasks.core.evaluation import Answer, ErrorKind
from tasks.core.record import sha256_of
from tasks.files import parse_json_lines
from tasks.provider_errors import NO_QUOTA

Request = dict[str, Any]
# Sends a request and returns the body of the completion that came, of whatever shape.
Sending = Callable[[AsyncOpenAI, Request], Awaitable[object]]

# Nothing that is asked later could fare better: no such model, no right to it, no money left.
_HOPELESS_STATUS = frozenset({401, 402, 403, 404})
_BUSY = 429
_PASSING_STATUS = frozenset({408, 409})
_ERROR_BY_CODE: dict[str, ErrorKind] = {"content_filter": "filtered", "context_length_exceeded": "context"}


def request_for(
    model: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], config: EvaluationConfig
) -> Request:
    """Return the body of a chat completion, sampled without chance; the tools go as the training rows have them."""
    request: Request = {
        "model": model,
        "messages": list(messages),
        "temperature": 0,
        "seed": config.seed,
        "max_completion_tokens": config.max_completion_tokens,
    }
    if tools:
        request |= {"tools": list(tools), "parallel_tool_calls": False}
    return request


class Attempt(NamedTuple):
    """An answer; and, where there is none, whether the same request may have one later, and after what pause."""

    answer: Answer
    may_pass: bool = False
    retry_after_s: float = 0.0


async def ask(client: AsyncOpenAI, request: Request, timeout_s: float) -> Answer:
    """Send one request, with the client's own retries, and return the answer or the reason why there is none.

    Raises:
        ProviderError: The provider will not answer this model at all: unknown model, wrong key, no quota.
    """
    return (await attempt(client, request, timeout_s)).answer


async def in_one_piece(client: AsyncOpenAI, request: Request) -> object:
    """Send a request and return the answer once it is whole."""
    # Not chat.completions.create: that walks every message and tool against its types, 8 ms of CPU a request
    # with the shop's tools, and sends the same bytes. Nor ChatCompletion: a model may answer in any shape.
    response = await client.post("/chat/completions", body=request, cast_to=httpx2.Response)
    return response.json()


async def attempt(client: AsyncOpenAI, request: Request, timeout_s: float, send: Sending = in_one_piece) -> Attempt:
    """Do as `ask` does, and say whether it may be worth while to ask again.

    Raises:
        ProviderError: The provider will not answer this model at all: unknown model, wrong key, no quota.
    """
    started = time.monotonic()
    try:
        async with asyncio.timeout(timeout_s):
            body = await send(client, request)
    except (TimeoutError, openai.APITimeoutError):
        return Attempt(_failed("timeout", f"no answer within {timeout_s:g} s", started))
    except openai.APIConnectionError as error:
        return Attempt(_failed("unreachable", f"{error} ({error.__cause__!r})", started), may_pass=True)
    except openai.APIStatusError as error:
        return _refused(client, request, error, started)
    except (openai.APIError, ValueError) as error:  # ValueError: the body is not JSON
        return Attempt(_failed("provider", f"broken answer: {error}", started))
    return Attempt(_read(body, time.monotonic() - started))


def _refused(client: AsyncOpenAI, request: Request, error: openai.APIStatusError, started: float) -> Attempt:
    status = error.status_code
    if status in _HOPELESS_STATUS or error.code in NO_QUOTA:
        raise ProviderError(
            f"The provider at {client.base_url} refuses model {request['model']!r}: {error.message}"
        ) from error
    kind: ErrorKind = "busy" if status == _BUSY else _ERROR_BY_CODE.get(error.code or "", "provider")
    may_pass = status == _BUSY or status in _PASSING_STATUS or status >= 500
    return Attempt(_failed(kind, error.message, started), may_pass, _retry_after(error.response.headers))


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the pause that a provider asks for, in seconds; 0.0 where it names none."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        written = headers.get(name, "")
        try:
            return max(0.0, float(written) * unit)
        except ValueError:
            continue
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time())
    except ValueError:
        return 0.0


def _failed(kind: ErrorKind, message: str, started: float) -> Answer:
    return Answer(error=kind, error_message=message, latency_s=time.monotonic() - started)


def _read(body: object, latency_s: float) -> Answer:
    """Read an answer of any shape: nobody has checked what the provider sent."""
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(body, dict) or not isinstance(choice, dict) or not isinstance(message, dict):
        text = "broken answer: no message in it"
        return Answer(error="provider", error_message=text, latency_s=latency_s)
    if choice.get("finish_reason") == "content_filter":
        return Answer(error="filtered", error_message="the provider filtered the answer", latency_s=latency_s)
    if isinstance(message.get("refusal"), str) and not message.get("content") and not message.get("tool_calls"):
        return Answer(error="filtered", error_message=_text(message["refusal"]), latency_s=latency_s)
    usage = body.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    content, calls = message.get("content"), message.get("tool_calls") or []
    return Answer(
        content=_text(content) if isinstance(content, str) else None,
        # What is no list of calls is no answer in words either: one call, of nothing.
        tool_calls=tuple(_read_call(call) for call in (calls if isinstance(calls, list) else [calls])),
        finish_reason=_text(choice.get("finish_reason")) or None,
        latency_s=latency_s,
        prompt_tokens=_count(counts.get("prompt_tokens")),
        completion_tokens=_count(counts.get("completion_tokens")),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _read_call(call: Any) -> ToolCall:
    wire = call if isinstance(call, dict) else {}
    function = wire.get("function")
    named = function if isinstance(function, dict) else {}
    arguments = named.get("arguments")
    return ToolCall(
        id=_text(wire.get("id")),
        name=_text(named.get("name")),
        arguments=_text(arguments) if isinstance(arguments, str | None) else json.dumps(arguments),
    )


def _text(value: Any) -> str:
    """Return text that can be written as UTF-8: a model may emit half of a surrogate pair."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


class AnswerCache:
    """Answers on disk, one JSON line each, by the digest of address and request. Failures are not kept.

    A line is written at once, so a crash loses only the answers still under way; a torn last line is dropped.
    """

    def __init__(self, path: Path) -> None:
        """Name the file; it is read, and opened for appending, on entering the context."""
        self._path = path
        self._answers: dict[str, Answer] = {}
        self._handle: int | None = None

    def __enter__(self) -> "AnswerCache":
        """Open the file, and its folder where it is missing.

        Raises:
            DataError: The file cannot be opened, or a line within it is broken.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            content = self._path.read_bytes() if self._path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):
                os.truncate(self._path, len(whole))
            self._handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise DataError(f"Cannot open the answers in {str(self._path)!r}: {error.strerror or error}.") from error
        for number, line in parse_json_lines(whole, self._path):
            try:
                self._answers[line["key"]] = Answer.model_validate(line["answer"])
            except (KeyError, ValueError) as error:
                raise DataError(
                    f"{self._path}, line {number} is not a kept answer; delete the file to ask again."
                ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    @staticmethod
    def key(client: AsyncOpenAI, request: Request) -> str:
        """Return the key of a request to this client's provider: model, item and sampling are all in the request."""
        return sha256_of([str(client.base_url), request])

    def get(self, key: str) -> Answer | None:
        """Return the kept answer, or None."""
        return self._answers.get(key)

    def kept(self) -> Iterable[Answer]:
        """Return every answer that was ever paid for."""
        return self._answers.values()

    def keep(self, key: str, answer: Answer) -> None:
        """Keep an answer; one that failed is not kept, since asking again may succeed and costs nothing twice.

        Raises:
            DataError: The line cannot be written, as on a full disk.
        """
        if answer.error is not None:
            return
        if self._handle is None:
            raise DataError(f"The answers in {str(self._path)!r} are not open.")
        self._answers[key] = answer
        line = json.dumps({"key": key, "answer": answer.model_dump(mode="json")}).encode() + b"\n"
        try:
            written = os.write(self._handle, line)
        except OSError as error:
            raise DataError(f"Cannot keep an answer in {str(self._path)!r}: {error.strerror or error}.") from error
        if written < len(line):
            raise DataError(f"Cannot keep an answer in {str(self._path)!r}: the disk is full.")
