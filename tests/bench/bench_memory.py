"""Memory of a training job over its size: ten times the conversations must not need much more.

python -m tests.bench.bench_memory [--rows 1000 10000] [--most 1.1]

Each size is a job of one epoch on a small random model, trained in a process of its own, as the server does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from infra.model_server.progress import SPEC_NAME, TRAINING_NAME, Hyperparameters, JobSpec
from infra.model_server.runner import trainer_command
from tests.infra.model_server import tiny


def main() -> int:
    """Run the benchmark, print its figures as JSON, and return 1 where they miss the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=[1000, 10_000], help="conversations of the two jobs")
    parser.add_argument("--most", type=float, default=1.1, help="peak memory of the larger job over the smaller one's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = tiny.build(Path(folder) / "tiny")
        jobs = [_measure(Path(folder) / str(rows), model, rows) for rows in options.rows]
    growth = jobs[1]["peak_memory_mib"] / jobs[0]["peak_memory_mib"]
    sys.stdout.write(json.dumps({"jobs": jobs, "growth": round(growth, 3)}, indent=2) + "\n")
    return int(growth > options.most)


def _measure(job_dir: Path, model: Path, rows: int) -> dict[str, Any]:
    job_dir.mkdir()
    with (job_dir / TRAINING_NAME).open("wb") as file:
        for first in range(0, rows, 100):
            file.write(tiny.jsonl(min(100, rows - first), first))
    spec = JobSpec(job_id="bench", model_dir=model, seed=1, hyperparameters=Hyperparameters(n_epochs=1))
    (job_dir / SPEC_NAME).write_text(spec.model_dump_json(), encoding="utf-8")
    start = time.monotonic()
    with subprocess.Popen(trainer_command(job_dir, 1), stdin=subprocess.PIPE) as trainer:
        _, status, usage = os.wait4(trainer.pid, 0)
        trainer.returncode = os.waitstatus_to_exitcode(status)
    if trainer.returncode:
        sys.exit(f"The trainer of {rows} conversations ended with status {trainer.returncode}.")
    return {
        "conversations": rows,
        "seconds": round(time.monotonic() - start),
        "peak_memory_mib": usage.ru_maxrss // 1024,
    }


if __name__ == "__main__":
    sys.exit(main())
