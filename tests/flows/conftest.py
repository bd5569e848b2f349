"""A real Prefect server, a real MLflow store, and a provider whose tuned model knows the right answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

from tasks.core.config import Profile
from tests.fake_finetuning import FakeFinetuning, step_events
from tests.loop import a_profile, model_of


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[FakeFinetuning]:
    with FakeFinetuning(
        states=["queued", "running", "succeeded"],
        events=step_events(12),
        models={"base"},
        chat=model_of(tmp_path / "workspace"),
    ) as provider:
        yield provider


@pytest.fixture
def profile(provider: FakeFinetuning, tmp_path: Path) -> Profile:
    return a_profile(provider.base_url, tmp_path)
