"""Begins lost runs again: those of a deployment whose process or machine is gone, a bounded number of times."""

from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    DeploymentFilterTags,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingRetry

from tasks.core.config import Profile
from tasks.core.finding import Finding

# Of all that `zava deploy` registers, and so of every run of it.
TAG = "zava"
# `reconcile` comes again by itself; promoting and rolling back are a person's to repeat.
REPEATED = ["retrain", "build-dataset", "train-model", "evaluate-model", "add-transcript", "follow-contract"]
# What was lost longer ago is history.
RECENT = timedelta(days=1)


def begin_again(profile: Profile) -> list[Finding]:
    """Schedule each lost run of the profile's deployments again, `deployment.retries` times at most."""
    with get_client(sync_client=True) as client:
        return [found for run in _crashed(client, profile) if (found := _again(client, profile, run))]


def _crashed(client: SyncPrefectClient, profile: Profile) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=REPEATED)),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Crashed"])),
            end_time=FlowRunFilterEndTime(after_=datetime.now(UTC) - RECENT),
        ),
        deployment_filter=DeploymentFilter(
            name=DeploymentFilterName(any_=[profile.name]), tags=DeploymentFilterTags(all_=[TAG])
        ),
    )


def _again(client: SyncPrefectClient, profile: Profile, run: FlowRun) -> Finding | None:
    # Counted by its states: a run that is lost before it runs has no count of its own.
    lost = sum(state.name == "Crashed" for state in client.read_flow_run_states(run.id))
    if lost > profile.deployment.retries:
        return None
    note = f"{run.name} was lost and begins again, {lost} of {profile.deployment.retries} times."
    client.set_flow_run_state(run.id, AwaitingRetry(message=note))
    return Finding(kind="run", id=str(run.id), outcome="adopted", note=note)
