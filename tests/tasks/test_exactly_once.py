"""A job is paid for once and never lost, whatever the provider and the machine do: at random, by a state machine.

A run is a row of workers that come and go on one workspace, with a real OpenAI client and a job machine that shares no
code with the project. Answers are lost before and after the machine acted, garbled, refused and late; workers are
killed between any two requests, or while they write to MLflow. What is checked is what the machine would bill.
"""

import hashlib
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tasks import mlflow_store, track_steps, train, upload, wait
from tasks.core.config import TrackingConfig, TrainingConfig
from tasks.core.dataset import DatasetFile
from tasks.core.endpoints import ProviderConfig
from tasks.core.errors import ProviderError, ProviderUnavailableError, TrainingFailedError
from tasks.core.run import TrackedRun
from tasks.core.training import TrainingJob, TrainingMetric, finished_model_id
from tasks.ledger import Ledger
from tests.in_process import Killed, Wire
from tests.job_machine import JobMachine, Json, step_events
from tests.stores import a_store

CONTENT = b'{"messages": []}\n'
CONFIG = TrainingConfig(base_model="base", poll_seconds=1, n_epochs=2, stall_minutes=1.0)
PROVIDER = ProviderConfig(kind="local")
STEPS = 6
STATES = st.sampled_from(["running", "paused", "warming_up", "failed", "succeeded"])
# Few by default, so that the suite stays quick; `make faults` asks for a thousand.
RUNS_WANTED = int(os.environ.get("ZAVA_FAULT_RUNS", "20"))
# A worker that has waited so often is taken away.
PATIENCE = 8

PLACES = st.sampled_from(
    [
        ("POST", "/files"),
        ("GET", "/files.*"),
        ("POST", "/fine_tuning/jobs"),
        ("GET", "/fine_tuning/jobs"),
        ("GET", "/fine_tuning/jobs/[^/]+"),
        ("GET", "/fine_tuning/jobs/[^/]+/events"),
        ("GET", "/models.*"),
        ("POST", ".*/cancel"),
    ]
)
FAULTS = st.one_of(
    st.builds(dict, reset=st.just(True), acted=st.booleans()),
    st.builds(dict, garbage=st.just(True), acted=st.booleans()),
    st.builds(dict, status=st.sampled_from([408, 409, 500, 502, 503, 504]), acted=st.booleans()),
    st.just({"status": 429, "acted": False}),
)


class Billing(JobMachine):
    """The job machine, with an account of what was paid twice."""

    def __init__(self) -> None:
        super().__init__(models={"base"})
        self.paid_twice: list[str] = []

    def _create_job(self, wanted: Json) -> Json:
        # All workers ask for the same job.
        self.paid_twice += [job["id"] for job in self.jobs.values() if job["status"] not in {"failed", "cancelled"}]
        return super()._create_job(wanted)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> TrackingConfig:
    return TrackingConfig(mlflow_uri=a_store(tmp_path_factory.mktemp("mlflow")), experiment="once")


