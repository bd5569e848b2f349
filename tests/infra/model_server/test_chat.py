"""Chat completions and models, through the openai client."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from openai.types.fine_tuning import FineTuningJob

from infra.model_server.settings import Settings
from tests.infra.model_server import live, tiny

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Please find k3."}]
TOOLS: Any = tiny.TOOLS


def tuned(job: FineTuningJob) -> str:
    assert job.fine_tuned_model is not None
    return job.fine_tuned_model


def test_an_answer_counts_its_tokens_and_names_its_model(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="tiny", messages=ASK, max_completion_tokens=5, temperature=0)
    assert (answer.object, answer.model, len(answer.choices)) == ("chat.completion", "tiny", 1)
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5
    assert answer.system_fingerprint


@pytest.mark.parametrize("model", ["tiny", "tiny-conv"])
def test_many_requests_at_once_get_the_answers_of_one_at_a_time(port: int, model: str) -> None:
    prompts = [f"Please find k{i}{' again' * (i % 9)}." for i in range(64)]

    async def ask(client: AsyncOpenAI, prompt: str) -> str | None:
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": prompt}]
        answer = await client.chat.completions.create(
            model=model, messages=messages, temperature=0, max_completion_tokens=6 + len(prompt) % 5
        )
        return answer.choices[0].message.content

    async def alone_and_together() -> tuple[list[str | None], list[str | None]]:
        async with AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x", max_retries=0) as client:
            together = await asyncio.gather(*(ask(client, prompt) for prompt in prompts))
            return [await ask(client, prompt) for prompt in prompts[:12]], together

    alone, together = asyncio.run(alone_and_together())
    assert together[:12] == alone


def test_a_seed_repeats_a_sampled_answer(client: OpenAI) -> None:
    def text(seed: int) -> str | None:
        answer = client.chat.completions.create(model="tiny", messages=ASK, temperature=1, seed=seed, max_tokens=12)
        return answer.choices[0].message.content

    assert text(3) == text(3)
    assert len({text(seed) for seed in range(4)}) > 1


def test_several_choices_share_one_prompt(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="tiny", messages=ASK, n=3, seed=1, max_tokens=8)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 24


def test_a_repeated_prompt_is_not_read_again(client: OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "a prompt of this test only " * 8}]
    first = client.chat.completions.create(model="tiny", messages=messages, max_tokens=2, temperature=0)
    again = client.chat.completions.create(model="tiny", messages=messages, max_tokens=2, temperature=0)
    assert again.usage is not None
    assert again.usage.prompt_tokens_details is not None
    assert again.usage.prompt_tokens_details.cached_tokens == again.usage.prompt_tokens
    assert again.choices[0].message.content == first.choices[0].message.content


def test_a_stream_adds_up_to_the_answer(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="tiny", messages=ASK, seed=5, max_tokens=30)
    chunks = list(client.chat.completions.create(model="tiny", messages=ASK, seed=5, max_tokens=30, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert all(chunk.usage is None for chunk in chunks)


def test_a_streamed_call_is_whole_and_usage_comes_last(client: OpenAI, trained: FineTuningJob) -> None:
    with client.chat.completions.stream(
        model=tuned(trained), messages=ASK, tools=TOOLS, temperature=0, stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    whole = client.chat.completions.create(model=tuned(trained), messages=ASK, tools=TOOLS, temperature=0)
    assert final.choices[0].finish_reason == "tool_calls"
    streamed, plain = final.choices[0].message.tool_calls, whole.choices[0].message.tool_calls
    assert streamed is not None
    assert plain is not None
    assert plain[0].type == "function"
    assert streamed[0].function.arguments == plain[0].function.arguments
    assert final.usage is not None
    assert final.usage.completion_tokens > 0


def test_a_conversation_with_results_goes_on(client: OpenAI, trained: FineTuningJob) -> None:
    messages = tiny.conversation(3)["messages"][:3]
    answer = client.chat.completions.create(model=tuned(trained), messages=messages, tools=TOOLS, temperature=0)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.tool_calls is None
    assert "value" in (answer.choices[0].message.content or "")


def test_a_call_can_be_demanded_and_forbidden(client: OpenAI, trained: FineTuningJob) -> None:
    named = {"type": "function", "function": {"name": "look_up"}}
    for choice in ("required", named):
        answer = client.chat.completions.create(
            model="tiny", messages=ASK, tools=TOOLS, tool_choice=choice, temperature=0, max_tokens=8,  # type: ignore[call-overload]
        )  # fmt: skip
        assert len(answer.choices[0].message.tool_calls) == 1
    assert answer.choices[0].message.tool_calls[0].function.name == "look_up"
    with_tools = client.chat.completions.create(model="tiny", messages=ASK, tools=TOOLS, max_tokens=1)
    without = client.chat.completions.create(model="tiny", messages=ASK, tools=TOOLS, tool_choice="none", max_tokens=1)
    assert without.usage is not None
    assert with_tools.usage is not None
    assert without.usage.prompt_tokens < with_tools.usage.prompt_tokens


def test_an_answer_ends_before_a_stop_text(client: OpenAI, trained: FineTuningJob) -> None:
    messages = tiny.conversation(3)["messages"][:3]
    model = tuned(trained)
    text = client.chat.completions.create(model=model, messages=messages, temperature=0).choices[0].message.content
    assert text is not None
    stop = text[4:7]
    answer = client.chat.completions.create(model=model, messages=messages, temperature=0, stop=[stop, "never"])
    assert answer.choices[0].message.content == text[: text.index(stop)]
    assert answer.choices[0].finish_reason == "stop"
    chunks = client.chat.completions.create(model=model, messages=messages, temperature=0, stop=stop, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text[: text.index(stop)]


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"model": "gpt-9"}, 404, "model_not_found", "model"),
        ({"messages": []}, 400, None, "messages"),
        ({"messages": [{"role": "user", "content": "long " * 600}]}, 400, "context_length_exceeded", "messages"),
        ({"messages": [{"role": "robot", "content": "a"}]}, 400, None, "messages[0].role"),
        ({"temperature": 3}, 400, None, "temperature"),
        ({"tool_choice": "required"}, 400, None, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, 400, None, "tool_choice"),
        ({"n": 17}, 400, None, "n"),
        ({"logprobs": True}, 400, None, "logprobs"),
        ({"extra_body": {"temprature": 0}}, 400, None, "temprature"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_answered_is_refused(
    client: OpenAI, change: dict[str, Any], status: int, code: str | None, param: str, stream: bool
) -> None:
    asked: dict[str, Any] = {"model": "tiny", "messages": ASK, "stream": stream, **change}
    with pytest.raises(openai.APIStatusError) as refusal:
        client.chat.completions.create(**asked)
    assert (refusal.value.status_code, refusal.value.code, refusal.value.param) == (status, code, param)
    assert refusal.value.request_id
    assert refusal.value.request_id.startswith("req_")


def test_models_are_listed_and_base_models_stay(client: OpenAI) -> None:
    assert {"tiny", "tiny-conv"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("tiny").object == "model"
    with pytest.raises(openai.BadRequestError, match="base model"):
        client.models.delete("tiny")
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("ft:none")
    assert missing.value.code == "model_not_found"


def test_a_full_queue_asks_to_come_back(tmp_path: Path, models_dir: Path) -> None:
    with (
        live.serving(Settings(data=tmp_path, models=models_dir, max_waiting=2)) as port,
        live.client_of(port) as client,
    ):
        with pytest.raises(openai.RateLimitError) as refusal:
            client.chat.completions.create(model="tiny", messages=ASK, n=3)
        assert refusal.value.code == "rate_limit_exceeded"
        assert refusal.value.response.headers["retry-after"] == "1"
        assert client.chat.completions.create(model="tiny", messages=ASK, n=2, max_tokens=1).choices


@pytest.mark.parametrize("stream", [False, True])
def test_who_goes_away_makes_room_for_others(tmp_path: Path, stream: bool) -> None:
    tiny.build(tmp_path / "models" / "endless", window=1_000_000)
    settings = Settings(data=tmp_path / "data", models=tmp_path / "models", max_waiting=1)
    with live.serving(settings) as port, live.client_of(port) as client:

        def ask(**asked: Any) -> bool:
            try:
                return bool(client.chat.completions.create(model="endless", messages=ASK, temperature=0, **asked))
            except openai.RateLimitError:
                return False

        ask(max_tokens=1)  # loads the model
        if stream:
            with client.chat.completions.create(model="endless", messages=ASK, temperature=0, stream=True) as events:
                next(events)
                assert not ask(max_tokens=1)
        else:
            with pytest.raises(openai.APITimeoutError):
                ask(timeout=1)
        live.wait_until(lambda: ask(max_tokens=1), "room for another request")


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    broken = tiny.build(tmp_path / "models" / "broken")
    (broken / "model.safetensors").write_bytes(b"not weights")
    settings = Settings(data=tmp_path / "data", models=tmp_path / "models")
    with live.serving(settings) as port, live.client_of(port) as client:
        with pytest.raises(openai.InternalServerError, match="'broken' cannot be loaded") as error:
            client.chat.completions.create(model="broken", messages=ASK)
        assert error.value.code == "model_failed"


def test_a_key_is_asked_for_where_one_is_set(tmp_path: Path, models_dir: Path) -> None:
    with live.serving(Settings(data=tmp_path, models=models_dir, api_key="sk-right")) as port:
        with live.client_of(port, "sk-right") as client:
            assert client.models.list().data
        with live.client_of(port, "sk-wrong") as client, pytest.raises(openai.AuthenticationError) as refusal:
            client.models.list()
        assert (refusal.value.code, refusal.value.status_code) == ("invalid_api_key", 401)
        address = f"http://127.0.0.1:{port}"
        assert httpx2.get(f"{address}/v1/models").status_code == 401
        assert httpx2.get(f"{address}/healthz").json() == {"status": "ok"}


def test_errors_of_the_protocol_have_the_same_shape(port: int) -> None:
    address = f"http://127.0.0.1:{port}/v1"
    broken = httpx2.post(f"{address}/chat/completions", content=b"{", headers={"content-type": "application/json"})
    unknown = httpx2.get(f"{address}/poems")
    method = httpx2.put(f"{address}/models")
    assert [answer.status_code for answer in (broken, unknown, method)] == [400, 404, 405]
    for answer in (broken, unknown, method):
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_the_openapi_document_names_every_path(port: int) -> None:
    document = json.loads(httpx2.get(f"http://127.0.0.1:{port}/openapi.json").content)
    assert {"/v1/files", "/v1/fine_tuning/jobs", "/v1/models", "/v1/chat/completions"} <= set(document["paths"])
