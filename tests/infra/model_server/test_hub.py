"""Base models are fetched from a hub by its own client, once and whole."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.model_server.database import Database
from infra.model_server.loaded import ModelPool
from infra.model_server.registry import Registry
from infra.model_server.settings import Settings
from tests.fake_hub import FakeHub, hub
from tests.infra.model_server import tiny

NAME = "zava/tiny-hub"
FETCH = """
import pathlib, sys
from infra.model_server.hub import fetch
print(fetch(sys.argv[1], pathlib.Path(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.build(tmp_path_factory.mktemp("hub"))
    (folder / "pytorch_model.bin").write_bytes(b"the same weights in another form")
    return folder


@pytest.fixture
def fake(model: Path, tmp_path: Path) -> Iterator[FakeHub]:
    with hub(NAME, Path(shutil.copytree(model, tmp_path / "hub"))) as fake:
        yield fake


def fetch(fake: FakeHub, models: Path, name: str = NAME, *, endpoint: str = "") -> subprocess.CompletedProcess[str]:
    """Fetch in a process of its own: the hub's client reads its environment when it is imported."""
    env = {**os.environ, "HF_ENDPOINT": endpoint or fake.url, "HF_HOME": str(models.parent / "hf-home")}
    env |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", FETCH, name, str(models)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_a_model_is_fetched_once_without_what_is_not_needed_and_loads(fake: FakeHub, tmp_path: Path) -> None:
    models = tmp_path / "models"
    done = fetch(fake, models)
    assert done.returncode == 0, done.stderr
    assert fake.given() == {file.name for file in fake.folder.iterdir()} - {"pytorch_model.bin"}
    registry = Registry(Database(tmp_path / "state.sqlite3"), settings := Settings(data=tmp_path, models=models))
    assert ModelPool(settings, registry).get(registry.get("tiny-hub")).weights.parameters > 0
    fake.asked.clear()
    assert fetch(fake, models).stdout.strip() == str(models / "tiny-hub")
    assert fetch(fake, models, f"{NAME}@main").stdout.strip() == str(models / "tiny-hub")
    assert fake.asked == []


def test_what_broke_off_is_no_model_and_the_rest_is_not_fetched_again(fake: FakeHub, tmp_path: Path) -> None:
    models = tmp_path / "models"
    fake.breaks_off = True
    failed = fetch(fake, models)
    assert failed.returncode == 1
    assert f"FetchError: {NAME} cannot be fetched" in failed.stderr
    assert not models.exists()
    fake.breaks_off = False
    fake.asked.clear()
    assert fetch(fake, models).returncode == 0
    weights = "model.safetensors"
    assert fake.given() == {weights}
    assert (models / "tiny-hub" / weights).read_bytes() == (fake.folder / weights).read_bytes()


def test_why_a_model_cannot_be_had_is_told_with_the_ways_out(fake: FakeHub, tmp_path: Path) -> None:
    models = tmp_path / "models"
    unknown = fetch(fake, models, "zava/none").stderr
    assert "zava/none cannot be fetched from the hub: " in unknown
    assert "HF_ENDPOINT" in unknown
    assert "HF_TOKEN" in unknown
    assert "FetchError" in fetch(fake, models, endpoint="http://127.0.0.1:9").stderr
    server = [sys.executable, "-m", "infra.model_server", "--data", str(tmp_path / "data"), "--models", str(models)]
    env = {**os.environ, "HF_ENDPOINT": fake.url, "HF_HOME": str(tmp_path / "hf-home")}
    ended = subprocess.run([*server, "--fetch", "zava/none"], env=env, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "--fetch zava/none: zava/none cannot be fetched from the hub: " in ended.stderr
    (fake.folder / "model.safetensors").unlink()
    assert "no weights as *.safetensors" in fetch(fake, models).stderr
    assert not (models / "tiny-hub").exists()


def test_a_link_whose_target_has_gone_is_made_anew(fake: FakeHub, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "tiny-hub").symlink_to(tmp_path / "gone")
    assert fetch(fake, models).returncode == 0
    assert (models / "tiny-hub" / "config.json").is_file()
