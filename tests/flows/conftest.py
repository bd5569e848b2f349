"""A real Prefect server with its scheduler, a real MLflow store, and a provider whose tuned model is always right."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from infra.services import catalog
from tasks.core.config import Profile
from tests.fake_finetuning import FakeFinetuning
from tests.loop import Shared, a_profile, a_provider
from tests.ports import free_port


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run the server as `zava up` does: the one that Prefect itself offers for tests schedules nothing."""
    folder, port = tmp_path_factory.mktemp("prefect"), free_port()
    supervisor = catalog.supervisor(folder, (catalog.prefect(port, folder),))
    client = {PREFECT_API_URL: f"http://127.0.0.1:{port}/api", PREFECT_HOME: str(catalog.prefect_home(folder))}
    try:
        supervisor.up()
        with temporary_settings(client):
            yield
    finally:
        supervisor.down()


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[FakeFinetuning]:
    with a_provider(tmp_path) as provider:
        yield provider


@pytest.fixture
def profile(provider: FakeFinetuning, tmp_path: Path) -> Profile:
    return a_profile(provider.base_url, tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """One workspace for the tests of a file: each finds the work of those before it done."""
    folder = tmp_path_factory.mktemp("shared")
    with a_provider(folder) as provider:
        yield Shared(a_profile(provider.base_url, folder), provider)