class Workers(RuleBasedStateMachine):
    """Workers that come and go, on one workspace and one provider."""

    tracking: TrackingConfig
    runs = 0
    workers = 0

    def __init__(self) -> None:
        super().__init__()
        self.machine = Billing()
        self.wire = Wire(self.machine)
        self.folder = TemporaryDirectory()
        path = Path(self.folder.name) / "train.jsonl"
        path.write_bytes(CONTENT)
        sha = hashlib.sha256(CONTENT).hexdigest()
        self.file = DatasetFile(path=str(path), meta_path="", split="train", rows=1, sha256=sha)
        with mlflow_store.connected(self.tracking, "open a run") as client:
            experiment = mlflow_store.experiment(client, self.tracking.experiment)
            run_id = client.create_run(experiment).info.run_id
        self.run = TrackedRun(experiment_id=experiment, run_id=run_id, address="")
        self.clock = 0.0
        self.fate("running", 0)

    @initialize(keeps=st.booleans())
    def choose_a_provider(self, keeps: bool) -> None:
        """Let the provider keep the metadata of jobs, and our key with it, or drop it."""
        self.machine.keeps_metadata = keeps

    def teardown(self) -> None:
        with self.folder:
            self.finish()
        type(self).runs += 1

    def finish(self) -> None:
        """Let the provider be well again: the next worker must find what is there, and come to the end."""
        self.machine.faults.clear()
        self.fate("succeeded", STEPS)
        job = self.work()
        if isinstance(job, TrainingFailedError):  # the adopted job had failed; this one is new
            job = self.work()
        assert isinstance(job, TrainingJob)
        succeeded = [held["id"] for held in self.machine.jobs.values() if held["status"] == "succeeded"]
        assert succeeded == [job.job_id], "a job is lost"
        assert [entry.job_id for entry in self.ledger.entries()] == [job.job_id]
        with mlflow_store.connected(self.tracking, "read the steps") as client:
            history = client.get_metric_history(self.run.run_id, "training/train_loss")
        assert [entry.step for entry in history] == list(range(1, STEPS + 1))

    @property
    def ledger(self) -> Ledger:
        return Ledger(Path(self.folder.name) / "jobs")

    @rule(state=STATES, steps=st.integers(0, STEPS))
    def fate(self, state: str, steps: int) -> None:
        """Say where jobs go from here."""
        self.machine.states = ["queued", "running", state]
        done = STEPS if state == "succeeded" else max(steps, len(self.machine.events))
        self.machine.events = step_events(STEPS)[:done]

    @rule(place=PLACES, fault=FAULTS, times=st.integers(1, 3))
    def break_down(self, place: tuple[str, str], fault: dict[str, Any], times: int) -> None:
        self.machine.fail(*place, times=times, **fault)

    @rule(lag=st.integers(0, len(train.LOOKS) - 1))
    def lag_behind(self, lag: int) -> None:
        """Let new jobs be missing from lists for a while."""
        self.machine.listing_lag = lag

    @rule()
    @precondition(lambda self: self.machine.listing_lag == 0 and not self.machine.hidden())
    def move_to_another_machine(self) -> None:
        for entry in self.ledger.entries():
            self.ledger.forget(entry.job_key)

    @rule(kill_in=st.integers(0, 14), before=st.booleans(), half_a_write=st.booleans())
    def run_and_kill(self, kill_in: int, before: bool, half_a_write: bool) -> None:
        self.wire.kill_in, self.wire.kill_before = kill_in, before
        self.work(kill_at_write=half_a_write)
        self.wire.kill_in = None

    @rule()
    def run_to_the_end(self) -> None:
        self.work()

    @rule()
    def cancel(self) -> None:
        """Cancel a run that is tried again, as Prefect does, while it fails for reasons that may pass."""
        for _ in range(20):
            outcome = self.work(cancelled=True)
            if not isinstance(outcome, ProviderUnavailableError | None):
                break
        assert isinstance(outcome, TrainingJob | TrainingFailedError | ProviderError)
        if isinstance(outcome, TrainingJob | TrainingFailedError):
            assert all(job["status"] in {"succeeded", "failed", "cancelled"} for job in self.machine.jobs.values())

    @invariant()
    def nothing_is_paid_twice(self) -> None:
        assert self.machine.paid_twice == []
        assert len(self.machine.files) <= 1

    def work(self, *, cancelled: bool = False, kill_at_write: bool = False) -> TrainingJob | ProviderError | None:
        """Be one worker: upload, start or adopt, wait a while; return the ended job or the error, None if killed."""
        type(self).workers += 1
        passes = 0

        def sleep(seconds: float) -> None:
            nonlocal passes
            passes += 1
            self.clock += seconds
            if passes > PATIENCE:
                raise Killed

        def write(metrics: list[TrainingMetric]) -> None:
            if kill_at_write:
                log(metrics[: len(metrics) // 2])
                raise Killed
            log(metrics)

        log = track_steps.StepLog(self.tracking, self.run)
        listeners = wait.Listeners(metrics=write, is_cancelled=lambda: cancelled)
        try:
            with self.wire.client() as client:
                rows = upload.training_file(client, self.file, sleep=sleep)
                request = train.request_of(PROVIDER, CONFIG, rows, None, base_version="1")
                job, _ = train.start_job(client, request, self.ledger, sleep=sleep)
                job = wait.wait_for_model(client, job, CONFIG, listeners, now=lambda: self.clock, sleep=sleep)
                finished_model_id(job)
                return job
        except Killed:
            return None
        except ProviderError as error:
            return error


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_no_fault_and_no_kill_makes_a_job_paid_twice_or_lost(tracking: TrackingConfig) -> None:
    machine = type("Case", (Workers,), {"tracking": tracking, "runs": 0, "workers": 0})
    wanted = settings(
        max_examples=RUNS_WANTED, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=wanted)
    sys.stdout.write(f"{machine.runs:,} runs with {machine.workers:,} workers\n")
    assert machine.runs >= RUNS_WANTED
