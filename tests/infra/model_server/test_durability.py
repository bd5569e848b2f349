"""Jobs survive what happens to their server, their trainer and their disk."""

import random
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from infra.model_server.progress import ProgressReader
from tests.infra.model_server import kills, live, tiny

EPOCHS = 36
STEPS = EPOCHS * 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[live.ServerProcess]:
    server = live.ServerProcess(tmp_path_factory.mktemp("durable"), models_dir)
    server.start()
    with server.client:
        yield server
    # The server ends in order, and then by the signal that it was sent.
    assert server.stop() == -signal.SIGTERM


KILLED = "The trainer was killed by signal 9. The machine may have run out of memory."


def start_job(client: OpenAI) -> str:
    file = client.files.create(file=("t.jsonl", tiny.jsonl(48)), purpose="fine-tune")
    return client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, seed=7,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": EPOCHS}}},
    ).id  # fmt: skip


def wait_for_step(client: OpenAI, job_id: str, step: int) -> None:
    live.wait_until(lambda: len(live.steps_of(client, job_id)) >= step, f"step {step} of {job_id}")


@pytest.mark.slow
def test_a_job_goes_on_where_it_was_after_its_server_was_killed(server: live.ServerProcess) -> None:
    job_id = start_job(server.client)
    wait_for_step(server.client, job_id, 14)
    [trainer] = live.trainer_pids(job_id)
    server.kill()
    live.wait_until(lambda: not live.trainer_pids(job_id), "the orphaned trainer to end")

    server.start()
    job = live.finished(server.client, job_id)
    assert job.status == "succeeded"
    assert trainer not in live.trainer_pids(job_id)
    assert live.steps_of(server.client, job_id) == list(range(1, STEPS + 1))
    text = server.client.files.content(job.result_files[0]).text
    assert [line.split(",")[0] for line in text.splitlines()[1:]] == [str(step) for step in range(1, STEPS + 1)]
    messages = [event.message for event in server.client.fine_tuning.jobs.list_events(job_id, limit=100)]
    assert "The training was interrupted; it goes on from its last saved state" in messages
    assert len(list(server.client.fine_tuning.jobs.checkpoints.list(job_id, limit=5))) == EPOCHS
    assert job.fine_tuned_model is not None
    answer = server.client.chat.completions.create(
        model=job.fine_tuned_model, messages=[{"role": "user", "content": "Please find k1."}], max_tokens=3
    )
    assert answer.choices


@pytest.mark.slow
def test_killed_cancelled_and_waiting_jobs_end_as_they_should(server: live.ServerProcess) -> None:
    client = server.client
    doomed, waiting, last = start_job(client), start_job(client), start_job(client)
    wait_for_step(client, doomed, 1)
    assert client.fine_tuning.jobs.retrieve(waiting).status == "queued"
    assert client.fine_tuning.jobs.cancel(waiting).status == "cancelled"
    assert client.fine_tuning.jobs.cancel(waiting).status == "cancelled"

    [trainer] = live.trainer_pids(doomed)
    live.kill(trainer)
    failed = live.finished(client, doomed)
    assert failed.status == "failed"
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == ("trainer_killed", KILLED)

    wait_for_step(client, last, 1)
    assert client.fine_tuning.jobs.cancel(last).status == "cancelled"
    live.wait_until(lambda: not live.trainer_pids(last), "the cancelled trainer to end")
    states = [job.status for job in list(client.fine_tuning.jobs.list(limit=3))[:3]]
    assert states == ["cancelled", "cancelled", "failed"]
    assert live.trainer_pids(waiting) == []


@pytest.mark.slow
def test_kills_at_random_moments_lose_and_double_nothing(server: live.ServerProcess) -> None:
    # tests/bench/bench_kills.py does the same with twenty kills.
    draw = random.Random(20)
    kills.kill_server(server, 2, draw, longest=15.0)
    kills.kill_trainer(server, draw, longest=10.0)


@pytest.mark.slow
def test_a_paused_job_frees_the_trainer_and_goes_on_where_it_was(server: live.ServerProcess) -> None:
    client, jobs = server.client, server.client.fine_tuning.jobs
    job_id = start_job(client)
    wait_for_step(client, job_id, 3)
    assert jobs.pause(job_id).status == "paused"  # type: ignore[comparison-overlap]
    live.wait_until(lambda: not live.trainer_pids(job_id), "the paused trainer to end")
    done = live.steps_of(client, job_id)
    assert 3 <= len(done) < STEPS
    server.kill()
    server.start()
    assert jobs.retrieve(job_id).status == "paused"  # type: ignore[comparison-overlap]
    assert live.trainer_pids(job_id) == []

    jobs.resume(job_id)
    job = live.finished(client, job_id)
    assert job.status == "succeeded"
    assert live.steps_of(client, job_id) == list(range(1, STEPS + 1))
    records = [dated.record for dated in ProgressReader(server.data / "jobs" / job_id).new_records()]
    assert records == []
    messages = [event.message for event in jobs.list_events(job_id, limit=100)]
    assert messages.count("Fine-tuning job paused") == messages.count("Fine-tuning job resumed") == 1


@pytest.mark.slow
def test_a_full_disk_fails_the_job_and_refuses_the_upload_and_the_server_goes_on(server: live.ServerProcess) -> None:
    client = server.client
    # A limit on the size of files is as close to a full disk as a test gets without rights of its own.
    server.limit_files(1 << 20)
    with pytest.raises(openai.APIStatusError) as refusal:
        client.files.create(file=("large.txt", b"x" * (2 << 20)), purpose="user_data")
    assert (refusal.value.status_code, refusal.value.code) == (507, "storage_full")
    server.limit_files(resource.RLIM_INFINITY)

    job_id = start_job(client)
    live.wait_until(lambda: bool(live.trainer_pids(job_id)), f"the trainer of {job_id}")
    [trainer] = live.trainer_pids(job_id)
    resource.prlimit(trainer, resource.RLIMIT_FSIZE, (100_000, 100_000))
    job = live.finished(client, job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.code == "storage_full"
    assert "disk has no room" in job.error.message

    assert client.files.create(file=("large.txt", b"x" * (2 << 20)), purpose="user_data").bytes == 2 << 20
    messages: Any = [{"role": "user", "content": "Please find k1."}]
    assert client.chat.completions.create(model="tiny", messages=messages, max_tokens=1).choices
