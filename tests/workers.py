"""A real Prefect worker with its pool and deployment, that can be killed with all that it started."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.flows import Flow
from prefect.settings import PREFECT_API_URL, PREFECT_HOME
from prefect.workers.process import ProcessWorker

from tasks.core.config import Profile

POOL = "workers"


def deploy(flow: Flow[..., Any], entrypoint: str) -> UUID:
    """Let workers run a flow; return the id of the deployment."""
    template = ProcessWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name=POOL, type="process", base_job_template=template)
    with get_client(sync_client=True) as client:
        client.create_work_pool(pool, overwrite=True)
        return client.create_deployment(
            client.create_flow(flow), name=POOL, work_pool_name=POOL, path=str(Path.cwd()), entrypoint=entrypoint
        )


def submit(deployment_id: UUID, profile: Profile) -> UUID:
    """Ask for a run of a deployment; return its id."""
    parameters = {"profile": profile.model_dump(mode="json")}
    with get_client(sync_client=True) as client:
        return client.create_flow_run_from_deployment(deployment_id, parameters=parameters).id


@contextmanager
def a_worker(log: Path, pool: str = POOL, limit: int = 1) -> Iterator[psutil.Popen]:
    """Run a worker; at the end it is killed with -9, and the run that it was at with it."""
    env = {
        **os.environ,
        "PREFECT_API_URL": PREFECT_API_URL.value() or "",
        "PREFECT_HOME": str(PREFECT_HOME.value()),
        "PYTHONPATH": str(Path.cwd()),
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--limit", str(limit)]
    with log.open("ab") as out, psutil.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT) as worker:
        try:
            yield worker
        finally:
            for process in (worker, *worker.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
