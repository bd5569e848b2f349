"""Answers that come piece by piece, as providers really send them, are the same as in one piece."""

import json
from typing import Any

import pytest
from openai import AsyncOpenAI

from tasks.aloud import aloud
from tasks.ask import Attempt, attempt
from tests.fake_provider import FakeProvider, Reply, call, fault, say

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pieces(*deltas: dict[str, Any], reason: str = "stop", end: str = "data: [DONE]\n\n") -> Reply:
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}, {"choices": [], "usage": None}]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + end
    return Reply(body=body.encode(), content_type="text/event-stream")


async def asked(reply: Reply) -> tuple[Attempt, list[str]]:
    heard: list[str] = []
    with FakeProvider(lambda request: reply) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            request = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
            answer = await attempt(client, request, 20, aloud(heard.append))
        assert provider.requests[0]["stream"] is True
    return answer, heard


async def test_words_are_heard_as_they_come() -> None:
    given, heard = await asked(
        pieces({"role": "assistant", "content": ""}, {"content": "Hello "}, {"content": "Noah."})
    )
    assert heard == ["Hello ", "Noah."]
    assert (given.answer.content, given.answer.finish_reason, given.answer.error) == ("Hello Noah.", "stop", None)


async def test_calls_are_put_together_from_their_pieces() -> None:
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "get_user_details", "arguments": ""}}
    second = {"index": 1, "id": "call_2", "function": {"name": "calculate", "arguments": '{"expression": "1"}'}}
    given, heard = await asked(
        pieces(
            {"tool_calls": [first]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"user_'}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": 'id": "u1"}'}}, second]},
            reason="tool_calls",
        )
    )
    assert heard == []
    assert [(made.id, made.name, made.arguments) for made in given.answer.tool_calls] == [
        ("call_1", "get_user_details", '{"user_id": "u1"}'),
        ("call_2", "calculate", '{"expression": "1"}'),
    ]


@pytest.mark.parametrize("reply", [say("In one piece."), call("calculate", {"expression": "1"})])
async def test_a_server_that_does_not_stream_is_understood(reply: Reply) -> None:
    given, _ = await asked(reply)
    assert given.answer.error is None
    assert given.answer.content == reply.message["content"]
    assert [made.name for made in given.answer.tool_calls] == [
        made["function"]["name"] for made in reply.message.get("tool_calls", ())
    ]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (fault(500), "provider"),
        (Reply(body=b'data: {"error": {"message": "overloaded"}}\n\n', content_type="text/event-stream"), "provider"),
        (Reply(body=b"data: [DONE]\n\n", content_type="text/event-stream"), "provider"),
        (Reply(body=b'{"choices": [', content_type="application/json"), "provider"),
        (pieces({"content": "Hi"}).after(60), "timeout"),
    ],
)
async def test_what_is_no_answer_is_told(reply: Reply, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    with FakeProvider(lambda request: reply) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            given = await attempt(client, {"model": "m", "messages": []}, 0.5, aloud(heard.append))
    assert given.answer.error == kind
