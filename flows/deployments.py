"""What runs when: every flow as a deployment of a profile, with its schedules and limits."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentCreate, DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.flows import Flow
from pydantic import ValidationError

from flows.add_transcript import add_transcript
from flows.automations import automate, tag_of
from flows.build_dataset import build_dataset
from flows.evaluate_model import evaluate_model
from flows.follow_contract import follow_contract
from flows.promote_model import promote_model, rollback_model
from flows.reconcile import reconcile
from flows.results import provide_results
from flows.retrain import retrain
from flows.train_model import train_model
from tasks.core.config import Profile
from tasks.core.errors import ConfigError, ServiceError
from tasks.core.operation import PoolType
from tasks.lost import TAG

FLOWS: tuple[Flow[..., Any], ...] = (
    retrain,
    build_dataset,
    train_model,
    evaluate_model,
    promote_model,
    rollback_model,
    reconcile,
    add_transcript,
    follow_contract,
)
# Of these, one at a time in an experiment.
TRAINING = frozenset({retrain.name, train_model.name, follow_contract.name})
OVERLAP = {"queue": ConcurrencyLimitStrategy.ENQUEUE, "skip": ConcurrencyLimitStrategy.CANCEL_NEW}
# Three signs of life fit into the time after which a run is lost; Prefect sends one every 30 s at most.
BEATS = 3
SCHEDULER_S = 60.0


class Deployed(NamedTuple):
    """One registered flow, and when it will begin by itself."""

    flow: str
    name: str
    deployment_id: UUID
    clock: CronSchedule | None
    next_run: datetime | None = None


def deploy(
    profile: Profile, flows: Sequence[Flow[..., Any]] = FLOWS, *, patience_s: float = SCHEDULER_S
) -> list[Deployed]:
    """Register flows on the work pool, with the automations, and see that scheduled ones get runs; safe to repeat.

    Raises:
        ConfigError: A cron expression or a job variable is wrong, a pool is of another type, or a block is missing.
        ServiceError: The scheduler makes no runs.
    """
    with get_client(sync_client=True) as client:
        _provide_pool(client, profile.deployment.pool, profile.deployment.pool_type)
        limit_id = _provide_limit(client, profile)
        variables = job_variables(profile, provide_results(profile))
        made = [_register(client, profile, flow, limit_id, variables) for flow in flows]
        automate(client, profile)
        return _scheduled(client, made, patience_s)


def _provide_pool(client: SyncPrefectClient, name: str, kind: PoolType) -> None:
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        templates = client.read_worker_metadata()
        template = next(types[kind] for types in templates.values() if kind in types)["default_base_job_configuration"]
        client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template))
        return
    if pool.type != kind:
        raise ConfigError(f"Work pool {name!r} is of type {pool.type!r}, not {kind!r}; choose another deployment.pool.")


def _provide_limit(client: SyncPrefectClient, profile: Profile) -> UUID:
    """Return the limit of one retraining at a time that all profiles of an experiment share."""
    name = f"retrain {profile.tracking.experiment}"
    client.upsert_global_concurrency_limit_by_name(name, 1)
    return client.read_global_concurrency_limit_by_name(name).id


def _register(
    client: SyncPrefectClient, profile: Profile, flow: Flow[..., Any], limit_id: UUID, variables: dict[str, Any]
) -> Deployed:
    config, clocks = profile.deployment, schedules(profile, flow)
    wanted = DeploymentCreate(
        flow_id=client.create_flow(flow),
        name=profile.name,
        description=flow.description,
        schedules=clocks,
        parameters={"profile": profile.model_dump(mode="json")},
        parameter_openapi_schema=flow.parameters.model_dump(exclude_unset=True),
        # Each run checks its profile itself; Prefect would take 0.2 s of CPU for it whenever a run is created.
        enforce_parameter_schema=False,
        concurrency_options=ConcurrencyOptions(collision_strategy=OVERLAP[config.overlap]),
        tags=tags(profile),
        work_pool_name=config.pool,
        job_variables=variables,
        path=config.folder or str(Path.cwd()),
        entrypoint=entrypoint(flow),
    ).model_dump(mode="json", exclude_unset=True)
    # Asked for directly: the client's own call knows no shared limit, and would remove this one for all.
    shared = {"global_concurrency_limit_id": str(limit_id) if flow.name in TRAINING else None}
    try:
        made = client.request("POST", "/deployments/", json=wanted | shared)
    except PrefectHTTPStatusError as error:
        if not error.response.is_client_error:
            raise
        raise ConfigError(f"Prefect refuses {flow.name}/{profile.name}: {error.response.text}") from error
    deployment_id = UUID(made.json()["id"])
    clock = next((one.schedule for one in clocks if isinstance(one.schedule, CronSchedule)), None)
    return Deployed(flow.name, profile.name, deployment_id, clock)


def tags(profile: Profile) -> list[str]:
    """Return the tags of a profile's deployments, which their runs inherit."""
    return [TAG, tag_of(profile), f"experiment:{profile.tracking.experiment}"]


def entrypoint(flow: Flow[..., Any]) -> str:
    """Return where a flow lies under the folder of the project."""
    return f"{flow.fn.__module__.replace('.', '/')}.py:{flow.fn.__name__}"


def schedules(profile: Profile, flow: Flow[..., Any]) -> list[DeploymentScheduleCreate]:
    """Return when a flow begins by itself.

    Raises:
        ConfigError: A cron expression is wrong.
    """
    wanted = {str(name): schedule for name, schedule in profile.deployment.schedules.items()}.get(flow.name)
    if wanted is None:
        return []
    try:
        clock = CronSchedule(cron=wanted.cron, timezone=wanted.timezone)
    except ValidationError as error:
        raise ConfigError(
            f"deployment.schedules.{flow.name}.cron is {wanted.cron!r}, no cron expression; one is '0 3 * * 0'."
        ) from error
    return [DeploymentScheduleCreate(schedule=clock, active=True, slug=flow.name)]


def job_variables(profile: Profile, results: Mapping[str, str]) -> dict[str, Any]:
    """Return what the work pool is told of each run; `results` are the variables that say where those are kept."""
    config = profile.deployment
    given = config.job_variables.get("env") or {}
    beat = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(int(config.lost_after_s / BEATS))}
    return {**config.job_variables, "env": {**beat, **results, **given}}


def _scheduled(client: SyncPrefectClient, made: list[Deployed], patience_s: float) -> list[Deployed]:
    """Wait until each scheduled deployment has a run to come: a healthy server may have a dead scheduler."""
    deadline = time.monotonic() + patience_s
    while True:
        told = [one._replace(next_run=_next_run(client, one.deployment_id)) if one.clock else one for one in made]
        idle = [one for one in told if one.clock and one.next_run is None]
        if not idle:
            return told
        if time.monotonic() > deadline:
            raise ServiceError(
                f"Prefect made no run of {idle[0].flow}/{idle[0].name} within {patience_s:.0f} s: its scheduler is "
                "dead, though the server answers. Read the server's log; SQLAlchemy 2.1 is one cause."
            )
        time.sleep(0.5)


def _next_run(client: SyncPrefectClient, deployment_id: UUID) -> datetime | None:
    scheduled = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    runs = client.read_flow_runs(
        deployment_filter=only(deployment_id),
        flow_run_filter=FlowRunFilter(state=scheduled),
        sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
        limit=1,
    )
    return runs[0].next_scheduled_start_time if runs else None


def only(deployment_id: UUID) -> DeploymentFilter:
    """Return the filter for what belongs to one deployment."""
    return DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))
