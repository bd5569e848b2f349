"""Runs that are cancelled or killed: a job is passed the cancellation, or found again, and never paid for twice."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import psutil
import pytest
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType

from flows.cancelling import cancel_jobs
from flows.reconcile import reconcile
from flows.retrain import retrain
from tasks.artifacts import latest_summary, workspace
from tasks.cancellation import cancellation_of
from tasks.clients import mlflow_client
from tasks.core.config import Profile
from tests import workers
from tests.fake_finetuning import FakeFinetuning


def until(condition: Callable[[], bool], worker: psutil.Popen) -> None:
    while not condition():
        assert worker.poll() is None, "the worker ended"
        time.sleep(0.05)


# When a run is killed: the request that gets no answer, how many such requests are answered before it, and whether the
# provider carried it out. The base is evaluated before anything is uploaded.
MOMENTS = {
    "evaluating": ("POST /chat/completions", 3, True),
    "uploading": ("POST /files", 1, True),
    "before the creation": ("POST /fine_tuning/jobs", 0, False),
    "after the creation": ("POST /fine_tuning/jobs", 0, True),
    "training": ("GET /fine_tuning/jobs/ftjob-1/events", 2, True),
}
# Each takes a worker of its own, a minute or two; `make faults` kills at all of them.
KILLED_AT = list(MOMENTS) if "ZAVA_FAULT_RUNS" in os.environ else ["after the creation"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("prefect_server")
def test_a_worker_killed_with_9_at_any_moment_is_followed_by_one_that_finishes_its_work(
    profile: Profile, provider: FakeFinetuning, tmp_path: Path
) -> None:
    log, deployment = tmp_path / "workers.log", workers.deploy(retrain, "flows/retrain.py:retrain")
    states, provider.states = provider.states, ["running"]
    for request, after, acted in (MOMENTS[name] for name in KILLED_AT):
        workers.submit(deployment, profile)
        kill_while(provider, request, log, after=after, acted=acted)
    provider.states = states
    found = [item for item in reconcile(profile) if item.kind == "run"]
    assert [item.outcome for item in found] == ["finished"] * len(KILLED_AT)
    assert [state_of(UUID(item.id)) for item in found] == [StateType.CRASHED] * len(KILLED_AT)
    with get_client(sync_client=True) as client:
        assert client.read_flow_runs(flow_run_filter=running()) == []
    next_run = workers.submit(deployment, profile)
    with workers.a_worker(log) as worker:
        until(lambda: state_of(next_run) in TERMINAL_STATES, worker)
    assert state_of(next_run) == StateType.COMPLETED
    assert len(provider.jobs) == 1
    never_carried_out = "before the creation" in KILLED_AT
    assert provider.count("POST /fine_tuning/jobs") == 1 + never_carried_out
    assert len(provider.files) == 2
    summary = latest_summary(profile)
    assert summary is not None
    assert summary.job.job_id in provider.jobs
    mlflow = mlflow_client(profile.tracking)
    steps = mlflow.get_metric_history(summary.tracked.run_id, "training/train_loss")
    assert [entry.step for entry in steps] == list(range(1, 13))
    runs = mlflow.search_runs([summary.tracked.experiment_id], "tags.`zava.ended_by` = 'reconcile'")
    assert [run.info.status for run in runs] == ["KILLED"] * len(KILLED_AT)


def kill_while(provider: FakeFinetuning, request: str, log: Path, *, after: int, acted: bool) -> None:
    """Let a worker take what was submitted, and kill it and its run while they wait for the answer to a request."""
    before = provider.count(request)
    provider.hold(request, after=after, acted=acted)
    with workers.a_worker(log) as worker:
        until(lambda: provider.count(request) > before + after, worker)
    provider.let_go()


def state_of(run_id: UUID) -> StateType | None:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run_id).state
    return state.type if state else None


def running() -> FlowRunFilter:
    """Return the filter for the runs that Prefect takes for alive."""
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_cancellation_at_the_server_is_noticed_within_five_seconds() -> None:
    clock = [0.0]
    with get_client(sync_client=True) as client:
        flow_run = client.create_flow_run(retrain, parameters={})
        is_cancelled = cancellation_of(str(flow_run.id), now=lambda: clock[0])
        assert not is_cancelled()
        client.set_flow_run_state(flow_run.id, State(type=StateType.CANCELLING), force=True)
        assert not is_cancelled()
        clock[0] = 5.0
        assert is_cancelled()


def test_the_jobs_of_a_cancelled_run_are_cancelled_and_no_others(profile: Profile, provider: FakeFinetuning) -> None:
    provider.states = ["running"]
    run_id = uuid4()
    ledger = workspace(profile).ledger
    for key, owner in (("one", str(run_id)), ("two", "another-run")):
        job = provider._create_job({"model": "base", "metadata": {"zava_job_key": key}, "training_file": "f"})
        ledger.write(key, job_id=job["id"], run_id=owner)
    ledger.write("begun", job_id=None, run_id=str(run_id))
    flow_run = FlowRun(id=run_id, flow_id=uuid4(), parameters={"profile": profile.model_dump(mode="json")})
    cancel_jobs(retrain, flow_run, State(type=StateType.CANCELLED))
    assert {job["status"] for job in provider.jobs.values()} == {"cancelled", "queued"}
    assert provider.jobs["ftjob-1"]["status"] == "cancelled"
