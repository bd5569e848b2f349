"""The flow is the same on every provider: a profile alone makes the difference, and no key is left anywhere."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_HOME, PREFECT_SERVER_DATABASE_CONNECTION_URL

from flows.retrain import retrain
from flows.train_model import train_model
from tasks.core.config import Profile
from tasks.core.errors import ProviderError
from tasks.core.run import verdict
from tests.fake_azure import IDENTITY_SECRET, TOKEN, FakeAzure
from tests.fake_finetuning import FakeFinetuning, step_events
from tests.loop import a_profile, model_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]
KEY = "sk-marked-4f1d9c0be2"


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAzure]:
    with FakeAzure(
        folder=tmp_path,
        states=["pending", "running", "succeeded"],
        events=step_events(12),
        models={"base"},
        chat=model_of(tmp_path / "workspace"),
    ) as azure:
        for name, value in azure.environment.items():
            monkeypatch.setenv(name, value)
        yield azure


def dressed(provider: FakeFinetuning, folder: Path, *more: str) -> Profile:
    """Return a profile for a hosted provider, which wants a key and at least ten rows."""
    return a_profile(
        provider.base_url,
        folder,
        "synthesis.train_conversations=16",
        "synthesis.valid_conversations=16",
        "provider.api_key_env=MARKED_KEY",
        *more,
    )


def places_with(text: str, *folders: Path) -> list[Path]:
    """Return the files under these folders that hold a text, in whatever form they are stored."""
    wanted = text.encode()
    return [path for folder in folders for path in folder.rglob("*") if path.is_file() and wanted in path.read_bytes()]


def prefect_stores() -> tuple[Path, Path]:
    """Return the folders of Prefect's database, with its parameters, states and logs, and of its results."""
    url = str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value())
    return Path(url.removeprefix("sqlite+aiosqlite:///")).parent, PREFECT_HOME.value()


def assert_nowhere(secrets: Iterable[str], told: str, folder: Path) -> None:
    """See that no store holds a secret, once all of them hold what else was told: logs come late."""
    database, results = prefect_stores()
    deadline = time.monotonic() + 60
    while not places_with(told, database):
        assert time.monotonic() < deadline, "the logs did not come"
        time.sleep(0.2)
    assert folder / "mlflow.db" in places_with("training.base_model", folder)
    for secret in secrets:
        assert places_with(secret, folder, database, results) == []


def test_a_run_on_openai_tells_who_may_not_train_there_and_leaves_its_key_nowhere(
    provider: FakeFinetuning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MARKED_KEY", KEY)
    profile = dressed(provider, tmp_path, "provider.kind=openai")
    provider.fail("POST", "/fine_tuning/jobs", status=403, message="You do not have access.")
    with pytest.raises(ProviderError, match="use provider local, azure or compatible"):
        retrain(profile)
    assert provider.count("POST /fine_tuning/jobs") == 1
    # So that an error that passes is told, logged and stored too.
    provider.fail("POST", "/fine_tuning/jobs", status=503, message="a fault to be found")
    assert verdict(retrain(profile).comparison).better
    assert provider.keys == {KEY}
    assert len(provider.jobs) == 1
    assert_nowhere([KEY], "a fault to be found", tmp_path)
    assert KEY not in "".join(capfd.readouterr())


def test_a_run_on_azure_deploys_what_it_asks(azure: FakeAzure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKED_KEY", KEY)
    summary = retrain(dressed(azure, tmp_path, *azure.settings()))
    assert verdict(summary.comparison).better
    assert len(azure.jobs) == 1
    assert {held["properties"]["model"]["name"] for held in azure.deployments.values()} == {
        "base",
        summary.job.model_id,
    }
    assert summary.model_id in azure.deployments
    assert azure.keys >= {KEY, TOKEN}
    assert_nowhere([KEY, TOKEN, IDENTITY_SECRET], summary.model_id, tmp_path)
    again = train_model(dressed(azure, tmp_path, *azure.settings()))
    assert (again.job_id, len(azure.jobs)) == (summary.job.job_id, 1)
