"""What is said with a model is recorded in MLflow, also in one that asks for a login and in one that hangs."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.services import catalog
from tasks import track
from tasks.clients import mlflow_client, mlflow_login
from tasks.core.config import Profile, load_profile
from tasks.core.run import PrefectRun
from tasks.report import write_report
from tasks.talk import Event, Talk
from tests import runs
from tests.fake_provider import FakeProvider, say
from tests.ports import free_port
from tests.receiving_spans import await_spans, collector
from tests.worlds import served, small_shop
from zava_mcp.http import build_app
from zava_mcp.sandboxes import Sandboxes

USER, PASSWORD = "zava", "a long enough password"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Return the settings of a shop and a provider that are up."""
    sandboxes = Sandboxes(small_shop().fork())
    with FakeProvider(lambda request: say("Done.")) as provider, served(build_app(sandboxes)) as (mcp, _):
        port = mcp.split(":")[2].removesuffix("/mcp")
        yield f"workspace={tmp_path}", f"provider.base_url={provider.base_url}", f"services.shop_port={port}"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve an MLflow that asks for a login, as infra/compose.yaml does; yield its address."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    plain = catalog.mlflow(port, folder)
    home = folder / "mlflow"
    home.mkdir()
    (home / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = sqlite:///{home}/users.db\n"
    )
    login = {
        "MLFLOW_AUTH_CONFIG_PATH": str(home / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "signs forms",
    }
    command = (*plain.command, "--app-name", "basic-auth")
    supervisor = catalog.supervisor(folder, (replace(plain, command=command, env={**plain.env, **login}),))
    try:
        supervisor.up()
        yield plain.address
    finally:
        supervisor.down()


def talked(profile: Profile) -> list[Event]:
    heard: list[Event] = []

    async def talk() -> None:
        one = Talk(profile, "ft:1")
        await one.say("Hello", heard.append)
        await one.end()

    asyncio.run(talk())
    return heard


@pytest.mark.slow
def test_a_talk_is_recorded_by_an_mlflow_that_asks_for_a_login(
    settings: tuple[str, ...],
    guarded: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    profile = load_profile("local", (*settings, f"tracking.mlflow_uri={guarded}"))
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    run = track.open_run(profile, PrefectRun(run_id="p-1", name="retrain", address=""), {})
    write_report(runs.a_summary(tmp_path, model_id="ft:1", tracked=run), tmp_path / "runs" / run.run_id)

    talked(profile)
    await_spans()
    [trace] = mlflow_client(profile.tracking).search_traces(locations=[run.experiment_id], run_id=run.run_id)
    assert "Done." in trace.info.response_preview
    assert "Failed to export" not in caplog.text

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another password")
    talked(profile)
    await_spans()
    assert "401" in caplog.text
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    assert len(mlflow_client(profile.tracking).search_traces(locations=[run.experiment_id])) == 1


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"MLFLOW_TRACKING_USERNAME": "zava", "MLFLOW_TRACKING_PASSWORD": "pä:ss"},
        {"MLFLOW_TRACKING_TOKEN": "t-1"},
        {"MLFLOW_TRACKING_USERNAME": "zava", "MLFLOW_TRACKING_PASSWORD": "p", "MLFLOW_TRACKING_TOKEN": "t-1"},
        {"MLFLOW_TRACKING_USERNAME": "zava", "MLFLOW_TRACKING_TOKEN": "t-1"},
    ],
)
def test_the_login_is_that_of_mlflow_s_own_client(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with collector() as (address, received):
        http_request(get_default_host_creds(address), "/v1/traces", "POST", data=b"")
    [own] = received
    assert mlflow_login().get("Authorization") == own.headers.get("authorization")


def test_a_turn_is_over_while_an_mlflow_that_hangs_has_not_taken_its_trace(
    settings: tuple[str, ...], tmp_path: Path
) -> None:
    write_report(runs.a_summary(tmp_path, model_id="ft:1"), tmp_path / "runs" / "m1")
    gate = threading.Event()
    with collector(gate) as (address, received):
        try:
            heard = talked(load_profile("local", (*settings, f"tracking.mlflow_uri={address}")))
            assert heard[-1].text == "Done."  # type: ignore[union-attr]
            assert received == []
        finally:
            gate.set()
        await_spans()
        assert [span.name for one in received for span in one.spans if not span.parent_span_id] == ["chat"]
