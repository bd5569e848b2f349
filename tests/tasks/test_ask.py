"""An answer of any shape is read as an answer, or as the reason why there is none; it never ends an evaluation."""

import asyncio
from typing import Any

import httpx2
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI

from tasks.ask import attempt
from tasks.core.evaluation import Answer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FUNCTION = st.fixed_dictionaries({}, optional={"name": JSON, "arguments": JSON})
CALL = JSON | st.fixed_dictionaries({}, optional={"id": JSON, "function": JSON | FUNCTION})
MESSAGE = st.fixed_dictionaries(
    {}, optional={"content": JSON, "refusal": JSON, "tool_calls": JSON | st.lists(CALL, max_size=3)}
)
CHOICE = JSON | st.fixed_dictionaries({"message": JSON | MESSAGE}, optional={"finish_reason": JSON})
USAGE = JSON | st.fixed_dictionaries({}, optional={"prompt_tokens": JSON, "completion_tokens": JSON})
BODY = JSON | st.fixed_dictionaries({"choices": JSON | st.lists(CHOICE, max_size=2)}, optional={"usage": USAGE})


@settings(deadline=None, max_examples=150)
@given(BODY)
def test_any_json_is_read(body: Any) -> None:
    async def send(client: AsyncOpenAI, request: dict[str, Any]) -> object:
        return body

    async def asked() -> Answer:
        async with httpx2.AsyncClient() as http, AsyncOpenAI(api_key="x", base_url="http://x", http_client=http) as one:
            return (await attempt(one, {"model": "m"}, 5.0, send)).answer

    answer = asyncio.run(asked())
    assert Answer.model_validate_json(answer.model_dump_json()) == answer
    assert answer.prompt_tokens >= 0


def test_calls_that_are_no_list_are_not_taken_for_words() -> None:
    async def send(client: AsyncOpenAI, request: dict[str, Any]) -> object:
        return {"choices": [{"message": {"content": "Done.", "tool_calls": 5}}], "usage": {"prompt_tokens": "many"}}

    async def asked() -> Answer:
        async with AsyncOpenAI(api_key="x", base_url="http://x") as client:
            return (await attempt(client, {"model": "m"}, 5.0, send)).answer

    answer = asyncio.run(asked())
    assert answer.error is None
    assert [call.name for call in answer.tool_calls] == [""]
    assert answer.prompt_tokens == 0
