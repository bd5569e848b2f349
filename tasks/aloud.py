"""Asks for an answer piece by piece, so that whoever waits hears the words as they come."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
from openai import APIConnectionError, AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tasks.ask import Request, Sending

Hear = Callable[[str], None]


def aloud(hear: Hear) -> Sending:
    """Return a way of sending that tells the words of the answer as they come.

    A server that does not stream answers in one piece, which is told when it is there.
    """

    async def send(client: AsyncOpenAI, request: Request) -> object:
        stream = await client.post(
            "/chat/completions",
            body={**request, "stream": True},
            cast_to=ChatCompletion,
            stream=True,
            stream_cls=AsyncStream[ChatCompletionChunk],
        )
        async with stream:
            if not stream.response.headers.get("content-type", "").startswith("text/event-stream"):
                return await _whole_body(stream.response)
            answer = _Growing(hear)
            async for chunk in stream:
                answer.add(chunk.model_dump(warnings=False))
            return answer.whole()

    return send


async def _whole_body(response: httpx2.Response) -> Any:
    try:
        return json.loads(await response.aread())
    except httpx2.HTTPError as error:
        raise APIConnectionError(request=response.request) from error


class _Growing:
    """An answer of which only the beginning is there."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._words: list[str] = []
        self._calls: dict[int, dict[str, str]] = {}
        self._reason: str | None = None
        self._began = False

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take a piece in; what it lacks is not missed, since not all servers send the same."""
        for choice in (chunk.get("choices") or ())[:1]:
            self._began = True
            delta = choice.get("delta") or {}
            if words := delta.get("content") or delta.get("refusal"):
                self._words.append(words)
                self._hear(words)
            for place, piece in enumerate(delta.get("tool_calls") or ()):
                self._add_call(piece, piece.get("index", place))
            self._reason = choice.get("finish_reason") or self._reason

    def _add_call(self, piece: Mapping[str, Any], index: int) -> None:
        call = self._calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
        function = piece.get("function") or {}
        call["id"] = piece.get("id") or call["id"]
        call["name"] += function.get("name") or ""
        call["arguments"] += function.get("arguments") or ""

    def whole(self) -> dict[str, Any]:
        """Return the body of the answer as if it had come in one piece."""
        calls = [
            {"id": call["id"], "function": {"name": call["name"], "arguments": call["arguments"]}}
            for _, call in sorted(self._calls.items())
        ]
        message = {"role": "assistant", "content": "".join(self._words) or None, "tool_calls": calls}
        return {"choices": [{"message": message, "finish_reason": self._reason}] if self._began else []}
