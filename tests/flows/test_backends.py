"""What a team uses: Prefect, MLflow and the shop on one PostgreSQL server, files in S3. The whole loop runs on it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mcp import Client
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from sqlalchemy import create_engine, text

from flows import deployments
from flows.build_dataset import build_dataset
from flows.results import provide_results
from flows.retrain import retrain
from infra.services import catalog
from tasks import storing
from tasks.artifacts import workspace
from tasks.core.config import Profile, overridden
from tasks.core.run import RunSummary, verdict
from tests import object_stores
from tests.loop import a_provider, a_small_profile
from tests.object_stores import BUCKET, KEYS, ObjectStore
from tests.ports import free_port
from tests.postgres import running
from zava_mcp.database import load_shop, open_engine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
DATABASES = ("prefect", "mlflow", "shop")
# Both servers lay out their tables first.
START_S = 600.0


class Team(NamedTuple):
    """Everything that runs, and the profile that uses it."""

    profile: Profile
    postgres: str
    store: ObjectStore
    shop_address: str

    def url(self, database: str, driver: str = "psycopg") -> str:
        return f"postgresql+{driver}://{self.postgres}/{database}"

    def asked(self, database: str, query: str) -> Any:
        """Return the one value that a query of a database finds."""
        engine = create_engine(self.url(database))
        try:
            with engine.connect() as connection:
                return connection.execute(text(query)).scalar_one()
        finally:
            engine.dispose()

    def keys(self, prefix: str) -> list[str]:
        pages = self.store.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    ports = {name: free_port() for name in DATABASES}
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in KEYS.items():
            patch.setenv(name, value)
        postgres = stack.enter_context(running())
        store = stack.enter_context(object_stores.moto(folder))
        store.client().create_bucket(Bucket=BUCKET)
        provider = stack.enter_context(a_provider(folder))
        kept = (f"storage.url=s3://{BUCKET}/zava", f"storage.endpoint_url={store.endpoint_url}")
        profile = a_small_profile(provider.base_url, folder, f"http://127.0.0.1:{ports['mlflow']}", *kept)
        made = Team(profile, postgres, store, f"http://127.0.0.1:{ports['shop']}/mcp")
        _make_databases(made)
        supervisor = catalog.supervisor(folder, _services(made, ports, folder))
        stack.callback(supervisor.down)
        supervisor.up(budget_s=START_S)
        address = {PREFECT_API_URL: f"http://127.0.0.1:{ports['prefect']}/api"}
        stack.enter_context(temporary_settings(address | {PREFECT_HOME: str(catalog.prefect_home(folder))}))
        yield made


def _make_databases(team: Team) -> None:
    engine = create_engine(team.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in DATABASES:
            connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()


def _services(team: Team, ports: dict[str, int], folder: Path) -> tuple[catalog.Service, ...]:
    """Return the services of `zava up`, told by their own variables to keep nothing on this disk."""
    prefect, mlflow = catalog.prefect(ports["prefect"], folder), catalog.mlflow(ports["mlflow"], folder)
    options = ("--backend-store-uri", "--artifacts-destination")
    stores = {mlflow.command.index(option) + further for option in options for further in (0, 1)}
    return (
        catalog.shop(ports["shop"], folder, ("--seed", "7", "--database", team.url("shop"))),
        replace(
            mlflow,
            command=tuple(part for place, part in enumerate(mlflow.command) if place not in stores),
            env=mlflow.env
            | {
                "MLFLOW_BACKEND_STORE_URI": team.url("mlflow"),
                "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{BUCKET}/mlflow",
                "MLFLOW_S3_ENDPOINT_URL": team.store.endpoint_url,
            },
        ),
        replace(prefect, env=prefect.env | {"PREFECT_SERVER_DATABASE_CONNECTION_URL": team.url("prefect", "asyncpg")}),
    )


@pytest.fixture(scope="module")
def summary(team: Team) -> RunSummary:
    """Run the whole loop, its result kept as a deployed one's is."""
    block = provide_results(team.profile)["PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK"]
    return retrain.with_options(persist_result=True, result_storage=block, result_serializer="json")(team.profile)


