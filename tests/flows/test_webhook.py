"""Messages from outside, on a real port and a real Prefect server: those that may begin a run begin one."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import anyio
import httpx2
import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentFlowRunCreate
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import bundler, deployments, webhook
from flows.bundler import Bundler
from flows.deployments import Deployed, deploy
from flows.follow_contract import follow_contract
from flows.retrain import retrain as retrain_flow
from flows.webhook import LARGEST_BODY, receiver
from tasks.artifacts import workspace
from tasks.core.config import Profile, load_profile
from tasks.core.errors import ConfigError
from tasks.core.operation import DeploymentConfig
from tests.ports import free_port
from tests.receiving import SECRET, receiving, signed

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

HOOKS = {
    "retrain": {"parameters": ["synthesis.intents", "training.n_epochs"], "per_minute": 10_000},
    "contract": {"per_minute": 3},
    "provider": {},
}
MIX = {"parameters": {"synthesis.intents": {"cancel": 3}}}


@pytest.fixture(scope="module", autouse=True)
def secrets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ZAVA_HOOK_RETRAIN_SECRET", "ZAVA_HOOK_CONTRACT_SECRET", "OPENAI_WEBHOOK_SECRET"):
            patch.setenv(name, SECRET)
        yield


@pytest.fixture(scope="module")
def deployed(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Profile, dict[str, Deployed]]:
    folder, config = tmp_path_factory.mktemp("webhook"), DeploymentConfig.model_validate({"hooks": HOOKS})
    profile = load_profile("local", (f"workspace={folder}", f"name=w{uuid4().hex[:12]}"))
    profile = profile.model_copy(update={"deployment": config})
    return profile, {one.flow: one for one in deploy(profile, [retrain_flow, follow_contract])}


@pytest.fixture(scope="module")
def address(deployed: tuple[Profile, dict[str, Deployed]]) -> Iterator[str]:
    with receiving(receiver(deployed[0])) as address:
        yield address


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def retrain(deployed: tuple[Profile, dict[str, Deployed]]) -> Deployed:
    return deployed[1]["retrain"]


def post(address: str, hook: str, body: bytes, headers: dict[str, str]) -> httpx2.Response:
    return httpx2.post(f"{address}/hooks/{hook}", content=body, headers=headers, timeout=120, trust_env=False)


def send(address: str, hook: str, message: object, message_id: str | None = None) -> httpx2.Response:
    body = json.dumps(message).encode()
    return post(address, hook, body, signed(body, message_id or uuid4().hex))


def runs(client: SyncPrefectClient, one: Deployed) -> list[FlowRun]:
    return client.read_flow_runs(deployment_filter=deployments.only(one.deployment_id))


def test_a_message_begins_one_run_and_its_repetitions_none(
    address: str, client: SyncPrefectClient, retrain: Deployed
) -> None:
    before, message_id = len(runs(client, retrain)), uuid4().hex
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send(address, "retrain", MIX, message_id), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    [run_id] = {answer.json()["run"] for answer in answers}
    assert answers[0].json()["address"].endswith(f"/runs/flow-run/{run_id}")
    assert len(runs(client, retrain)) == before + 1
    run = client.read_flow_run(run_id)
    assert {"by:webhook", "hook:retrain", "zava"} <= set(run.tags)
    assert run.parameters["profile"]["synthesis"]["intents"] == {"cancel": 3}
    assert send(address, "retrain", MIX).json()["run"] != run_id


def test_many_messages_at_once_begin_a_run_each_in_few_calls(
    address: str, client: SyncPrefectClient, retrain: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    created = Bundler._created

    async def counted(self: Bundler, flow: str, wanted: list[DeploymentFlowRunCreate]) -> list[dict[str, object]]:
        results = await created(self, flow, wanted)
        # Prefect's database may be busy with something else, and refuse.
        if taken := sum(bool(result.get("flow_run_id")) for result in results):
            sizes.append(taken)
        return results

    monkeypatch.setattr(Bundler, "_created", counted)
    before, ids = len(runs(client, retrain)), [uuid4().hex for _ in range(30)]
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda one: send(address, "retrain", MIX, one), ids + ids[:10]))
    assert {answer.status_code for answer in answers} == {202}
    begun = [answer.json()["run"] for answer in answers]
    assert len(set(begun)) == 30
    assert begun[30:] == begun[:10]
    assert len(runs(client, retrain)) == before + 30
    assert sum(sizes) == 40
    assert len(sizes) < 20


def test_word_of_a_new_contract_asks_whether_it_is_one(address: str, client: SyncPrefectClient) -> None:
    run = client.read_flow_run(send(address, "contract", {}).json()["run"])
    assert client.read_flow(run.flow_id).name == "follow-contract"


def _refused() -> dict[str, tuple[int, str, bytes, dict[str, str]]]:
    body = json.dumps(MIX).encode()

    def well_signed(message: object) -> tuple[bytes, dict[str, str]]:
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        return text, signed(text, uuid4().hex)

    return {
        "unsigned": (401, "retrain", body, {}),
        "forged": (401, "retrain", body, signed(body, key=b"another key")),
        "another body": (401, "retrain", body + b" ", signed(body)),
        "another id": (401, "retrain", body, {**signed(body), "webhook-id": "msg-2"}),
        "another time": (401, "retrain", body, {**signed(body), "webhook-timestamp": "1"}),
        "stale": (401, "retrain", body, signed(body, age_s=400)),
        "from the future": (401, "retrain", body, signed(body, age_s=-400)),
        "no base64": (401, "retrain", body, {**signed(body), "webhook-signature": "v1,\u00b0x"}),
        "another version": (401, "retrain", body, {**signed(body), "webhook-signature": "v1"}),
        "no such hook": (404, "promote", *well_signed(MIX)),
        "not configured": (404, "transcript", *well_signed({})),
        "oversized": (413, "retrain", *well_signed(b" " * (LARGEST_BODY + 1))),
        "no JSON": (422, "retrain", *well_signed(b"{")),
        "no text": (401, "retrain", *well_signed(b"\xff{}")),
        "no object": (422, "retrain", *well_signed([])),
        "deep": (422, "retrain", *well_signed(b"[" * 60_000)),
        "another form": (422, "retrain", *well_signed({"profile": {}})),
        "a base URL": (422, "retrain", *well_signed({"parameters": {"provider.base_url": "http://evil.example"}})),
        "beside what it may": (422, "retrain", *well_signed({"parameters": {"synthesis.noise_rate": 0.5}})),
        "nothing allowed": (422, "contract", *well_signed(MIX)),
        "a wrong value": (422, "retrain", *well_signed({"parameters": {"synthesis.intents": {"steal": 1}}})),
        "hidden in a value": (
            422,
            "retrain",
            *well_signed({"parameters": {"training.n_epochs": {"provider": {"base_url": "http://evil.example"}}}}),
        ),
    }


@pytest.mark.parametrize("name", list(_refused()))
def test_what_begins_no_run(name: str, address: str, client: SyncPrefectClient, retrain: Deployed) -> None:
    before = len(runs(client, retrain))
    status, hook, body, headers = _refused()[name]
    raw = {key: value.encode("latin-1") for key, value in headers.items()}
    answer = httpx2.post(f"{address}/hooks/{hook}", content=body, headers=raw, timeout=60, trust_env=False)
    assert (answer.status_code, set(answer.json())) == (status, {"error"})
    assert len(runs(client, retrain)) == before


def test_an_over_eager_sender_is_put_off_and_forgers_do_not_slow_it_down(address: str) -> None:
    body = b"{}"
    for _ in range(5):
        assert post(address, "contract", body, signed(body, key=b"forged")).status_code == 401
    answers = [send(address, "contract", {}) for _ in range(4)]
    # Other tests may have taken two of the three already.
    assert answers[0].status_code == 202
    assert answers[-1].status_code == 429
    assert answers[-1].headers["retry-after"] == "60"


def test_a_body_that_does_not_arrive_is_not_waited_for(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "ARRIVAL_S", 0.2)
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as slow:
        slow.sendall(b"POST /hooks/retrain HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_without_prefect_a_message_is_put_off_and_taken_when_it_comes_again(
    deployed: tuple[Profile, dict[str, Deployed]],
    address: str,
    client: SyncPrefectClient,
    retrain: Deployed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bundler, "RETRY_S", 1.0)
    before, message_id = len(runs(client, retrain)), uuid4().hex
    with (
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}),
        receiving(receiver(deployed[0])) as alone,
    ):
        body = json.dumps(MIX).encode()
        answer = post(alone, "retrain", body, signed(body, message_id))
        ready = httpx2.get(f"{alone}/readyz", trust_env=False, timeout=60)
    assert (answer.status_code, answer.headers["retry-after"], ready.status_code) == (503, "30", 503)
    assert send(address, "retrain", MIX, message_id).status_code == 202
    assert len(runs(client, retrain)) == before + 1


def test_what_prefect_refuses_is_asked_for_again_in_smaller_bundles(
    deployed: tuple[Profile, dict[str, Deployed]],
    client: SyncPrefectClient,
    retrain: Deployed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    created = Bundler._created
    asked: list[int] = []

    async def locked(self: Bundler, flow: str, wanted: list[DeploymentFlowRunCreate]) -> list[dict[str, object]]:
        asked.append(len(wanted))
        if len(wanted) > 3:
            return [{"flow_run_id": None, "error": "database is locked"}] * len(wanted)
        return await created(self, flow, wanted)

    monkeypatch.setattr(Bundler, "_created", locked)
    before = len(runs(client, retrain))
    with receiving(receiver(deployed[0])) as alone, ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: send(alone, "retrain", MIX), range(30)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["run"] for answer in answers}) == 30
    assert len(runs(client, retrain)) == before + 30
    assert max(asked) > 3


def test_a_message_outlasts_a_minute_in_which_prefect_stands_still(
    address: str, client: SyncPrefectClient, retrain: Deployed
) -> None:
    before, port = len(runs(client, retrain)), httpx2.URL(PREFECT_API_URL.value()).port
    [server] = {
        psutil.Process(one.pid)
        for one in psutil.net_connections("tcp4")
        if one.laddr.port == port and one.status == psutil.CONN_LISTEN
    }
    with ThreadPoolExecutor(4) as pool:
        server.suspend()
        try:
            sent = [pool.submit(send, address, "retrain", MIX) for _ in range(4)]
            time.sleep(62)
        finally:
            server.resume()
        answers = [one.result() for one in sent]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["run"] for answer in answers}) == 4
    assert len(runs(client, retrain)) == before + 4


def test_a_flow_that_is_not_deployed_keeps_nobody_up(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundler, "RETRY_S", 1e6)

    async def asked() -> None:
        one = Bundler("nobody")
        async with one.open():
            await one.begin("retrain", {}, [], uuid4().hex)

    with pytest.RaisesGroup(pytest.RaisesExc(bundler.BusyError, match="run `zava deploy`")):
        asyncio.run(asked())


def test_more_than_can_wait_are_put_off_at_once(
    deployed: tuple[Profile, dict[str, Deployed]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundler, "MOST_WAITING", 2)
    monkeypatch.setattr(bundler, "WAIT_S", 2.0)

    async def stuck(self: Bundler, flow: str, wanted: object) -> list[dict[str, object]]:
        await anyio.sleep_forever()
        return []

    monkeypatch.setattr(Bundler, "_created", stuck)
    with receiving(receiver(deployed[0])) as alone, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send(alone, "retrain", MIX), range(8)))
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["retry-after"] for answer in answers} == {"30"}


def test_a_providers_message_ends_the_wait_for_its_job(
    deployed: tuple[Profile, dict[str, Deployed]], address: str
) -> None:
    event = {"id": "evt_1", "type": "fine_tuning.job.succeeded", "created_at": 1, "data": {"id": "ftjob-1"}}
    assert send(address, "provider", event, "evt-1").json() == {"job": "ftjob-1"}
    assert send(address, "provider", event, "evt-1").json() == {"job": None}
    pauses: list[float] = []
    workspace(deployed[0]).bells.sleeper("ftjob-1", pauses.append)(60.0)
    assert pauses == []


def test_health_and_metrics_tell_what_came(address: str) -> None:
    def get(path: str) -> httpx2.Response:
        return httpx2.get(f"{address}{path}", trust_env=False, timeout=60)

    for name in ("one", "two"):
        post(address, name, b"", {})
    assert get("/healthz").json() == {"status": "ok"}
    assert (get("/readyz").status_code, get("/readyz").json()) == (200, {"prefect": "ok"})
    told = get("/metrics").text
    assert 'zava_webhook_messages_total{hook="retrain",status="202"}' in told
    assert 'zava_webhook_messages_total{hook="unknown",status="404"}' in told
    assert 'hook="one"' not in told


def test_a_receiver_needs_hooks_and_their_secrets(
    deployed: tuple[Profile, dict[str, Deployed]], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = deployed[0]
    for value in ("", "whsec_", "whsec_AAAA", "no base64!"):
        monkeypatch.setenv("ZAVA_HOOK_CONTRACT_SECRET", value)
        with pytest.raises(ConfigError, match="ZAVA_HOOK_CONTRACT_SECRET"):
            receiver(profile)
    with pytest.raises(ConfigError, match=r"deployment\.hooks names no hook"):
        receiver(profile.model_copy(update={"deployment": DeploymentConfig()}))


@pytest.mark.parametrize(
    "key",
    ["provider.base_url", "training.base_model", "training.max_cost", "workspace", "evaluation.arms", "synthesis"],
)
def test_no_hook_can_be_allowed_to_say_where_things_are_or_what_they_cost(key: str) -> None:
    with pytest.raises(ConfigError, match="no message may set"):
        load_profile("local", (f"deployment.hooks.retrain.parameters=[{key}]",))
