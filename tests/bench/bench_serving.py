"""Chat throughput of the model server: many requests at once against one at a time.

python -m tests.bench.bench_serving [--model DIR] [--data FILE] [--requests 200] [--tokens 24] [--least 2]

Each request is a conversation up to one of its assistant turns, all turns of a fine-tuning file's conversations one
after another, as an evaluation asks them; or made up. No prompt is asked twice. The server runs in a process of its
own; its processor time is told beside, since that is the same on a busy machine.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
from openai import AsyncOpenAI

from infra.model_server.settings import BASE_MODELS
from tests.ports import free_port

WORDS = ["order", "item", "please", "address", "return", "number", "refund", "status", "email", "street", "card"]
ONE_AT_A_TIME = 20


def main() -> int:
    """Run the benchmark, print its figures as JSON, and return 1 where they miss the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BASE_MODELS / "zava-base")
    parser.add_argument("--data", type=Path, help="a fine-tuning file")
    parser.add_argument("--requests", type=int, default=200, help="all at once")
    parser.add_argument("--tokens", type=int, default=24, help="most tokens of an answer")
    parser.add_argument("--least", type=float, default=2.0, help="throughput at once over throughput one at a time")
    options = parser.parse_args()
    port = free_port()
    prompts = _prompts(options.data, options.requests + ONE_AT_A_TIME + 1)
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "infra.model_server", "--port", str(port), "--data", data]
        with subprocess.Popen([*command, "--models", str(options.model.parent)]) as server:
            try:
                figures = asyncio.run(_measure(options, f"http://127.0.0.1:{port}", server.pid, prompts))
            finally:
                server.terminate()
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return int(figures["speed_up"] < options.least)


async def _measure(
    options: argparse.Namespace, base_url: str, server: int, prompts: list[dict[str, Any]]
) -> dict[str, Any]:
    await _ready(base_url)
    async with AsyncOpenAI(base_url=f"{base_url}/v1", api_key="bench", max_retries=0, timeout=600) as client:

        async def ask(prompt: dict[str, Any]) -> float:
            start = time.perf_counter()
            await client.chat.completions.create(
                model=options.model.name, temperature=0, max_completion_tokens=options.tokens, **prompt
            )
            return time.perf_counter() - start

        await ask(prompts.pop())
        used = [_processor_ms(server)]
        alone = [await ask(prompts.pop()) for _ in range(ONE_AT_A_TIME)]
        used.append(_processor_ms(server))
        start = time.perf_counter()
        together = await asyncio.gather(*map(ask, prompts))
        seconds = time.perf_counter() - start
        used.append(_processor_ms(server))
    alone_rate, together_rate = len(alone) / sum(alone), len(together) / seconds
    return {
        "alone_ms": round(statistics.median(alone) * 1000),
        "alone_per_second": round(alone_rate, 2),
        "alone_processor_ms": round((used[1] - used[0]) / len(alone)),
        "at_once": len(together),
        "at_once_per_second": round(together_rate, 2),
        "at_once_processor_ms": round((used[2] - used[1]) / len(together)),
        "at_once_p50_s": round(statistics.median(together), 2),
        "at_once_p95_s": round(statistics.quantiles(together, n=20)[-1], 2),
        "speed_up": round(together_rate / alone_rate, 2),
    }


def _processor_ms(pid: int) -> float:
    """Return the processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


async def _ready(base_url: str) -> None:
    async with httpx2.AsyncClient() as client:
        for _ in range(6000):
            try:
                if (await client.get(f"{base_url}/healthz")).status_code == 200:
                    return
            except httpx2.TransportError:
                await asyncio.sleep(0.1)
    sys.exit(f"{base_url} does not answer.")


def _prompts(data: Path | None, count: int) -> list[dict[str, Any]]:
    draw = random.Random(1)
    if data is None:
        return [{"messages": [{"role": "user", "content": " ".join(draw.choices(WORDS, k=500))}]} for _ in range(count)]
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    draw.shuffle(rows)
    turns = (
        {"messages": row["messages"][:i], "tools": row["tools"]}
        for row in rows
        for i, message in enumerate(row["messages"])
        if message["role"] == "assistant"
    )
    return list(itertools.islice(turns, count))


if __name__ == "__main__":
    sys.exit(main())
