"""Which services a profile has started on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows import services
from flows.cli.common import ExitCode
from tasks.artifacts import workspace
from tasks.core.config import Profile, load_profile
from tasks.core.errors import ConfigError
from tasks.files import write_atomically
from tests.fake_hub import hub
from tests.infra.model_server import tiny
from tests.ports import free_port
from tests.shell import settings


def names(profile: Profile) -> list[str]:
    return [service.name for service in services.standing(profile)]


@pytest.mark.parametrize(
    ("elsewhere", "here"),
    [
        ((), ["page", "shop", "model", "mlflow", "prefect"]),
        (("services.prefect_url=http://127.0.0.1:4200",), ["page", "shop", "model", "mlflow", "prefect"]),
        (("services.prefect_url=https://prefect.example",), ["page", "shop", "model", "mlflow"]),
        (("services.shop_url=http://shop:8765/mcp", "tracking.mlflow_uri=http://mlflow:5000"), ["model", "prefect"]),
    ],
)
def test_what_a_profile_names_elsewhere_is_not_started_here(elsewhere: tuple[str, ...], here: list[str]) -> None:
    assert names(load_profile("local", elsewhere)) == here


def test_where_prefect_is_elsewhere_so_is_what_runs_deployments(tmp_path: Path) -> None:
    for address, here in (("", ["webhook", "worker"]), ("https://prefect.example", [])):
        profile = load_profile("team", (f"workspace={tmp_path}", f"services.prefect_url='{address}'"))
        write_atomically(workspace(profile).deployed_path, profile.model_dump_json().encode())
        assert [name for name in names(profile) if name != "prefect"] == here


@pytest.mark.parametrize("key", ["services.prefect_url=http://prefect:4200/", "services.shop_url=shop:8765"])
def test_an_address_of_another_form_is_told(key: str) -> None:
    with pytest.raises(ConfigError, match=r"services\.(prefect|shop)_url"):
        load_profile("local", (key,))


def test_nothing_is_fetched_where_another_base_model_is_trained_or_no_server_starts_here(tmp_path: Path) -> None:
    keys = (f"services.models={tmp_path}", "services.hub_model=zava/none")
    told: list[str] = []
    services.fetch_base(load_profile("local", (*keys, "training.base_model=my-own")), told.append)
    elsewhere = (*keys, "training.base_model=none", "provider.base_url=https://models.example/v1")
    services.fetch_base(load_profile("local", elsewhere), told.append)
    assert told == []


@pytest.mark.slow
def test_a_base_model_that_is_missing_is_fetched_before_its_server_starts(tmp_path: Path) -> None:
    keys = {
        "services__models": tmp_path / "models",
        "services__hub_model": "zava/tiny-hub",
        "services__model_port": free_port(),
        "services__shop_url": "http://shop:8765/mcp",
        "services__prefect_url": "https://prefect.example",
        "tracking__mlflow_uri": "https://mlflow.example",
        "training__base_model": "tiny-hub",
    }

    def run(*command: str, endpoint: str = "http://127.0.0.1:9") -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hub-home")}
        command = (sys.executable, "-m", "flows.cli", *command, *settings(tmp_path, **keys))
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)

    def found() -> dict[str, str]:
        checks: list[dict[str, str]] = json.loads(run("doctor", "--json").stdout)
        return next(check for check in checks if check["name"] == "base model")

    assert found()["advice"] == "zava up, which fetches zava/tiny-hub from the hub"
    failed = run("up")
    assert failed.returncode == ExitCode.SERVICE
    assert "zava/tiny-hub cannot be fetched from the hub" in " ".join(failed.stderr.split())
    with hub("zava/tiny-hub", tiny.build(tmp_path / "there")) as fake:
        first = run("up", endpoint=fake.url)
    try:
        assert first.returncode == 0, first.stderr
        assert "Fetching zava/tiny-hub" in first.stderr
        assert found()["level"] == "ok"
        again = run("up")
        assert (again.returncode, again.stderr) == (0, "")
    finally:
        run("down")
