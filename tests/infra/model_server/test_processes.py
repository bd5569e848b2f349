"""Several processes, one for each GPU, train a job as one does; here they share a CPU."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from infra.model_server.progress import PAUSE_NAME, Checkpoint, Hyperparameters, ProgressReader
from infra.model_server.runner import trainer_command
from infra.model_server.trainer import run
from tests.infra.model_server.test_trainer import job_folder, steps_in

UNEVEN = Hyperparameters(n_epochs=2, batch_size=23, learning_rate_multiplier=1)
"""Of 24 rows, so that each second step has a row for one process only."""


def train(job_dir: Path, processes: int) -> None:
    """Train a job as the server does."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (
        (job_dir / "trainer.log").open("ab") as log,
        subprocess.Popen(
            trainer_command(job_dir, processes), stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment
        ) as trainer,
    ):
        # Without `communicate`, which would close the pipe: trainers end when their server's end of it does.
        status = trainer.wait()
    assert status == 0, (job_dir / "trainer.log").read_text()


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path: Path, models_dir: Path) -> None:
    alone, shared = (job_folder(tmp_path / name, models_dir, hyperparameters=UNEVEN) for name in ("alone", "shared"))
    run.run_job(alone)
    (shared / PAUSE_NAME).touch()
    train(shared, 2)
    assert [step.step for step in steps_in(shared)] == [1]
    (shared / PAUSE_NAME).unlink()
    train(shared, 2)

    expected, found = steps_in(alone), steps_in(shared)
    assert [step.step for step in found] == [step.step for step in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-3, abs=1e-4)
    records = [[dated.record for dated in ProgressReader(job).new_records()] for job in (alone, shared)]
    checkpoints = [[record for record in of_job if isinstance(record, Checkpoint)] for of_job in records]
    assert checkpoints[0] == checkpoints[1]
    [weights] = (alone / "model").glob("*.safetensors")
    tensors = load_file(weights), load_file(shared / "model" / weights.name)
    assert all(torch.allclose(tensors[0][name], tensors[1][name], atol=1e-3) for name in tensors[0])


def test_one_gpu_or_none_needs_no_launcher(tmp_path: Path) -> None:
    for gpus in (0, 1):
        assert trainer_command(tmp_path, gpus)[1:3] == ["-m", "infra.model_server.trainer"]
    assert "--nproc-per-node=4" in trainer_command(tmp_path, 4)
