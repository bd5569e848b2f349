"""infra/prefect.yaml: made by `zava deploy --file`, and by `prefect deploy` the same deployments."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import PREFECT_API_URL, PREFECT_HOME
from prefect.workers.process import ProcessWorker

from flows.deployments import FLOWS, deploy
from tasks.core.config import Profile, load_profile
from tests.shell import zava

FILE = Path("infra/prefect.yaml")


def test_the_file_is_that_of_the_profile(tmp_path: Path) -> None:
    made = tmp_path / "prefect.yaml"
    code, out, _ = zava("deploy", "--profile", "team", "--file", str(made))
    assert (code, out) == (0, "")
    # Otherwise make it anew: zava deploy --profile team --file infra/prefect.yaml
    assert made.read_text() == FILE.read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_prefect_deploy_registers_what_zava_deploy_registers() -> None:
    profile = load_profile("team")
    pool = WorkPoolCreate(
        name=profile.deployment.pool, type="process", base_job_template=ProcessWorker.get_default_base_job_template()
    )
    env = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value() or "", "PREFECT_HOME": str(PREFECT_HOME.value())}
    with get_client(sync_client=True) as client:
        client.create_work_pool(pool, overwrite=True)
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(FILE)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        names = [f"{flow.name}/{profile.name}" for flow in FLOWS]
        by_file = [what_counts(client.read_deployment_by_name(name)) for name in names]
        deploy(profile)
        assert by_file == [what_counts(client.read_deployment_by_name(name)) for name in names]


def what_counts(deployment: DeploymentResponse) -> dict[str, object]:
    """Return what decides when, where and with what a deployment's runs are, but for the place of their results."""
    env = deployment.job_variables["env"]
    return {
        "entrypoint": deployment.entrypoint,
        "tags": sorted(deployment.tags),
        "profile": Profile.model_validate(deployment.parameters["profile"]),
        "is checked at creation": deployment.enforce_parameter_schema,
        "pool": deployment.work_pool_name,
        "env": {name: value for name, value in env.items() if not name.startswith("PREFECT_RESULTS_")},
        "schedules": [(one.slug, one.active, one.schedule) for one in deployment.schedules],
        "description": deployment.description,
    }
