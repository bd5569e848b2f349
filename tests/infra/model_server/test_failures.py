"""A job ends as it should when its trainer is killed, it is cancelled, or the disk is full; the server goes on."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.infra.model_server import kills, live

KILLED = "The trainer was killed by signal 9. The machine may have run out of memory."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[live.ServerProcess]:
    server = live.ServerProcess(tmp_path_factory.mktemp("failing"), models_dir)
    server.start()
    with server.client:
        yield server
    server.stop()


@pytest.mark.slow
def test_killed_cancelled_and_waiting_jobs_end_as_they_should(server: live.ServerProcess) -> None:
    client = server.client
    doomed, waiting, last = kills.start_job(client), kills.start_job(client), kills.start_job(client)
    kills.wait_for_step(client, doomed, 1)
    assert client.fine_tuning.jobs.retrieve(waiting).status == "queued"
    assert client.fine_tuning.jobs.cancel(waiting).status == "cancelled"
    assert client.fine_tuning.jobs.cancel(waiting).status == "cancelled"

    [trainer] = live.trainer_pids(doomed)
    live.kill(trainer)
    failed = live.finished(client, doomed)
    assert failed.status == "failed"
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == ("trainer_killed", KILLED)
    kills.assert_no_doubles(client, doomed)

    kills.wait_for_step(client, last, 1)
    assert client.fine_tuning.jobs.cancel(last).status == "cancelled"
    live.wait_until(lambda: not live.trainer_pids(last), "the cancelled trainer to end")
    states = [job.status for job in list(client.fine_tuning.jobs.list(limit=3))[:3]]
    assert states == ["cancelled", "cancelled", "failed"]
    assert live.trainer_pids(waiting) == []


@pytest.mark.slow
def test_a_full_disk_fails_the_job_and_refuses_the_upload_and_the_server_goes_on(server: live.ServerProcess) -> None:
    client = server.client
    # A limit on the size of files is as close to a full disk as a test gets without rights of its own.
    server.limit_files(1 << 20)
    with pytest.raises(openai.APIStatusError) as refusal:
        client.files.create(file=("large.txt", b"x" * (2 << 20)), purpose="user_data")
    assert (refusal.value.status_code, refusal.value.code) == (507, "storage_full")
    server.limit_files(resource.RLIM_INFINITY)

    job_id = kills.start_job(client)
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