def test_the_loop_runs_and_all_of_its_records_are_in_postgresql(team: Team, summary: RunSummary) -> None:
    assert verdict(summary.comparison).better
    found = f"FROM flow_run WHERE id = '{summary.prefect.run_id}'"
    assert team.asked("prefect", f"SELECT state_type {found}") == "COMPLETED"
    run = f"WHERE run_uuid = '{summary.tracked.run_id}'"
    assert team.asked("mlflow", f"SELECT status FROM runs {run}") == "FINISHED"
    assert team.asked("mlflow", f"SELECT count(*) FROM metrics {run}") > 50
    assert team.asked("mlflow", "SELECT count(*) FROM model_versions") == 1


def test_the_files_of_mlflow_are_in_s3_and_only_its_server_has_the_keys(team: Team, summary: RunSummary) -> None:
    place = team.asked("mlflow", f"SELECT artifact_uri FROM runs WHERE run_uuid = '{summary.tracked.run_id}'")
    assert place.startswith("mlflow-artifacts:/")
    kept = {key.partition("/artifacts/")[2] for key in team.keys("mlflow/") if summary.tracked.run_id in key}
    assert {"report/report.html", "dataset/train.jsonl", "profile.yaml"} <= kept


def test_a_second_machine_fetches_dataset_and_report(team: Team, summary: RunSummary, tmp_path: Path) -> None:
    second = overridden(team.profile, {"workspace": str(tmp_path / "second")})
    dataset = build_dataset(second)
    assert dataset.split.train.sha256 == summary.dataset.train.sha256
    assert Path(dataset.split.train.path).is_relative_to(tmp_path)
    assert not workspace(second).conversations.exists()
    tags = f"FROM tags WHERE run_uuid = '{summary.tracked.run_id}' AND key = "
    assert team.asked("mlflow", f"SELECT value {tags} 'zava.dataset_address'") == dataset.address
    assert team.asked("mlflow", f"SELECT value {tags} 'zava.report_address'") == summary.report_address
    storing.fetch(second, summary.report_address, tmp_path / "report")
    fetched = (tmp_path / "report" / "report.html").read_bytes()
    assert fetched == Path(summary.report_path).read_bytes()


def test_another_process_reads_the_result_of_a_run_from_the_bucket(team: Team, summary: RunSummary) -> None:
    assert team.keys("zava/results/")
    program = (
        "import json, sys; from prefect.client.orchestration import get_client; "
        "print(json.dumps(get_client(sync_client=True).read_flow_run(sys.argv[1]).state.result()))"
    )
    address = {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_HOME": str(PREFECT_HOME.value())}
    command = [sys.executable, "-c", program, str(summary.prefect.run_id)]
    told = subprocess.run(command, env=os.environ | address, capture_output=True, text=True, check=True)
    assert RunSummary.model_validate_json(told.stdout.splitlines()[-1]) == summary


def test_what_a_deployment_is_told_are_settings_of_prefect(team: Team) -> None:
    program = (
        "from prefect.settings import get_current_settings as s; r = s().results; "
        "print(r.default_storage_block, r.persist_by_default, r.default_serializer)"
    )
    [made] = deployments.deploy(team.profile, [build_dataset])
    with get_client(sync_client=True) as client:
        variables = client.read_deployment(made.deployment_id).job_variables["env"]
    told = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["s3-bucket/zava-local", "True", "json"]


@pytest.mark.anyio
async def test_the_shop_keeps_its_changes_in_postgresql(team: Team) -> None:
    engine = open_engine(team.url("shop"))
    order = next(order for order in load_shop(engine).orders.values() if order.status == "pending")
    async with Client(team.shop_address) as client:
        arguments = {"order_id": order.order_id, "reason": "no longer needed"}
        answer = await client.call_tool("cancel_pending_order", arguments)
    assert not answer.is_error, answer
    assert load_shop(engine).orders[order.order_id].status == "cancelled"
    engine.dispose()
