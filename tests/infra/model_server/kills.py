"""Kills of server and trainer at random moments of a job, and what must hold of the job afterwards."""

import random
import time
from typing import Any

from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from tests.infra.model_server import live, tiny

EPOCHS = 20
STEPS = EPOCHS * 2
"""Enough that a job is still under way when what was seen of it is acted upon."""


def start_job(client: OpenAI) -> str:
    """Start a job of two steps an epoch."""
    file = client.files.create(file=("t.jsonl", tiny.jsonl(48)), purpose="fine-tune")
    choices: Any = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": EPOCHS}}}
    return client.fine_tuning.jobs.create(model="tiny", training_file=file.id, seed=7, method=choices).id


def wait_for_step(client: OpenAI, job_id: str, step: int) -> None:
    """Wait until a job has reported so many steps."""
    live.wait_until(lambda: len(live.steps_of(client, job_id)) >= step, f"step {step} of {job_id}")


def kill_server(server: live.ServerProcess, times: int, draw: random.Random, longest: float) -> FineTuningJob:
    """Kill the server again and again while it has one job to do; return the job, which must have succeeded."""
    job_id = start_job(server.client)
    for _ in range(times):
        time.sleep(draw.uniform(0, longest))
        server.kill()
        server.start()
    job = live.finished(server.client, job_id)
    assert job.status == "succeeded", job.error
    assert_whole(server.client, job)
    return job


def kill_trainer(server: live.ServerProcess, draw: random.Random, longest: float) -> FineTuningJob:
    """Kill a job's trainer at some moment; return the job, which must have failed unless it had ended before."""
    client = server.client
    job_id = start_job(client)
    live.wait_until(lambda: bool(live.trainer_pids(job_id)), f"the trainer of {job_id}")
    time.sleep(draw.uniform(0, longest))
    for pid in live.trainer_pids(job_id):
        live.kill(pid)
    job = live.finished(client, job_id)
    if job.status == "failed":
        assert job.error is not None
        assert job.error.code == "trainer_killed"
        assert_no_doubles(client, job_id)
    else:
        assert_whole(client, job)
    return job


def assert_no_doubles(client: OpenAI, job_id: str) -> None:
    """Fail if an event came twice, or a step is missing between two others."""
    events = list(client.fine_tuning.jobs.list_events(job_id, limit=100))
    assert len({event.id for event in events}) == len(events)
    steps = live.steps_of(client, job_id)
    assert steps == list(range(1, len(steps) + 1))


def assert_whole(client: OpenAI, job: FineTuningJob) -> None:
    """Fail unless a succeeded job has each step, each checkpoint, its result file and a model that answers."""
    assert_no_doubles(client, job.id)
    assert live.steps_of(client, job.id) == list(range(1, STEPS + 1))
    assert len(list(client.fine_tuning.jobs.checkpoints.list(job.id, limit=5))) == EPOCHS
    lines = client.files.content(job.result_files[0]).text.splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", *map(str, range(1, STEPS + 1))]
    assert job.fine_tuned_model is not None
    answer = client.chat.completions.create(
        model=job.fine_tuned_model, messages=[{"role": "user", "content": "Please find k1."}], max_tokens=3
    )
    assert answer.choices
