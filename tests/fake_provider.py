"""A provider on 127.0.0.1 that speaks chat.completions over real HTTP, with faults on demand.

    with FakeProvider(lambda request: call("get_user_details", {"user_id": "u1"})) as provider:
        client = AsyncOpenAI(base_url=provider.base_url, api_key="test")

The script is a function from the request's body to a `Reply`; it sees how often a body was sent by `provider.requests`.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

Request = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the provider sends back: an assistant message, or a fault."""

    message: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str = "stop"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    delay_s: float = 0.0
    reset: bool = False

    def after(self, seconds: float) -> "Reply":
        """Return the same reply, sent so many seconds late."""
        return replace(self, delay_s=seconds)


def say(text: str) -> Reply:
    """Return an answer in text."""
    return Reply(message={"role": "assistant", "content": text})


def call(name: str, arguments: dict[str, Any] | str, *more: tuple[str, dict[str, Any] | str]) -> Reply:
    """Return an answer of one tool call, or of several; text arguments are sent as they are, malformed or not."""
    calls = [
        {"id": f"call_{index}", "type": "function", "function": {"name": tool, "arguments": written}}
        for index, (tool, written) in enumerate(
            (tool, given if isinstance(given, str) else json.dumps(given)) for tool, given in [(name, arguments), *more]
        )
    ]
    return Reply(message={"role": "assistant", "content": None, "tool_calls": calls}, finish_reason="tool_calls")


def fault(status: int, message: str = "injected", code: str | None = None, retry_after: float | None = None) -> Reply:
    """Return an error in the provider's shape."""
    body = json.dumps({"error": {"message": message, "type": "injected", "param": None, "code": code}}).encode()
    headers = {} if retry_after is None else {"retry-after-ms": str(int(1000 * retry_after))}
    return Reply(status=status, body=body, headers=headers)


def reset() -> Reply:
    """Return a connection that is reset after the request was read."""
    return Reply(reset=True)


def garbage(content_type: str = "application/json") -> Reply:
    """Return a successful answer whose body is not JSON."""
    return Reply(body=b'{"choices": [', content_type=content_type)


class FakeProvider:
    """The server. `requests` holds every body it read, in order of arrival; `most_in_flight` the peak concurrency."""

    def __init__(self, script: Callable[[Request], Reply], *, port: int = 0, wait_for: int = 1) -> None:
        """Answer by `script`; the first replies wait until `wait_for` requests are in flight at once."""
        self.requests: list[Request] = []
        self.most_in_flight = 0
        self.base_url = ""
        self._script = script
        self._port = port
        self._in_flight = 0
        self._wait_for = wait_for
        self._full = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self.serve(),), daemon=True)

    def __enter__(self) -> "FakeProvider":
        self._thread.start()
        if not self._ready.wait(timeout=10):
            raise RuntimeError("The fake provider did not start within 10 s.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=10)
        self._loop.close()

    async def serve(self) -> None:
        """Serve until stopped."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.CancelledError):  # the end of the server; asyncio would print it
                await self._connection(reader, writer)

        server = await asyncio.start_server(connected, "127.0.0.1", self._port, backlog=256)
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._ready.set()
        await self._stop.wait()
        server.close()
        # All of them: a connection that is just being accepted is a task too, and would stay open.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # A transport that was closed lets its socket go in the next round.

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                self._in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self._in_flight)
                if self._in_flight >= self._wait_for:
                    self._full.set()
                try:
                    reply = self._script(request)
                    await self._full.wait()
                    await asyncio.sleep(reply.delay_s)
                finally:
                    self._in_flight -= 1
                if reply.reset:
                    writer.transport.abort()
                    return
                writer.write(_response(reply, request))
                await writer.drain()
        except ConnectionError:  # a client that timed out hangs up in the middle
            return
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    body: Request = json.loads(await reader.readexactly(length) or b"{}")
    return body


def _response(reply: Reply, request: Request) -> bytes:
    body = reply.body
    if body is None:
        completion = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": request.get("model"),
            "choices": [{"index": 0, "message": reply.message, "finish_reason": reply.finish_reason}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }
        body = json.dumps(completion).encode()
    headers = {"content-type": reply.content_type, "content-length": str(len(body)), **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} Scripted", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body
