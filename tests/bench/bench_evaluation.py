"""Throughput of the evaluation harness against a server of fixed latency, as a share of the ideal.

python -m tests.bench.bench_evaluation [--items 1920] [--in-flight 64] [--latency 1.0] [--least 0.95]

The ideal is in-flight / latency: nothing but waiting for the server. The harness asks, keeps every answer on disk,
scores, measures with intervals and writes its report; all of that is timed. The server runs in a process of its own.
On a machine that is busy with other things nobody reaches the ideal, so a bare HTTP client that does nothing with the
answers runs first, for comparison.
"""

import argparse
import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx2
from openai import AsyncOpenAI

from tasks.ask import request_for
from tasks.core.config import EvaluationConfig
from tasks.core.evaluation import DecisionSet, EvalReport
from tasks.evaluate import evaluate_model, read_decisions
from tests.decisions import gold_call, write_decisions
from tests.fake_provider import FakeProvider, Reply, call, say


def main() -> int:
    """Run the benchmark, print its figures as JSON, and return 1 where they miss the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1920)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds")
    parser.add_argument("--least", type=float, default=0.95, help="share of the ideal throughput")
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, options.latency), daemon=True)
    server.start()
    try:
        base_url = ours.recv()
        figures = asyncio.run(_measure(base_url, options.items, options.in_flight, options.latency))
    finally:
        ours.send("stop")
        server.join(timeout=10)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return int(figures["share_of_ideal"] < options.least)


def _serve(pipe: Connection, latency: float) -> None:
    def answer(request: dict[str, Any]) -> Reply:
        gold = gold_call(request)
        return (call(*gold) if gold else say("How can I help you?")).after(latency)

    with FakeProvider(answer) as provider:
        pipe.send(provider.base_url)
        pipe.recv()


async def _bare(base_url: str, decisions: DecisionSet, config: EvaluationConfig) -> float:
    """Return the seconds that the requests take without OpenAI client, cache and scoring."""
    waiting = iter(
        [
            json.dumps(request_for("bare", d.item.item["messages"], d.item.item["tools"], config)).encode()
            for d in read_decisions(decisions)
        ]
    )

    async def worker(client: httpx2.AsyncClient) -> None:
        for body in waiting:
            (await client.post(f"{base_url}/chat/completions", content=body)).raise_for_status()

    started = time.perf_counter()
    limits = httpx2.Limits(max_connections=config.concurrency)
    async with httpx2.AsyncClient(timeout=config.timeout_s, limits=limits) as client, asyncio.TaskGroup() as group:
        for _ in range(config.concurrency):
            group.create_task(worker(client))
    return time.perf_counter() - started


async def _measure(base_url: str, items: int, in_flight: int, latency: float) -> dict[str, float]:
    config = EvaluationConfig(concurrency=in_flight, timeout_s=30 * latency)
    asked: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        decisions = write_decisions(Path(folder) / "set", items // 3)
        bare_seconds = await _bare(base_url, decisions, config)
        async with AsyncOpenAI(base_url=base_url, api_key="bench") as client:
            started, cpu = time.perf_counter(), time.process_time()
            report = await evaluate_model(
                client,
                "bench",
                "bench",
                decisions,
                config,
                Path(folder),
                lambda done, total: asked.append(time.perf_counter() - started),
            )
            seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    figures = _figures(report, decisions.items, in_flight / latency, seconds, asked[-1])
    return figures | {
        "bare_items_per_s": round(decisions.items / bare_seconds, 2),
        "share_of_bare": round(bare_seconds / asked[-1], 4),
        "cpu_ms_per_item": round(1000 * cpu_seconds / decisions.items, 2),
    }


def _figures(report: EvalReport, items: int, ideal: float, seconds: float, asking_seconds: float) -> dict[str, float]:
    return {
        "items": items,
        "ideal_items_per_s": ideal,
        "items_per_s": round(items / asking_seconds, 2),
        "share_of_ideal": round(items / asking_seconds / ideal, 4),
        "share_of_ideal_with_scoring": round(items / seconds / ideal, 4),
        "seconds": round(seconds, 2),
        "scoring_seconds": round(seconds - asking_seconds, 2),
        "latency_p50_s": round(report.latency_p50_s, 4),
        "latency_p95_s": round(report.latency_p95_s, 4),
        "errored": report.errored,
    }


if __name__ == "__main__":
    sys.exit(main())
