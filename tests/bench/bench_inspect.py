"""The evaluation harness and inspect_ai side by side: same items, same server of fixed latency, as many in flight.

python -m tests.bench.bench_inspect [--items 1920] [--in-flight 64] [--latency 1.0] [--least 0.95]

inspect_ai's requirements do not agree with the project's pins (fsspec), so it gets a virtual environment of its own
under `.zava/bench`, made at the first run. Both sides are timed from the first request to the scored report on disk,
imports left out. Ends with 1 where ours is below its share of the ideal, or slower than inspect_ai.
"""

import argparse
import asyncio
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from tasks.core.config import EvaluationConfig
from tasks.core.evaluation import DecisionSet
from tasks.evaluate import evaluate_model
from tests.bench.bench_evaluation import _serve
from tests.decisions import write_decisions

PINS = ("inspect_ai==0.3.285", "openai==3.54.0")
ENVIRONMENT = Path(".zava/bench/inspect")
TASK = Path(__file__).with_name("inspect_task.py")


def main() -> int:
    """Run both, print the figures as JSON, and return 1 where ours misses the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1920)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds")
    parser.add_argument("--least", type=float, default=0.95, help="share of the ideal throughput")
    options = parser.parse_args()
    python = _inspect_python()
    ours_pipe, theirs_pipe = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(theirs_pipe, options.latency), daemon=True
    )
    server.start()
    try:
        base_url = ours_pipe.recv()
        with tempfile.TemporaryDirectory() as folder:
            decisions = write_decisions(Path(folder) / "set", options.items // 3)
            sides = {
                "ours": asyncio.run(_ours(base_url, decisions, options.in_flight, options.latency, Path(folder))),
                "inspect_ai": _theirs(python, base_url, decisions, options.in_flight, Path(folder)),
            }
    finally:
        ours_pipe.send("stop")
        server.join(timeout=10)
    ideal_s = decisions.items * options.latency / options.in_flight
    for side in sides.values():
        side["share_of_ideal"] = round(ideal_s / side["seconds"], 4)
        side["cpu_ms_per_item"] = round(1000 * side.pop("cpu_seconds") / decisions.items, 2)
    sys.stdout.write(json.dumps({"items": decisions.items, "ideal_seconds": ideal_s, **sides}, indent=2) + "\n")
    ours, theirs = sides["ours"], sides["inspect_ai"]
    return int(ours["share_of_ideal"] < options.least or ours["seconds"] > theirs["seconds"])


def _inspect_python() -> Path:
    """Return the interpreter that has inspect_ai, installed first where it is missing."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / ".installed").exists():
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PINS], check=True)
        (ENVIRONMENT / ".installed").touch()
    return python


async def _ours(base_url: str, decisions: DecisionSet, in_flight: int, latency: float, folder: Path) -> dict[str, Any]:
    config = EvaluationConfig(concurrency=in_flight, timeout_s=30 * latency)
    async with AsyncOpenAI(base_url=base_url, api_key="bench") as client:
        started, cpu = time.perf_counter(), time.process_time()
        report = await evaluate_model(client, "bench", "bench", decisions, config, folder)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": cpu_seconds,
        "right": report.metrics["decision_accuracy"].value,
    }


def _theirs(python: Path, base_url: str, decisions: DecisionSet, in_flight: int, folder: Path) -> dict[str, Any]:
    command = [python, TASK, decisions.path, base_url, str(in_flight), str(folder / "logs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"inspect_ai failed:\n{done.stdout}\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    sys.exit(main())
