"""A job is created exactly once, whatever happens on the way."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import train
from tasks.core.config import TrainingConfig
from tasks.core.dataset import UploadedFile
from tasks.core.endpoints import ProviderConfig
from tasks.core.errors import ProviderError, ProviderUnavailableError
from tasks.core.training import TrainingRequest
from tasks.ledger import Ledger
from tests.fake_finetuning import FakeFinetuning

CREATE = "POST /fine_tuning/jobs"
TRAIN = UploadedFile(file_id="file-1", sha256="a" * 64, bytes=10)
VALID = UploadedFile(file_id="file-2", sha256="b" * 64, bytes=10)


@pytest.fixture
def provider() -> Iterator[FakeFinetuning]:
    with FakeFinetuning(states=["running"]) as provider:
        yield provider


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "jobs")


def a_request(**changes: object) -> TrainingRequest:
    config = TrainingConfig(base_model="base", n_epochs=3)
    request = train.request_of(ProviderConfig(kind="local"), config, TRAIN, VALID, base_version="1")
    return request.model_copy(update=changes)


def no_pause(seconds: float) -> None:
    """Take no time."""


def test_a_job_is_created_with_its_key_and_without_automatic_values(provider: FakeFinetuning, ledger: Ledger) -> None:
    job, adopted = train.start_job(provider.client(), a_request(), ledger, run_id="run-1")
    assert not adopted
    (held,) = provider.jobs.values()
    assert held["metadata"]["zava_job_key"] == a_request().key() == job.job_key
    assert held["method"] == {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}
    entry = ledger.read(job.job_key)
    assert entry is not None
    assert entry.job_id == job.job_id
    assert [e.job_id for e in ledger.of_run("run-1")] == [job.job_id]


@pytest.mark.parametrize("filters", [True, False], ids=["filtering", "ignoring-the-filter"])
def test_a_second_start_adopts_the_living_job(provider: FakeFinetuning, ledger: Ledger, filters: bool) -> None:
    provider.filters_metadata = filters
    other, _ = train.start_job(provider.client(), a_request(seed=99), ledger)
    first, _ = train.start_job(provider.client(), a_request(), ledger)
    again, adopted = train.start_job(provider.client(), a_request(), ledger)
    assert adopted
    assert again.job_id == first.job_id != other.job_id
    assert provider.count(CREATE) == 2


def test_a_succeeded_job_is_adopted_only_while_its_model_is_served(provider: FakeFinetuning, ledger: Ledger) -> None:
    client = provider.client()
    provider.states = ["succeeded"]
    first, _ = train.start_job(client, a_request(), ledger)
    model_id = train.read_job(client, first.job_id, first.job_key).model_id
    again, adopted = train.start_job(client, a_request(), ledger)
    assert adopted
    assert again.model_id == model_id
    provider.models.clear()
    fresh, adopted = train.start_job(client, a_request(), ledger)
    assert not adopted
    assert fresh.job_id != first.job_id


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_job_that_ended_badly_is_not_adopted(provider: FakeFinetuning, ledger: Ledger, state: str) -> None:
    first, _ = train.start_job(provider.client(), a_request(), ledger)
    provider.jobs[first.job_id]["status"] = state
    second, adopted = train.start_job(provider.client(), a_request(), ledger)
    assert not adopted
    assert second.job_id != first.job_id


@pytest.mark.parametrize("fault", [{"reset": True}, {"status": 500}, {"status": 502}, {"status": 409}])
def test_a_lost_answer_after_the_server_acted_leaves_exactly_one_job(
    provider: FakeFinetuning, ledger: Ledger, fault: dict[str, object]
) -> None:
    provider.fail("POST", "/fine_tuning/jobs", acted=True, **fault)
    job, _ = train.start_job(provider.client(max_retries=4), a_request(), ledger, sleep=no_pause)
    assert list(provider.jobs) == [job.job_id]
    assert provider.count(CREATE) == 1


@pytest.mark.parametrize("fault", [{"reset": True}, {"status": 500}, {"status": 503}])
def test_a_fault_before_the_server_acted_is_told_and_the_next_try_creates_one(
    provider: FakeFinetuning, ledger: Ledger, fault: dict[str, object]
) -> None:
    provider.fail("POST", "/fine_tuning/jobs", **fault)
    with pytest.raises(ProviderUnavailableError):
        train.start_job(provider.client(), a_request(), ledger, sleep=no_pause)
    assert provider.jobs == {}
    train.start_job(provider.client(), a_request(), ledger, sleep=no_pause)
    assert len(provider.jobs) == 1


def test_a_run_killed_while_creating_looks_longer_and_adopts(provider: FakeFinetuning, ledger: Ledger) -> None:
    key = a_request().key()
    ledger.write(key, job_id=None, run_id="killed")
    pauses: list[float] = []

    def appear(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            provider._create_job({"model": "base", "metadata": {"zava_job_key": key}, "training_file": "f"})

    job, adopted = train.start_job(provider.client(), a_request(), ledger, sleep=appear)
    assert adopted
    assert list(provider.jobs) == [job.job_id]
    assert provider.count(CREATE) == 0


def test_two_runs_at_once_create_one_job(provider: FakeFinetuning, ledger: Ledger) -> None:
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda: ids.append(train.start_job(provider.client(), a_request(), ledger)[0].job_id))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert provider.count(CREATE) == 1


@pytest.mark.parametrize(("status", "code"), [(400, None), (401, None), (403, None), (429, "insufficient_quota")])
def test_a_refusal_is_final(provider: FakeFinetuning, ledger: Ledger, status: int, code: str | None) -> None:
    provider.fail("POST", "/fine_tuning/jobs", status=status, code=code)
    with pytest.raises(ProviderError, match=str(status)) as caught:
        train.start_job(provider.client(), a_request(), ledger, sleep=no_pause)
    assert not isinstance(caught.value, ProviderUnavailableError)


def test_a_server_that_is_down_is_told_with_the_way_out(provider: FakeFinetuning, ledger: Ledger) -> None:
    client = provider.client().with_options(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ProviderUnavailableError, match="zava status"):
        train.start_job(client, a_request(), ledger, sleep=no_pause)


def test_null_fields_and_unknown_states_are_read(provider: FakeFinetuning, ledger: Ledger) -> None:
    provider.states = ["warming_up"]
    job, _ = train.start_job(provider.client(), a_request(), ledger)
    provider.jobs[job.job_id].update(created_at=None, result_files=None, metadata=None, seed=None)
    read = train.read_job(provider.client(), job.job_id, job.job_key)
    assert (read.state, read.provider_state, read.result_file_ids) == ("unknown", "warming_up", ())


def test_a_base_model_that_was_made_anew_is_another_job(provider: FakeFinetuning) -> None:
    provider.models.add("base")
    assert train.version_of(provider.client(), "base") == "1"
    assert a_request(base_version="2").key() != a_request().key()


def test_a_model_that_does_not_exist_is_told(provider: FakeFinetuning) -> None:
    with pytest.raises(ProviderError, match="Cannot use model 'nobody'"):
        train.version_of(provider.client(), "nobody")


def test_a_job_that_lost_its_metadata_is_known_by_what_it_is_made_from(
    provider: FakeFinetuning, ledger: Ledger, tmp_path: Path
) -> None:
    provider.keeps_metadata = False
    first, _ = train.start_job(provider.client(), a_request(), ledger)
    again, adopted = train.start_job(provider.client(), a_request(), Ledger(tmp_path / "elsewhere"))
    assert adopted
    assert again.job_id == first.job_id
    for other in ({"seed": 8}, {"hyperparameters": {"n_epochs": 4}}, {"base_model": "another"}):
        _, adopted = train.start_job(provider.client(), a_request(**other), ledger)
        assert not adopted


def test_what_a_server_refuses_is_left_out_and_settings_take_the_older_form(
    provider: FakeFinetuning, ledger: Ledger
) -> None:
    train.start_job(provider.client(), a_request(leave_out=frozenset({"metadata", "method", "seed"})), ledger)
    (held,) = provider.jobs.values()
    assert held["hyperparameters"] == {"n_epochs": 3}
    assert not {"method", "seed"} & set(held)


@pytest.mark.parametrize(
    ("name", "told"), [("openai:", "use provider local, azure or compatible"), ("azure:", "may not train models there")]
)
def test_a_refusal_to_train_says_where_else(provider: FakeFinetuning, ledger: Ledger, name: str, told: str) -> None:
    provider.fail("POST", "/fine_tuning/jobs", status=403)
    with pytest.raises(ProviderError, match=told):
        train.start_job(provider.client(), a_request(provider=name), ledger)


def test_a_page_where_json_should_be_is_no_answer(provider: FakeFinetuning, ledger: Ledger) -> None:
    provider.fail("POST", "/fine_tuning/jobs", garbage=True, acted=True)
    provider.fail("GET", "/fine_tuning/jobs", garbage=True)
    with pytest.raises(ProviderUnavailableError, match="list the fine-tuning jobs"):
        train.start_job(provider.client(), a_request(), ledger, sleep=no_pause)
    job, adopted = train.start_job(provider.client(), a_request(), ledger, sleep=no_pause)
    assert not adopted
    assert list(provider.jobs) == [job.job_id]
