"""Jobs survive what happens to their server; at random moments: tests/bench/bench_kills.py."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.model_server.progress import ProgressReader
from tests.infra.model_server import kills, live


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[live.ServerProcess]:
    server = live.ServerProcess(tmp_path_factory.mktemp("durable"), models_dir)
    server.start()
    with server.client:
        yield server
    # The server ends in order, and then by the signal that it was sent.
    assert server.stop() == -signal.SIGTERM


@pytest.mark.slow
def test_a_paused_job_frees_the_trainer_and_goes_on_where_it_was_also_after_kills(server: live.ServerProcess) -> None:
    client, jobs = server.client, server.client.fine_tuning.jobs
    job_id = kills.start_job(client)
    kills.wait_for_step(client, job_id, 3)
    assert jobs.pause(job_id).status == "paused"  # type: ignore[comparison-overlap]
    live.wait_until(lambda: not live.trainer_pids(job_id), "the paused trainer to end")
    done = live.steps_of(client, job_id)
    assert 3 <= len(done) < kills.STEPS
    server.kill()
    server.start()
    assert jobs.retrieve(job_id).status == "paused"  # type: ignore[comparison-overlap]
    assert live.trainer_pids(job_id) == []

    jobs.resume(job_id)
    kills.wait_for_step(client, job_id, len(done) + 1)
    [trainer] = live.trainer_pids(job_id)
    server.kill()
    live.wait_until(lambda: not live.trainer_pids(job_id), "the orphaned trainer to end")
    server.start()
    job = live.finished(client, job_id)
    assert job.status == "succeeded"
    assert trainer not in live.trainer_pids(job_id)
    kills.assert_whole(client, job)
    assert list(ProgressReader(server.data / "jobs" / job_id).new_records()) == []
    messages = [event.message for event in jobs.list_events(job_id, limit=100)]
    assert messages.count("Fine-tuning job paused") == messages.count("Fine-tuning job resumed") == 1
    assert "The training was interrupted; it goes on from its last saved state" in messages
