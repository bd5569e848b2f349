"""What Prefect and MLflow add to a run: the same loop with both and with neither, each in a process of its own.

python -m tests.bench.bench_overhead [--rounds 3] [--most 15]

A real Prefect server and a real MLflow server run on free ports; the provider answers at once, so the stages take next
to nothing and what is left is overhead. Imports are part of it. The CPU time of the process is given beside the wall
time, for a machine that is busy with other things.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from infra.services import catalog
from tests.fake_finetuning import FakeFinetuning, step_events

if TYPE_CHECKING:
    from tasks.core.config import Profile

SETTINGS = (
    "training.base_model=base",
    "training.poll_seconds=0.05",
    "synthesis.train_conversations=20",
    "synthesis.valid_conversations=5",
    "synthesis.heldout_conversations=5",
    "evaluation.arms=[]",
)
STEPS = 300


def main() -> int:
    """Run the benchmark, print its figures as JSON, and return 1 where they miss the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=float, default=15.0, help="seconds")
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return _child(*options.child)
    with tempfile.TemporaryDirectory() as name:
        figures = _measure(Path(name), options.rounds)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return int(figures["added_s"] > options.most)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _measure(folder: Path, rounds: int) -> dict[str, float]:
    mlflow, prefect = catalog.mlflow(_free_port(), folder), catalog.prefect(_free_port(), folder)
    servers = catalog.supervisor(folder, (mlflow, prefect))
    began = time.monotonic()
    servers.up()
    start_s = time.monotonic() - began
    taken: dict[str, list[dict[str, float]]] = {"plain": [], "full": []}
    try:
        for number in range(rounds):
            for kind in taken:
                taken[kind].append(_run(kind, folder / f"{kind}-{number}", mlflow.address, prefect.port))
    finally:
        servers.down()
    plain, full = (median(run["wall_s"] for run in taken[kind]) for kind in ("plain", "full"))
    cpu = [median(run["cpu_s"] for run in taken[kind]) for kind in ("plain", "full")]
    return {
        "servers_start_s": round(start_s, 1),
        "plain_s": round(plain, 2),
        "full_s": round(full, 2),
        "added_s": round(full - plain, 2),
        "added_cpu_s": round(cpu[1] - cpu[0], 2),
        "load": round(os.getloadavg()[0], 1),
    }


def _run(kind: str, workspace: Path, mlflow: str, prefect_port: int) -> dict[str, float]:
    """Run the loop once in a fresh process against a fresh provider and workspace; return seconds."""
    with FakeFinetuning(states=["running", "succeeded"], events=step_events(STEPS), models={"base"}) as provider:
        command = [sys.executable, "-m", "tests.bench.bench_overhead", "--child", kind, str(workspace)]
        env = {
            **os.environ,
            **catalog.client_environment(workspace.parent, f"http://127.0.0.1:{prefect_port}"),
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        }
        began = time.monotonic()
        done = subprocess.run(
            [*command, provider.base_url, mlflow], env=env, check=True, capture_output=True, text=True
        )
        return {"wall_s": time.monotonic() - began, "cpu_s": float(done.stdout.splitlines()[-1])}


def _child(kind: str, workspace: str, base_url: str, mlflow: str) -> int:
    from tasks.core.config import load_profile

    given = (f"workspace={workspace}", f"provider.base_url={base_url}", f"tracking.mlflow_uri={mlflow}")
    profile = load_profile("local", (*SETTINGS, *given))
    if kind == "full":
        from flows.retrain import retrain

        retrain(profile)
    else:
        _plain(profile)
    sys.stdout.write(f"{time.process_time()}\n")
    return 0


def _plain(profile: "Profile") -> None:
    """The stages of `retrain` without Prefect and without MLflow."""
    from tasks import measure, train, upload, wait
    from tasks.artifacts import workspace
    from tasks.clients import openai_client
    from tasks.core.training import finished_model_id
    from tasks.evaluate import compare_reports

    dataset = measure.dataset(profile, measure.conversations(profile))
    base_id = profile.training.base_model
    base = measure.report(profile, "base", base_id, dataset.decisions)
    measure.story(profile, "base", base_id)
    with openai_client(profile.provider) as client:
        rows, valid = (upload.training_file(client, file) for file in (dataset.split.train, dataset.split.valid))
        version = train.version_of(client, base_id)
        request = train.request_of(profile.provider, profile.training, rows, valid, base_version=version)
        job, _ = train.start_job(client, request, workspace(profile).ledger)
        ended = wait.wait_for_model(client, job, profile.training, wait.Listeners())
    model_id = finished_model_id(ended) or ""
    tuned = measure.report(profile, "tuned", model_id, dataset.decisions)
    measure.story(profile, "tuned", model_id)
    compare_reports(base, tuned, dataset.decisions, profile.evaluation)


if __name__ == "__main__":
    sys.exit(main())
