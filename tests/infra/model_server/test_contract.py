"""The contract of an OpenAI-shaped fine-tuning provider, through the openai clients only; see contract.py."""

import csv
import io
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.infra.model_server import tiny
from tests.infra.model_server.contract import (
    Api,
    Async,
    Provider,
    Sync,
    api_of,
    check,
    needs,
    provider_from_environment,
)

ASK = [{"role": "user", "content": "Please find k3."}]
DEADLINE = 6 * 3600.0


@pytest.fixture(scope="session")
def provider(request: pytest.FixtureRequest) -> Provider:
    named = provider_from_environment()
    if named is not None:
        return named
    port: int = request.getfixturevalue("port")
    return Provider(f"http://127.0.0.1:{port}/v1", "unused", "tiny", frozenset())


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def api(request: pytest.FixtureRequest, provider: Provider) -> Iterator[Api]:
    with api_of(request.param, provider) as api:
        yield api


@pytest.fixture(scope="session")
def tuned_job(request: pytest.FixtureRequest, provider: Provider) -> str:
    """The id of a job that has succeeded."""
    needs(provider, "training")
    if provider_from_environment() is None:
        job_id: str = request.getfixturevalue("trained").id
        return job_id
    with api_of(Sync, provider) as api:
        file_id = upload(api, tiny.jsonl(48))
        job = api.do(
            lambda c: c.fine_tuning.jobs.create(
                model=provider.model, training_file=file_id, suffix="contract", metadata={"contract": file_id},
                method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
            )
        )  # fmt: skip
        end = time.monotonic() + DEADLINE
        while (job := api.do(lambda c: c.fine_tuning.jobs.retrieve(job.id))).finished_at is None:
            assert time.monotonic() < end, f"job {job.id} has not ended"
            time.sleep(30)
        assert job.status == "succeeded", job.error
        return str(job.id)


def upload(api: Api, content: bytes, purpose: str = "fine-tune") -> str:
    file = api.do(lambda c: c.files.create(file=("contract.jsonl", content), purpose=purpose))
    file_id: str = file.id
    if provider_from_environment() is not None:
        api.do(lambda c: c.files.wait_for_processing(file_id))
    return file_id


def test_files_come_back_page_by_page_and_go(api: Api) -> None:
    contents = {upload(api, tiny.jsonl(3, first)): tiny.jsonl(3, first) for first in (10, 20, 30)}
    for file_id, content in contents.items():
        file = api.do(lambda c, i=file_id: c.files.retrieve(i))
        assert (file.id, file.bytes, file.purpose) == (file_id, len(content), "fine-tune")
        assert api.do(lambda c, i=file_id: c.files.content(i)).content == content
    listed = [file.id for file in api.all(lambda c: c.files.list(purpose="fine-tune", limit=2))]
    assert len(set(listed)) == len(listed)
    assert [file_id for file_id in listed if file_id in contents] == list(contents)[::-1]
    for file_id in contents:
        assert api.do(lambda c, i=file_id: c.files.delete(i)).deleted
        with pytest.raises(openai.NotFoundError):
            api.do(lambda c, i=file_id: c.files.retrieve(i))


def test_a_broken_file_cannot_be_trained_on(api: Api, provider: Provider) -> None:
    file_id = upload(api, tiny.jsonl(2) + b'{"messages": "none"}\n')
    with pytest.raises(openai.BadRequestError) as refusal:
        api.do(lambda c: c.fine_tuning.jobs.create(model=provider.model, training_file=file_id))
    assert refusal.value.param in ("training_file", None)
    assert refusal.value.request_id


def test_a_job_tells_what_it_did(api: Api, tuned_job: str) -> None:
    job = api.do(lambda c: c.fine_tuning.jobs.retrieve(tuned_job))
    assert (job.status, job.error, job.method.type) == ("succeeded", None, "supervised")
    assert job.fine_tuned_model
    assert job.trained_tokens > 0
    [key, value] = next(iter(job.metadata.items()))
    found = api.all(lambda c: c.fine_tuning.jobs.list(metadata={key: value}, limit=1))
    assert tuned_job in [job.id for job in found]
    events = api.all(lambda c: c.fine_tuning.jobs.list_events(tuned_job, limit=10))
    assert len({event.id for event in events}) == len(events) > 0
    assert [event.created_at for event in events] == sorted((e.created_at for e in events), reverse=True)
    table = api.do(lambda c: c.files.content(job.result_files[0])).text
    losses = [float(row["train_loss"]) for row in csv.DictReader(io.StringIO(table))]
    assert losses[-1] < losses[0]


