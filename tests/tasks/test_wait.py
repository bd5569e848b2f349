"""The wait for a job: every step told once, every end noticed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import wait
from tasks.core.config import TrainingConfig
from tasks.core.errors import ProviderUnavailableError, TrainingFailedError
from tasks.core.training import TrainingJob, TrainingMetric, finished_model_id
from tests.fake_finetuning import FakeFinetuning, Json, event, step_events

CONFIG = TrainingConfig(base_model="base", poll_seconds=1, deadline_minutes=60, stall_minutes=10)


@dataclass
class Clock:
    """Time that passes only in `sleep`."""

    now: float
    slept: int = 0

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1


@dataclass
class Heard:
    """What a wait told."""

    metrics: list[TrainingMetric] = field(default_factory=list)
    progress: list[wait.Progress] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    cancelled: bool = False

    def listeners(self) -> wait.Listeners:
        return wait.Listeners(self.metrics.extend, self.progress.append, self.warnings.append, lambda: self.cancelled)

    @property
    def steps(self) -> list[int]:
        return [metric.step for metric in self.metrics]


@pytest.fixture
def provider() -> Iterator[FakeFinetuning]:
    with FakeFinetuning() as provider:
        yield provider


def wait_for(
    provider: FakeFinetuning, heard: Heard, config: TrainingConfig = CONFIG, clock: Clock | None = None
) -> TrainingJob:
    held = provider._create_job({"model": "base", "metadata": {"zava_job_key": "key"}, "training_file": "f"})
    job = TrainingJob(
        job_id=held["id"], job_key="key", provider="", base_model="base", state="pending", provider_state="queued"
    )
    clock = clock or Clock(held["created_at"])
    return wait.wait_for_model(
        provider.client(), job, config, heard.listeners(), now=lambda: clock.now, sleep=clock.sleep
    )


def test_a_succeeded_job_yields_its_model_and_every_step_once(provider: FakeFinetuning) -> None:
    provider.states = ["queued", "validating_files", "running", "running", "succeeded"]
    provider.events = step_events(250)
    heard = Heard()
    job = wait_for(provider, heard)
    assert finished_model_id(job) == f"ft:base:{job.job_id}"
    assert heard.steps == list(range(1, 251))
    assert heard.progress[-1] == wait.Progress("succeeded", 250, 250, 1 / 250)


def test_an_unknown_state_is_not_an_end(provider: FakeFinetuning) -> None:
    provider.states = ["warming_up", "paused", "some_new_word", "succeeded"]
    assert wait_for(provider, Heard()).state == "succeeded"


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_job_that_ends_badly_is_told_with_its_reason(provider: FakeFinetuning, state: str) -> None:
    provider.states = ["running", state]
    job = wait_for(provider, Heard())
    with pytest.raises(TrainingFailedError, match="the data is not good" if state == "failed" else "cancelled"):
        finished_model_id(job)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_shuffled_and_repeated_pages_tell_every_step_once(seed: int) -> None:
    def arrange(newest_first: list[Json]) -> list[list[Json]]:
        chance = random.Random(seed)
        shuffled = chance.sample(newest_first, len(newest_first))
        pages = [shuffled[start : start + 7] for start in range(0, len(shuffled), 7)]
        return [page + chance.sample(shuffled, 3) for page in pages]

    with FakeFinetuning(
        states=["running", "running", "succeeded"], events=step_events(40), arrange=arrange
    ) as provider:
        heard = Heard()
        wait_for(provider, heard)
        assert sorted(heard.steps) == list(range(1, 41))


def test_a_server_that_repeats_one_page_for_ever_does_not_hold_the_wait(provider: FakeFinetuning) -> None:
    provider.events = step_events(5)
    provider.arrange = lambda newest_first: [newest_first] * 1000
    heard = Heard()
    wait_for(provider, heard)
    assert heard.steps == [1, 2, 3, 4, 5]
    assert provider.count("GET /fine_tuning/jobs/ftjob-1/events") <= 3


def test_validation_that_comes_after_its_step_is_told_without_the_step_again(provider: FakeFinetuning) -> None:
    provider.events = [
        event(1, data={"step": 10, "train_loss": 0.5}),
        event(2, data={"step": 10, "train_loss": 0.5, "valid_loss": 0.7}),
    ]
    heard = Heard()
    wait_for(provider, heard)
    assert heard.metrics == [TrainingMetric(step=10, train_loss=0.5), TrainingMetric(step=10, valid_loss=0.7)]


@pytest.mark.parametrize(
    "data", [None, [], "text", {"step": "1"}, {"step": True}, {"step": 1}, {"step": 1, "train_loss": float("nan")}]
)
def test_an_event_without_usable_metrics_is_passed_over(provider: FakeFinetuning, data: Json | None) -> None:
    provider.events = [{**event(1), "data": data}]
    heard = Heard()
    wait_for(provider, heard)
    assert heard.metrics == []


def test_warnings_of_the_provider_are_handed_on(provider: FakeFinetuning) -> None:
    provider.events = [event(1, level="warn", message="learning rate is high")]
    heard = Heard()
    wait_for(provider, heard)
    assert heard.warnings == ["Job ftjob-1: learning rate is high"]


def test_a_provider_that_is_away_for_a_while_is_waited_for(provider: FakeFinetuning) -> None:
    provider.states = ["running", "succeeded"]
    provider.events = step_events(3)
    provider.fail("GET", r"/fine_tuning/jobs/ftjob-1(/events)?", status=502, times=30)
    heard = Heard()
    assert wait_for(provider, heard).state == "succeeded"
    assert heard.steps == [1, 2, 3]


def test_a_provider_that_stays_away_is_told(provider: FakeFinetuning) -> None:
    provider.fail("GET", r"/fine_tuning/jobs/ftjob-1", status=502, times=10_000)
    with pytest.raises(ProviderUnavailableError, match="502"):
        wait_for(provider, Heard(), CONFIG.model_copy(update={"stall_minutes": 1.0, "poll_seconds": 7.0}))


def test_the_deadline_cancels_the_job(provider: FakeFinetuning) -> None:
    provider.states = ["running"]
    with pytest.raises(TrainingFailedError, match=r"within 1 minutes \(training.deadline_minutes\)"):
        wait_for(provider, Heard(), CONFIG.model_copy(update={"deadline_minutes": 1.0}))
    assert provider.jobs["ftjob-1"]["status"] == "cancelled"


def test_a_job_that_succeeded_just_before_its_deadline_counts(provider: FakeFinetuning) -> None:
    class Late(Clock):
        def sleep(self, seconds: float) -> None:
            """The job is over by now, and the deadline too."""

    provider.states = ["running", "succeeded"]
    cancel = provider._cancel
    provider._cancel = lambda job: cancel(job | {"status": provider._step_job(job)["status"]})  # type: ignore[method-assign]
    heard = Heard()
    job = wait_for(provider, heard, clock=Late(2.0**40))
    assert finished_model_id(job) == "ft:base:ftjob-1"


def test_a_cancelled_run_cancels_its_job(provider: FakeFinetuning) -> None:
    provider.states = ["running"]
    with pytest.raises(TrainingFailedError, match="the run was cancelled"):
        wait_for(provider, Heard(cancelled=True))
    assert provider.jobs["ftjob-1"]["status"] == "cancelled"


def test_an_interrupt_from_the_keyboard_cancels_the_job(provider: FakeFinetuning) -> None:
    class Interrupting(Clock):
        def sleep(self, seconds: float) -> None:
            raise KeyboardInterrupt

    provider.states = ["running"]
    with pytest.raises(KeyboardInterrupt):
        wait_for(provider, Heard(), clock=Interrupting(0.0))
    assert provider.jobs["ftjob-1"]["status"] == "cancelled"


def test_silence_is_told_once_and_again_only_after_a_sign_of_life(provider: FakeFinetuning) -> None:
    heard = Heard()
    clock = Clock(0.0)
    provider.states = ["running"] * 100 + ["succeeded"]
    wait_for(provider, heard, CONFIG.model_copy(update={"stall_minutes": 1.0}), clock)
    assert len(heard.warnings) == 1
    assert "has said nothing for 1 minutes" in heard.warnings[0]


def losses(*pairs: tuple[float, float]) -> list[Json]:
    return [
        event(number, data={"step": number, "train_loss": trained, "valid_loss": valid})
        for number, (trained, valid) in enumerate(pairs, start=1)
    ]


def test_a_validation_loss_that_leaves_the_training_loss_behind_is_told_once(provider: FakeFinetuning) -> None:
    provider.events = losses((1.0, 1.1), (0.6, 0.8), (0.4, 0.9), (0.2, 1.2), (0.1, 1.5))
    heard = Heard()
    wait_for(provider, heard)
    assert len(heard.warnings) == 1
    assert "at step 4 the validation loss is 1.200, up from 0.800" in heard.warnings[0]


@pytest.mark.parametrize(
    "events", [losses((1.0, 1.1), (0.6, 0.8), (0.4, 0.85)), losses((0.5, 0.8), (0.9, 1.4)), step_events(5)]
)
def test_noise_or_a_loss_that_rises_as_a_whole_is_not_overfitting(provider: FakeFinetuning, events: list[Json]) -> None:
    provider.events = events
    heard = Heard()
    wait_for(provider, heard)
    assert heard.warnings == []
