"""`zava deploy` on a real Prefect server: a cron schedule that creates runs, limits, alerts, and lost runs."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events import emit_event
from prefect.flows import Flow
from prefect.logging import disable_run_logger
from prefect.runtime import flow_run
from prefect.states import AwaitingRetry, Cancelled, Crashed, Pending, Running
from pydantic import SecretStr

from flows import deployments
from flows.add_transcript import add_transcript
from flows.automations import HEARTBEAT, lost_runs, tag_of
from flows.build_dataset import build_dataset
from flows.deployments import FLOWS, Deployed, deploy
from flows.reconcile import reconcile
from flows.retrain import retrain
from flows.starting import wait_for_turn
from flows.webhook import receiver
from tasks import lost
from tasks.core.config import Profile, ReplayConfig, load_profile
from tasks.core.errors import ConfigError, ServiceError
from tasks.core.operation import DeploymentConfig
from tests.listening import listener
from tests.receiving import SECRET, receiving, signed
from tests.workers import a_worker

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

EVERY_MINUTE = {"retrain": {"cron": "* * * * *", "timezone": "Europe/Berlin"}}


@pytest.fixture
def plain(tmp_path: Path) -> Profile:
    """A profile that is deployed and not run."""
    return load_profile("local", (f"workspace={tmp_path}",))


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def deployed(profile: Profile, *flows: Flow[..., Any], **config: object) -> tuple[Profile, dict[str, Deployed]]:
    """Deploy flows under a name and for an experiment of this test alone."""
    own = f"p{uuid4().hex[:12]}"
    tracking = profile.tracking.model_copy(update={"experiment": own})
    changed = profile.model_copy(
        update={"name": own, "tracking": tracking, "deployment": DeploymentConfig.model_validate(config)}
    )
    return changed, {one.flow: one for one in deploy(changed, flows)}


def until(client: SyncPrefectClient, run_id: UUID, claim: Callable[[FlowRun], bool], seconds: float = 120) -> FlowRun:
    end = time.monotonic() + seconds
    while not claim(run := client.read_flow_run(run_id)):
        assert time.monotonic() < end, f"{run.name} is {run.state}"
        time.sleep(0.3)
    return run


def is_over(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def test_every_flow_is_registered_with_its_form_its_tags_and_its_limit(
    plain: Profile, client: SyncPrefectClient
) -> None:
    changed, made = deployed(plain, *FLOWS, overlap="skip")
    assert set(made) == {flow.name for flow in FLOWS}
    for one in made.values():
        kept = client.read_deployment(one.deployment_id)
        assert {"zava", tag_of(changed), f"experiment:{changed.name}"} == set(kept.tags)
        assert "SynthesisConfig" in kept.parameter_openapi_schema["definitions"]
        assert Profile.model_validate(kept.parameters["profile"]) == changed
        limited = kept.global_concurrency_limit is not None
        assert limited == (one.flow in {"retrain", "train-model", "follow-contract"})
    pool = client.read_work_pool("zava")
    assert pool.type == "process"


def test_a_cron_schedule_creates_runs_and_deploying_again_leaves_one_schedule_or_none(
    plain: Profile, client: SyncPrefectClient
) -> None:
    changed, made = deployed(plain, retrain, reconcile, schedules=EVERY_MINUTE)
    assert made["retrain"].next_run is not None
    assert made["reconcile"].next_run is None
    deploy(changed, [retrain])
    [schedule] = client.read_deployment(made["retrain"].deployment_id).schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("* * * * *", "Europe/Berlin")  # type: ignore[union-attr]
    deploy(changed.model_copy(update={"deployment": DeploymentConfig()}), [retrain])
    assert client.read_deployment(made["retrain"].deployment_id).schedules == []


def test_a_scheduler_that_makes_no_runs_is_an_error(plain: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing of the deployment but its schedule says that runs are due.
    monkeypatch.setattr(deployments, "_next_run", lambda *_: None)
    config = DeploymentConfig.model_validate({"schedules": EVERY_MINUTE, "pool": "idle"})
    with pytest.raises(ServiceError, match="its scheduler is dead, though the server answers"):
        deploy(plain.model_copy(update={"deployment": config}), [retrain], patience_s=0.0)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"schedules": {"retrain": {"cron": "when it rains"}}}, "deployment.schedules.retrain.cron is 'when it rains'"),
        ({"pool_type": "docker"}, "Work pool 'zava' is of type 'process', not 'docker'"),
        ({"alerts": "webhook/nobody"}, "Prefect has no block 'webhook/nobody'"),
    ],
    ids=["cron", "pool", "block"],
)
def test_what_cannot_be_registered_is_told(plain: Profile, config: dict[str, object], told: str) -> None:
    deployed(plain)
    with pytest.raises(ConfigError, match=told):
        deployed(plain, retrain, **config)


@pytest.mark.parametrize("kind", ["docker", "kubernetes", "ecs"])
def test_flows_wait_for_workers_of_other_kinds(plain: Profile, client: SyncPrefectClient, kind: str) -> None:
    image = {"image": "zava:1", "env": {"A": "b"}}
    _, made = deployed(plain, retrain, pool=f"pool-{kind}", pool_type=kind, job_variables=image, folder="/opt/zava")
    kept = client.read_deployment(made["retrain"].deployment_id)
    assert client.read_work_pool(f"pool-{kind}").type == kind
    assert (kept.path, kept.job_variables["image"]) == ("/opt/zava", "zava:1")
    assert kept.job_variables["env"] == {"A": "b", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "80"}


@pytest.mark.parametrize("overlap", ["queue", "skip"])
def test_a_second_retraining_of_an_experiment_is_queued_or_skipped(
    plain: Profile, client: SyncPrefectClient, overlap: str
) -> None:
    first, made = deployed(plain, retrain, overlap=overlap)
    [theirs] = deploy(first.model_copy(update={"name": f"{first.name}-too"}), [retrain])
    runs = [client.create_flow_run_from_deployment(one.deployment_id).id for one in (made["retrain"], theirs)]
    for run_id in runs:
        client.set_flow_run_state(run_id, Pending())
    states = [client.read_flow_run(run_id).state for run_id in runs]
    assert [state.name for state in states if state] == [
        "Pending",
        "AwaitingConcurrencySlot" if overlap == "queue" else "Cancelled",
    ]
    client.set_flow_run_state(runs[0], Cancelled(), force=True)


@pytest.mark.timeout(1300)
def test_a_schedule_and_a_message_begin_runs_and_a_worker_runs_them(
    profile: Profile, client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZAVA_HOOK_TRANSCRIPT_SECRET", SECRET)
    folder = shutil.copytree("configs/replay", tmp_path / "replay")
    profile = profile.model_copy(update={"replay": ReplayConfig(folder=folder, seeds=0)})
    changed, made = deployed(
        profile, retrain, add_transcript, pool="clock", schedules=EVERY_MINUTE, hooks={"transcript": {}}
    )
    said = {"role": "user", "content": "I am Noah Brown, 80279. Why is my order late?"}
    body = json.dumps({"name": "noah-late", "messages": [said]}).encode()
    with a_worker(tmp_path / "worker.log", pool="clock", limit=2):
        with receiving(receiver(changed)) as address:
            answer = httpx2.post(f"{address}/hooks/transcript", content=body, headers=signed(body), trust_env=False)
        assert answer.status_code == 202
        added = until(client, UUID(answer.json()["run"]), is_over, seconds=600)
        # The clock of the server decides about the other run; nobody asks for it here.
        done = _first_done(client, made["retrain"].deployment_id, seconds=600)
    assert added.state is not None
    assert added.state.type == StateType.COMPLETED, added.state.message
    assert added.name.startswith(f"add a transcript to {changed.name} by webhook 20")
    assert (folder / "noah-late.jsonl").is_file()
    assert done.state is not None
    assert done.state.type == StateType.COMPLETED, done.state.message
    assert done.auto_scheduled
    assert done.name.startswith(f"retrain {changed.name} by schedule 20")
    # The last one has no schedule any more, so that the server of the other tests has nothing more to do.
    deploy(changed.model_copy(update={"deployment": DeploymentConfig()}), [retrain])


def _first_done(client: SyncPrefectClient, deployment_id: UUID, seconds: float) -> FlowRun:
    """Return the run that ended first. The worker chooses among those that are due."""
    end = time.monotonic() + seconds
    while True:
        runs = client.read_flow_runs(deployment_filter=deployments.only(deployment_id))
        if done := [run for run in runs if is_over(run)]:
            return done[0]
        assert time.monotonic() < end, [run.state for run in runs]
        time.sleep(0.5)


def test_failed_late_and_lost_runs_are_told_to_a_webhook(plain: Profile, client: SyncPrefectClient) -> None:
    with listener() as (address, received):
        Webhook(url=SecretStr(address)).save("pager", overwrite=True)
        _, made = deployed(plain, build_dataset, alerts="webhook/pager")
        run = client.create_flow_run_from_deployment(made["build-dataset"].deployment_id)
        client.set_flow_run_state(run.id, Crashed(message='it "broke"'), force=True)
        told = json.loads(received.get(timeout=60))
    assert told["state"] == "Crashed"
    assert told["flow"] == "build-dataset"
    assert told["message"] == 'it "broke"'
    assert str(run.id) in told["address"]


def test_a_run_without_a_sign_of_life_is_lost_and_begins_again_a_bounded_number_of_times(
    plain: Profile, client: SyncPrefectClient
) -> None:
    changed, made = deployed(plain, retrain, retries=1)
    [old] = client.read_automations_by_name(f"{changed.name}: lost runs")
    client.delete_automation(old.id)
    client.create_automation(lost_runs(changed, timedelta(seconds=10)))
    run = client.create_flow_run_from_deployment(made["retrain"].deployment_id)
    client.set_flow_run_state(run.id, Running(), force=True)
    related = [{"prefect.resource.id": f"prefect.tag.{tag_of(changed)}", "prefect.resource.role": "tag"}]
    emit_event(HEARTBEAT, {"prefect.resource.id": f"prefect.flow-run.{run.id}"}, related=related)
    crashed = until(client, run.id, is_over)
    assert crashed.state is not None
    assert (crashed.state.name, crashed.state.message) == ("Crashed", "Lost: no sign of life for 10 s.")

    [found] = lost.begin_again(changed)
    assert (found.id, found.outcome) == (str(run.id), "adopted")
    again = client.read_flow_run(run.id).state
    assert again is not None
    assert again.name == AwaitingRetry().name
    assert lost.begin_again(changed) == []
    client.set_flow_run_state(run.id, Crashed(), force=True)
    assert lost.begin_again(changed) == []
    assert is_over(client.read_flow_run(run.id))


def test_only_a_scheduled_run_waits_for_its_turn(plain: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DeploymentConfig.model_validate({"schedules": {"reconcile": {"cron": "0 * * * *", "jitter_minutes": 5}}})
    changed = plain.model_copy(update={"deployment": config})
    pauses: list[float] = []
    for tags in ((), ("auto-scheduled",)):
        monkeypatch.setattr(flow_run, "tags", tags, raising=False)
        with disable_run_logger():
            wait_for_turn(changed, "reconcile", pauses.append)
            wait_for_turn(changed, "retrain", pauses.append)
    [pause] = pauses
    assert 0 <= pause <= 300


def test_a_time_zone_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="no such time zone"):
        load_profile("local", ("deployment.schedules.retrain={cron: '0 3 * * *', timezone: Mars/Olympus}",))
