"""Replayed stories in a real MLflow store: every answer and call as a span, with the verdict, the run and the model."""

import asyncio
import json
from pathlib import Path

import pytest
from openai import AsyncOpenAI
from opentelemetry import trace

from tasks import traces, tracing, track, track_model
from tasks.clients import mlflow_client
from tasks.core.config import EvaluationConfig, Profile, load_profile
from tasks.core.errors import DataError
from tasks.core.run import PrefectRun, TrackedRun
from tasks.replay import replay
from tests import runs
from tests.agents import agent
from tests.fake_provider import FakeProvider
from tests.receiving_spans import await_spans, collector
from tests.stores import a_store
from zava_mcp import policy
from zava_mcp.seed import generate_shop

STORY = "replay Noah Brown"


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    profile = load_profile("local", (f"tracking.mlflow_uri={a_store(tmp_path)}",))
    monkeypatch.setenv("MLFLOW_MODEL_CATALOG_URI", "")  # it would ask github.com for prices
    monkeypatch.chdir(tmp_path)
    return profile


@pytest.fixture
def run(profile: Profile) -> TrackedRun:
    return track.open_run(profile, PrefectRun(run_id="p-1", name="retrain", address=""), {})


async def _play(model: str) -> None:
    shop = generate_shop(7, customers=5, products=4, orders=6)
    with FakeProvider(agent()) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            await replay(client, model, shop, policy.text(), EvaluationConfig(timeout_s=60))


def play(path: Path, model: str = "base") -> Path:
    with tracing.written_to(path):
        asyncio.run(_play(model))
    return path


def test_a_story_is_a_trace_of_its_run_and_model_with_verdict_tokens_and_every_step(
    profile: Profile, run: TrackedRun, tmp_path: Path
) -> None:
    model = track_model.model(profile.tracking, run, runs.a_job(), "ft:base:retail")
    path = play(tmp_path / "story.otlp")
    for _ in range(2):  # a retry sends nothing twice
        assert traces.record(profile.tracking, run, [path], model) == 1
    client = mlflow_client(profile.tracking)
    [story] = client.search_traces(locations=[run.experiment_id], run_id=run.run_id)
    [same] = client.search_traces(locations=[run.experiment_id], model_id=model)
    assert same.info.trace_id == story.info.trace_id
    assert (story.info.tags["mlflow.traceName"], story.info.state) == (STORY, "OK")
    assert story.info.request_preview.startswith("Hi, I am Noah Brown")
    assert story.info.response_preview == "Your address is updated. Anything else?"
    assert story.info.token_usage["total_tokens"] > 0
    [verdict] = story.info.assessments
    assert (verdict.name, verdict.value) == ("passed", True)
    kinds = [span.span_type for span in story.data.spans]
    assert (kinds[0], kinds.count("CHAT_MODEL"), kinds.count("TOOL")) == ("AGENT", 5, 3)
    [changed] = [span for span in story.data.spans if span.name == "execute_tool update_address"]
    assert changed.inputs["zip"] == "80202"
    assert changed.outputs["address"]["zip"] == "80202"
    last = [span for span in story.data.spans if span.span_type == "CHAT_MODEL"][-1]
    assert last.get_attribute("gen_ai.request.model") == "base"
    assert "Your address is updated" in json.dumps(last.outputs)


def test_a_later_run_that_used_the_same_play_has_it_too(profile: Profile, run: TrackedRun, tmp_path: Path) -> None:
    path = play(tmp_path / "story.otlp")
    later = track.open_run(profile, PrefectRun(run_id="p-2", name="retrain", address=""), {})
    for one in (run, later):
        traces.record(profile.tracking, one, [path], None)
    client = mlflow_client(profile.tracking)
    found = [client.search_traces(locations=[run.experiment_id], run_id=one.run_id) for one in (run, later)]
    assert [[story.info.tags["mlflow.traceName"] for story in several] for several in found] == [[STORY], [STORY]]
    assert len(client.search_traces(locations=[run.experiment_id])) == 1


def test_a_play_that_breaks_off_leaves_no_file_and_a_missing_file_is_told(
    profile: Profile, run: TrackedRun, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt), tracing.written_to(tmp_path / "story.otlp"):
        raise KeyboardInterrupt
    assert not list(tmp_path.glob("*.otlp"))
    with pytest.raises(DataError, match=r"story\.otlp"):
        traces.record(profile.tracking, run, [tmp_path / "story.otlp"], None)


def test_a_conversation_is_sent_while_it_goes_on_to_whoever_speaks_otlp_and_to_nobody_else() -> None:
    with collector() as (address, received):
        with tracing.sent_to(f"{address}/v1/traces", {"x-mlflow-experiment-id": "7"}):
            asyncio.run(_play("base"))
        asyncio.run(_play("base"))  # nobody records this one
        await_spans()
    spans = [span for request in received for span in request.spans]
    assert {request.headers["x-mlflow-experiment-id"] for request in received} == {"7"}
    assert [span.name for span in spans if not span.parent_span_id] == [STORY]
    assert len(spans) == 9
    # Nothing is hung into what the whole process shares.
    assert not trace.get_current_span().is_recording()
