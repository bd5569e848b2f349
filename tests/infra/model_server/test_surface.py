"""The raw answers are exactly what the client's typed models say, and no body brings the server down."""

import json
from collections.abc import Iterable
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import BaseModel, OpenAI
from openai.types import FileDeleted, FileObject, Model, ModelDeleted
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from tests.infra.model_server import tiny


def check(kind: type[BaseModel], raw: object) -> None:
    """Fail unless a raw object is of this kind, strictly and without a field more."""
    parsed = kind.model_validate_json(json.dumps(raw), strict=True)
    extras = [(part, part.model_extra) for part in parts_of(parsed) if part.model_extra]
    assert extras == []


def parts_of(value: object) -> Iterable[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from parts_of(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            yield from parts_of(item)


@pytest.fixture(scope="module")
def http(port: int) -> Iterable[httpx2.Client]:
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=120) as http:
        yield http


def test_files_are_exact(client: OpenAI, http: httpx2.Client) -> None:
    for content, purpose in ((tiny.jsonl(1), "fine-tune"), (b"{", "fine-tune"), (b"text", "user_data")):
        made = http.post("/files", files={"file": ("a.jsonl", content)}, data={"purpose": purpose}).json()
        check(FileObject, made)
        check(FileObject, http.get(f"/files/{made['id']}").json())
        check(FileDeleted, http.delete(f"/files/{made['id']}").json())
    page = http.get("/files").json()
    assert set(page) == {"object", "data", "has_more", "first_id", "last_id"}


def test_jobs_events_and_checkpoints_are_exact(http: httpx2.Client, trained: FineTuningJob) -> None:
    path = f"/fine_tuning/jobs/{trained.id}"
    check(FineTuningJob, http.get(path).json())
    for kind, name in ((FineTuningJobEvent, "events"), (FineTuningJobCheckpoint, "checkpoints")):
        page = http.get(f"{path}/{name}", params={"limit": 50}).json()
        assert page["object"] == "list"
        for item in page["data"]:
            check(kind, item)
    waiting = http.post("/fine_tuning/jobs", json={"model": "tiny", "training_file": trained.training_file}).json()
    check(FineTuningJob, waiting)
    check(FineTuningJob, http.post(f"/fine_tuning/jobs/{waiting['id']}/cancel").json())


def test_models_are_exact(http: httpx2.Client, trained: FineTuningJob) -> None:
    for item in http.get("/models").json()["data"]:
        check(Model, item)
    name = f"{trained.fine_tuned_model}".replace("::", ":") + ":ckpt-step-12"
    check(ModelDeleted, http.delete(f"/models/{name}").json())
    assert http.get(f"/models/{name}").status_code == 404


def test_completions_and_chunks_are_exact(http: httpx2.Client, trained: FineTuningJob) -> None:
    body = {
        "model": trained.fine_tuned_model,
        "messages": [{"role": "user", "content": "Please find k3."}],
        "tools": tiny.TOOLS,
        "temperature": 0,
    }
    check(ChatCompletion, http.post("/chat/completions", json=body).json())
    check(ChatCompletion, http.post("/chat/completions", json={**body, "tool_choice": "none", "n": 2}).json())
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    lines = [line for line in http.post("/chat/completions", json=streamed).text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        check(ChatCompletionChunk, json.loads(line.removeprefix("data: ")))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CALL = st.fixed_dictionaries(
    {"id": st.text(max_size=4), "type": st.just("function")},
    optional={
        "function": st.fixed_dictionaries({"name": st.text(max_size=4), "arguments": st.text(max_size=9)}) | JSON
    },
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"])},
    optional={"content": st.text(max_size=20) | JSON, "tool_calls": st.lists(CALL, max_size=2), "tool_call_id": JSON},
)
CHAT = st.fixed_dictionaries(
    {"model": st.just("tiny") | st.text(max_size=5), "messages": st.lists(MESSAGE, max_size=4) | JSON},
    optional={
        "tools": st.just(tiny.TOOLS) | JSON,
        "tool_choice": st.sampled_from(["none", "auto", "required"]) | JSON,
        "temperature": st.sampled_from([0, 1, 2]) | JSON,
        "top_p": st.floats(0.1, 1) | JSON,
        "seed": JSON,
        "n": st.integers(1, 2) | JSON,
        "stop": st.text(max_size=2) | JSON,
        "stream": st.booleans(),
        "stream_options": JSON,
        "parallel_tool_calls": JSON,
        "response_format": JSON,
        "logit_bias": JSON,
        "metadata": JSON,
    },
)
JOB = st.fixed_dictionaries(
    {},
    optional={
        "model": st.just("tiny") | JSON,
        "training_file": st.just("file-none") | JSON,
        "suffix": JSON,
        "seed": JSON,
        "metadata": JSON,
        "method": JSON,
        "hyperparameters": JSON,
    },
)
FUZZ = settings(deadline=None, max_examples=60)


@FUZZ
@given(body=CHAT | JSON)
def test_no_chat_body_is_a_server_error(http: httpx2.Client, body: Any) -> None:
    if isinstance(body, dict):
        body = {**body, "max_completion_tokens": 2}
    answer = http.post("/chat/completions", json=body)
    assert answer.status_code in (200, 400, 404), answer.text
    assert answer.status_code != 200 or '"error"' not in answer.text
    assert answer.status_code == 200 or set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "body",
    [
        r'{"model": "tiny", "messages": [{"role": "user", "content": "\ud800"}], "max_tokens": 1}',
        r'{"model": "tiny", "messages": [{"role": "user", "content": "\u0000"}], "max_tokens": 1}',
        r'{"model": "\ud800", "messages": [{"role": "user", "content": "a"}]}',
        '{"model": "tiny", "messages": [{"role": "user", "content": "a"}], "temperature": NaN, "max_tokens": 1}',
        '{"model": "tiny", "messages": [{"role": "user", "content": "a"}], "temperature": 1e999, "max_tokens": 1}',
        "[" * 50_000,
        '{"a":' * 50_000,
        "1" * 10_000,
    ],
)
def test_odd_json_is_no_server_error(http: httpx2.Client, body: str) -> None:
    answer = http.post("/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400), answer.text


@FUZZ
@given(body=JOB | JSON)
def test_no_job_body_is_a_server_error(http: httpx2.Client, body: Any) -> None:
    assert http.post("/fine_tuning/jobs", json=body).status_code in (400, 404)


@FUZZ
@given(content=st.binary(max_size=200), filename=st.text(max_size=20), purpose=st.just("fine-tune") | st.text())
def test_no_upload_is_a_server_error(http: httpx2.Client, content: bytes, filename: str, purpose: str) -> None:
    answer = http.post("/files", files={"file": (filename, content)}, data={"purpose": purpose})
    assert answer.status_code in (200, 400), answer.text


@FUZZ
@given(
    path=st.sampled_from(
        ["/files", "/fine_tuning/jobs", "/fine_tuning/jobs/x/events", "/models/x", "/files/x/content"]
    ),
    query=st.dictionaries(
        st.sampled_from(["after", "limit", "order", "purpose", "metadata[a]", "metadata[", "metadata"]),
        st.text(max_size=9),
    ),
)
def test_no_query_is_a_server_error(http: httpx2.Client, path: str, query: dict[str, str]) -> None:
    assert http.get(path, params=query).status_code in (200, 400, 404)
