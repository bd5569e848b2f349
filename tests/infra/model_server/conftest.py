"""One server for the tests that only look, and one small job that was trained on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob, SupervisedHyperparametersParam

from infra.model_server.settings import Settings
from tests.infra.model_server import live, tiny


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.build(folder / "tiny")
    tiny.build(folder / "tiny-conv", kind="lfm2")
    return folder


@pytest.fixture(scope="session")
def port(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[int]:
    with live.serving(Settings(data=tmp_path_factory.mktemp("data"), models=models_dir)) as port:
        yield port


@pytest.fixture(scope="session")
def client(port: int) -> Iterator[OpenAI]:
    with live.client_of(port) as client:
        yield client


@pytest.fixture(scope="session")
def trained(client: OpenAI) -> FineTuningJob:
    """A job that has succeeded: 48 conversations, three epochs."""
    training = client.files.create(file=("train.jsonl", tiny.jsonl(48)), purpose="fine-tune")
    validation = client.files.create(file=("valid.jsonl", tiny.jsonl(8, 100)), purpose="fine-tune")
    choices: SupervisedHyperparametersParam = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 5}
    job = client.fine_tuning.jobs.create(
        model="tiny",
        training_file=training.id,
        validation_file=validation.id,
        suffix="agent",
        seed=7,
        metadata={"key": "value", "run": "first"},
        method={"type": "supervised", "supervised": {"hyperparameters": choices}},
    )
    return live.finished(client, job.id)
