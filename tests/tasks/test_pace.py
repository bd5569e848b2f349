"""The pace of an evaluation, against a provider that can bear only so much."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from tasks import evaluate
from tasks.core.config import EvaluationConfig
from tasks.core.errors import ProviderUnavailableError
from tasks.core.evaluation import EvalReport
from tasks.pace import PATIENCE, Pace
from tests.decisions import write_decisions
from tests.fake_provider import FakeProvider, Reply, fault, say

pytestmark = pytest.mark.anyio
CONFIG = EvaluationConfig(concurrency=16, timeout_s=60, bootstrap_samples=50)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def evaluated(script: Callable[[dict[str, Any]], Reply], folder: Path) -> tuple[EvalReport, FakeProvider]:
    decisions = write_decisions(folder / "set", 20)
    with FakeProvider(script) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=1) as client:
            report = await evaluate.evaluate_model(client, "m", "base", decisions, CONFIG, folder)
    return report, provider


async def test_a_provider_that_refuses_most_at_first_still_answers_every_decision(tmp_path: Path) -> None:
    """More refusals than the client would ever retry (once here) are no failures of the model."""
    left, lock = [20], threading.Lock()

    def busy(request: dict[str, Any]) -> Reply:
        with lock:
            left[0] -= 1
            return fault(429, retry_after=0.02) if left[0] >= 0 else say("Hello")

    report, provider = await evaluated(busy, tmp_path)
    assert report.errored == 0
    assert len(provider.requests) == 60 + 20


async def test_a_provider_that_is_always_busy_ends_the_evaluation_and_keeps_the_answers(tmp_path: Path) -> None:
    answered, lock = [0], threading.Lock()

    def busy(request: dict[str, Any]) -> Reply:
        with lock:
            answered[0] += 1
            return say("Hello") if answered[0] <= 5 else fault(429, retry_after=0.01)

    with pytest.raises(ProviderUnavailableError, match="is busy: it refused 8 times in a row"):
        await evaluated(busy, tmp_path)
    assert (tmp_path / "answers.jsonl").read_bytes().count(b"\n") == 5


async def test_a_refusal_halves_what_is_in_flight_once_and_answers_raise_it_again() -> None:
    pace = Pace(16)
    asked_at = asyncio.get_running_loop().time()
    for _ in range(10):
        pace.refused(asked_at, 0.001)
    assert (pace.limit, pace.slow_downs) == (8.0, 1)
    later = asyncio.get_running_loop().time()
    pace.refused(later, 0.001)
    assert (pace.limit, pace.slow_downs) == (4.0, 2)
    for _ in range(5):
        pace.answered()
    assert 5 < pace.limit < 5.3
    for _ in range(500):
        pace.answered()
    assert pace.limit == 16.0


async def test_no_more_are_in_flight_than_the_pace_allows_and_never_fewer_than_one() -> None:
    pace = Pace(8)
    for _ in range(PATIENCE):
        pace.refused(asyncio.get_running_loop().time(), 0.0001)
    assert pace.limit == 1.0
    inside, most = 0, 0

    async def turn() -> None:
        nonlocal inside, most
        async with pace:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(turn())
    assert most == 1
    with pytest.raises(ProviderUnavailableError, match="the answers so far are kept"):
        pace.refused(asyncio.get_running_loop().time(), 0.0001)


async def test_an_evaluation_that_is_stopped_reports_on_what_was_answered(tmp_path: Path) -> None:
    decisions = write_decisions(tmp_path / "set", 6)
    enough = asyncio.Event()

    def watch(done: int, total: int) -> None:
        if done >= 7:
            enough.set()

    with FakeProvider(lambda request: say("Hello")) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k") as client:
            config = CONFIG.model_copy(update={"concurrency": 1})
            running = asyncio.create_task(
                evaluate.evaluate_model(client, "m", "base", decisions, config, tmp_path, watch)
            )
            await enough.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            partial = evaluate.read_partial(tmp_path, "base")
            assert partial is not None
            asked = partial.metrics["decision_accuracy"].n
            assert asked == 18 - partial.unasked >= 7
            with pytest.raises(evaluate.EvaluationError, match=f"stopped with {partial.unasked} decisions unasked"):
                evaluate.compare_reports(partial, partial, decisions, config)
            whole = await evaluate.evaluate_model(client, "m", "base", decisions, CONFIG, tmp_path)
    assert whole.unasked == 0
    assert evaluate.read_partial(tmp_path, "base") is None
    assert len(provider.requests) <= 18 + 1  # the one that was under way when it was stopped
