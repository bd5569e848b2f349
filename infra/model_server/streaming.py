"""A chat completion as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from infra.model_server.chat import Chat, Reply
from infra.model_server.errors import ApiError
from infra.model_server.generation import Finished, Generation
from infra.model_server.middleware import error_body

MARKS = "<[{"
"""What a tool call may begin with: text is held back from the first of these on until the answer is whole."""

Item = list[int] | Reply | ApiError


class ChatStream:
    """The chunks of one chat request."""

    def __init__(self, chat: Chat) -> None:
        """Stream the answer of a chat that was not started yet."""
        self._chat = chat
        self._queue: asyncio.Queue[tuple[int, Item]] = asyncio.Queue()
        self._sent = [""] * (chat.request.n or 1)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the chat.

        Raises:
            ApiError: if the request cannot be answered; nothing was streamed then.
        """
        loop = asyncio.get_running_loop()

        def on_token(index: int, tokens: list[int]) -> None:
            loop.call_soon_threadsafe(self._queue.put_nowait, (index, tokens))

        await self._chat.start(on_token)
        self._tasks = [asyncio.create_task(self._announce(i, g)) for i, g in enumerate(self._chat.generations)]

    async def events(self) -> AsyncIterator[str]:
        """Yield the events; an error on the way is an event too."""
        try:
            async for chunk in self._chunks():
                yield _event(chunk)
            yield "data: [DONE]\n\n"
        except ApiError as error:
            yield _event(error_body(error))
        finally:
            self._chat.cancel()

    async def _announce(self, index: int, generation: Generation) -> None:
        try:
            self._queue.put_nowait((index, await self._chat.reply(generation)))
        except ApiError as error:
            self._queue.put_nowait((index, error))

    async def _chunks(self) -> AsyncIterator[dict[str, Any]]:
        for index in range(len(self._tasks)):
            yield self._chunk(index, {"role": "assistant", "content": "", "refusal": None})
        finished: list[Finished] = []
        while len(finished) < len(self._tasks):
            index, item = await self._queue.get()
            if isinstance(item, ApiError):
                raise item
            text = item.message["content"] or "" if isinstance(item, Reply) else self._safe_text(item)
            if new := self._unsent(index, text):
                yield self._chunk(index, {"content": new})
            if isinstance(item, Reply):
                for delta in _call_deltas(item.message):
                    yield self._chunk(index, delta)
                yield self._chunk(index, {}, item.reason)
                finished.append(item.finished)
        if self._wants_usage():
            yield {**self._chat.head("chat.completion.chunk"), "choices": [], "usage": self._chat.usage(finished)}

    def _unsent(self, index: int, text: str) -> str:
        sent = self._sent[index]
        if not text.startswith(sent):
            return ""
        self._sent[index] = text
        return text[len(sent) :]

    def _safe_text(self, tokens: list[int]) -> str:
        """Return the part of an unfinished answer that is text whatever comes next."""
        message = self._chat.message(tokens)
        text = "" if message.get("tool_calls") else message.get("content") or ""
        stop = self._chat.stop_at(text)
        held = max((len(stop) - 1 for stop in self._chat.stops()), default=0)
        ends = [len(text) - held if stop is None else stop]
        ends += [at for mark in MARKS if (at := text.find(mark)) >= 0]
        # A character of several tokens shows as U+FFFD until its last token is there.
        return text[: max(min(ends), 0)].rstrip("\ufffd").rstrip()

    def _chunk(self, index: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"usage": None} if self._wants_usage() else {}
        return {**self._chat.head("chat.completion.chunk"), "choices": [choice], **usage}

    def _wants_usage(self) -> bool:
        options = self._chat.request.stream_options
        return options is not None and options.include_usage


def _call_deltas(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    deltas = []
    for i, call in enumerate(message.get("tool_calls") or ()):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        head = {"index": i, "id": call["id"], "type": "function", "function": {"name": name, "arguments": ""}}
        deltas.append({"tool_calls": [head]})
        deltas.append({"tool_calls": [{"index": i, "function": {"arguments": arguments}}]})
    return deltas


def _event(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"
