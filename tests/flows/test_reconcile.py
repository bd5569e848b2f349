"""What killed workers leave behind is finished, adopted or reported, in Prefect, in MLflow and at the provider."""

import time
from pathlib import Path

import pytest

from tasks import liveness, reconcile, track, train
from tasks.artifacts import workspace
from tasks.core.config import Profile, TrainingConfig
from tasks.core.dataset import UploadedFile
from tasks.core.run import PrefectRun
from tasks.core.training import TrainingRequest
from tasks.ledger import Ledger
from tests.fake_finetuning import FakeFinetuning


@pytest.fixture
def ledger(profile: Profile) -> Ledger:
    return workspace(profile).ledger


@pytest.fixture
def request_(profile: Profile) -> TrainingRequest:
    config = TrainingConfig(base_model="base")
    rows = UploadedFile(file_id="file-1", sha256="a" * 64, bytes=10)
    return train.request_of(profile.provider, config, rows, None, base_version="1")


def a_job(provider: FakeFinetuning, key: str | None) -> str:
    metadata = {"zava_job_key": key} if key else None
    return str(provider._create_job({"model": "base", "metadata": metadata, "training_file": "file-1"})["id"])


def outcomes(profile: Profile, provider: FakeFinetuning) -> list[tuple[str, str, str]]:
    return [(found.kind, found.id, found.outcome) for found in reconcile.jobs(profile, provider.client())]


def test_a_run_is_alive_only_while_its_process_holds_it(tmp_path: Path) -> None:
    with liveness.alive(tmp_path, "run-1"):
        assert liveness.is_alive(tmp_path, "run-1")
        assert liveness.dead_runs(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run-2").touch()
    assert liveness.dead_runs(tmp_path) == ["run-2"]


def test_a_job_that_nobody_knows_is_adopted_once(profile: Profile, provider: FakeFinetuning, ledger: Ledger) -> None:
    provider.states = ["running"]
    job_id = a_job(provider, "k" * 64)
    theirs = a_job(provider, None)
    assert outcomes(profile, provider) == [("job", job_id, "adopted")]
    entry = ledger.read("k" * 64)
    assert entry is not None
    assert entry.job_id == job_id
    assert theirs not in [entry.job_id for entry in ledger.entries()]


def test_a_job_without_a_living_run_is_reported_until_it_ends(
    profile: Profile, provider: FakeFinetuning, ledger: Ledger, request_: TrainingRequest
) -> None:
    provider.states = ["running"]
    job, _ = train.start_job(provider.client(), request_, ledger, run_id="run-1")
    with liveness.alive(workspace(profile).alive, "run-1"):
        assert outcomes(profile, provider) == []
    assert outcomes(profile, provider) == [("job", job.job_id, "reported")]
    provider.jobs[job.job_id]["status"] = "succeeded"
    assert outcomes(profile, provider) == []


def test_a_creation_of_unknown_outcome_is_found_by_its_key_or_by_its_inputs(
    profile: Profile, provider: FakeFinetuning, ledger: Ledger, request_: TrainingRequest
) -> None:
    for keeps in (True, False):
        provider.keeps_metadata = keeps
        ledger.write(request_.key(), job_id=None, run_id=None, request=request_)
        job_id = a_job(provider, request_.key())
        assert ("job", job_id, "adopted") in outcomes(profile, provider)
        provider.jobs.clear()
        ledger.forget(request_.key())


def test_a_creation_that_made_nothing_is_forgotten_after_an_hour(
    profile: Profile,
    provider: FakeFinetuning,
    ledger: Ledger,
    request_: TrainingRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger.write(request_.key(), job_id=None, run_id=None, request=request_)
    assert outcomes(profile, provider) == []
    monkeypatch.setattr(reconcile, "GRACE_S", -1.0)
    assert outcomes(profile, provider) == [("job", request_.key()[:12], "finished")]
    assert ledger.entries() == []


def test_a_job_that_is_gone_is_forgotten_and_that_of_another_provider_is_not(
    profile: Profile, provider: FakeFinetuning, ledger: Ledger, request_: TrainingRequest
) -> None:
    other = request_.model_copy(update={"provider": "openai:https://example.com"})
    ledger.write(request_.key(), job_id="ftjob-gone", run_id=None, request=request_)
    ledger.write(other.key(), job_id="ftjob-theirs", run_id=None, request=other)
    assert outcomes(profile, provider) == [("job", "ftjob-gone", "finished")]
    assert [entry.job_id for entry in ledger.entries()] == ["ftjob-theirs"]


def test_a_run_whose_job_is_gone_is_reported(profile: Profile, provider: FakeFinetuning) -> None:
    prefect = PrefectRun(run_id="p-1", name="retrain local", address="http://127.0.0.1/p-1")
    opened = track.open_run(profile, prefect, {"zava.job_id": "ftjob-gone"})
    assert outcomes(profile, provider) == [("run", opened.run_id, "reported")]


def test_uploads_without_a_job_are_listed_and_removed(profile: Profile, provider: FakeFinetuning) -> None:
    client = provider.client()
    for name in ("zava-0123456789ab-train.jsonl", "zava-0123456789ab-valid.jsonl", "mine.jsonl"):
        client.files.create(file=(name, b"{}"), purpose="fine-tune")
    client.files.create(file=("zava-ba9876543210-train.jsonl", b"{}"), purpose="fine-tune")
    provider.files["file-4"]["created_at"] = time.time()  # on its way to a job
    a_job(provider, "k" * 64)
    found = reconcile.idle_things(profile, client)
    assert [(item.kind, item.id) for item in found] == [("upload", "file-2")]
    reconcile.removed(profile, client, found)
    assert set(provider.files) == {"file-1", "file-3", "file-4"}