def test_checkpoints_are_models(api: Api, provider: Provider, tuned_job: str) -> None:
    needs(provider, "checkpoints")
    checkpoints = api.all(lambda c: c.fine_tuning.jobs.checkpoints.list(tuned_job, limit=1))
    steps = [checkpoint.step_number for checkpoint in checkpoints]
    assert steps == sorted(set(steps), reverse=True)
    model = checkpoints[-1].fine_tuned_model_checkpoint
    answer = api.do(lambda c: c.chat.completions.create(model=model, messages=ASK, max_completion_tokens=4))
    assert answer.choices


def test_a_job_is_paused_resumed_and_cancelled(api: Api, provider: Provider) -> None:
    needs(provider, "training", "pause")
    file_id = upload(api, tiny.jsonl(12))
    job_id = api.do(lambda c: c.fine_tuning.jobs.create(model=provider.model, training_file=file_id)).id
    assert api.do(lambda c: c.fine_tuning.jobs.pause(job_id)).status == "paused"
    assert api.do(lambda c: c.fine_tuning.jobs.retrieve(job_id)).status == "paused"
    assert api.do(lambda c: c.fine_tuning.jobs.resume(job_id)).status in ("queued", "running")
    assert api.do(lambda c: c.fine_tuning.jobs.cancel(job_id)).status == "cancelled"
    assert api.do(lambda c: c.fine_tuning.jobs.retrieve(job_id)).finished_at is not None


def test_a_preference_job_says_its_method_and_wants_pairs(api: Api, provider: Provider) -> None:
    needs(provider, "training", "dpo")
    method: Any = {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": 1}}}
    chats, pairs = upload(api, tiny.jsonl(12)), upload(api, tiny.preference_jsonl(12))
    jobs = [("supervised", pairs, None), ("dpo", chats, method)]
    for _, file_id, wrong in jobs:
        more = {} if wrong is None else {"method": wrong}
        with pytest.raises(openai.BadRequestError):
            api.do(lambda c, f=file_id, m=more: c.fine_tuning.jobs.create(model=provider.model, training_file=f, **m))
    job = api.do(lambda c: c.fine_tuning.jobs.create(model=provider.model, training_file=pairs, method=method))
    api.do(lambda c: c.fine_tuning.jobs.cancel(job.id))
    assert job.method.type == "dpo"
    assert job.method.dpo.hyperparameters.beta == 0.2


def test_tuned_models_are_listed_and_call_tools(api: Api, tuned_job: str) -> None:
    model = api.do(lambda c: c.fine_tuning.jobs.retrieve(tuned_job)).fine_tuned_model
    assert model in [one.id for one in api.all(lambda c: c.models.list())]
    assert api.do(lambda c: c.models.retrieve(model)).id == model
    asked: dict[str, Any] = {"model": model, "tools": tiny.TOOLS, "temperature": 0, "seed": 1}
    answer = api.do(lambda c: c.chat.completions.create(messages=ASK, **asked))
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert call.function.name == "look_up"
    messages = [*ASK, choice.message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "value 2"}]
    answer = api.do(lambda c: c.chat.completions.create(messages=messages, **asked))
    assert answer.choices[0].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_is_the_answer_in_pieces_with_usage_at_its_end(api: Api, provider: Provider) -> None:
    asked: dict[str, Any] = {"model": provider.model, "messages": ASK, "seed": 4, "max_completion_tokens": 20}
    chunks = api.all(
        lambda c: c.chat.completions.create(stream=True, stream_options={"include_usage": True}, n=2, **asked)
    )
    for chunk in chunks:
        check(ChatCompletionChunk, chunk.to_dict(mode="json"))
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1}
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert len(reasons) == 2


def test_errors_name_what_is_wrong(api: Api, provider: Provider) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        api.do(lambda c: c.chat.completions.create(model="no-such-model", messages=ASK))
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        api.do(lambda c: c.chat.completions.create(model=provider.model, messages=ASK, temperature=9))
    assert wrong.value.param == "temperature"
    for error in (missing.value, wrong.value):
        assert error.type == "invalid_request_error"
        assert error.request_id
    with pytest.raises(openai.NotFoundError):
        api.do(lambda c: c.fine_tuning.jobs.retrieve("ftjob-none"))
