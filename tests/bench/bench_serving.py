"""Chat throughput of the model server: many requests at once against one at a time.

python -m tests.bench.bench_serving [--model DIR] [--data FILE] [--requests 200] [--tokens 24] [--least 5]

Each request is a conversation up to one of its assistant turns, all turns one after another, as an evaluation asks
them: of a fine-tuning file, or of conversations that the expert holds. No prompt is asked twice. The server runs in a
process of its own; its processor time is told beside, since that is the same on a busy machine. Requests are encoded
before the clock starts: a client needs several milliseconds to make one, which is not the server's work.
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
from openai.types.chat import ChatCompletion

from infra.model_server.settings import BASE_MODELS
from tasks.core.config import load_profile
from tasks.core.dataset import row_of
from tasks.core.drawing import draw_scenarios
from tasks.core.phrases import load_phrases
from tasks.expert import play
from tasks.simulate import PHRASES
from tasks.world import open_shop, shop_view
from tests.ports import free_port
from zava_mcp import policy
from zava_mcp.local import LocalShop

ONE_AT_A_TIME = 20


def main() -> int:
    """Run the benchmark, print its figures as JSON, and return 1 where they miss the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BASE_MODELS / "zava-base")
    parser.add_argument("--data", type=Path, help="a fine-tuning file; without it the expert's")
    parser.add_argument("--requests", type=int, default=200, help="all at once")
    parser.add_argument("--tokens", type=int, default=24, help="most tokens of an answer")
    parser.add_argument("--least", type=float, default=5.0, help="throughput at once over throughput one at a time")
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
    bodies = [_body(options, prompt) for prompt in prompts]
    url = f"{base_url}/v1/chat/completions"
    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None), timeout=600) as client:

        async def ask(body: bytes) -> float:
            start = time.perf_counter()
            answer = await client.post(url, content=body, headers={"content-type": "application/json"})
            ChatCompletion.model_validate(answer.raise_for_status().json(), strict=True)
            return time.perf_counter() - start

        await ask(bodies.pop())
        used = [_processor_ms(server)]
        alone = [await ask(bodies.pop()) for _ in range(ONE_AT_A_TIME)]
        used.append(_processor_ms(server))
        start = time.perf_counter()
        together = await asyncio.gather(*map(ask, bodies))
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


def _body(options: argparse.Namespace, prompt: dict[str, Any]) -> bytes:
    asked = {"model": options.model.name, "temperature": 0, "max_completion_tokens": options.tokens, **prompt}
    return json.dumps(asked).encode()


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
    rows = asyncio.run(_held(count)) if data is None else map(json.loads, data.read_text(encoding="utf-8").splitlines())
    shuffled = list(rows)
    random.Random(1).shuffle(shuffled)
    turns = (
        {"messages": row["messages"][:i], "tools": row["tools"]}
        for row in shuffled
        for i, message in enumerate(row["messages"])
        if message["role"] == "assistant"
    )
    return list(itertools.islice(turns, count))


async def _held(turns: int) -> list[dict[str, Any]]:
    """Return conversations of the local profile's held-out set, of at least so many turns together."""
    profile = load_profile("local")
    store, phrases = open_shop(profile.world), load_phrases(PHRASES)
    scenarios = draw_scenarios(shop_view(store), profile.synthesis, "heldout", turns, profile.seed)
    rows: list[dict[str, Any]] = []
    async with LocalShop(store) as shop:
        tools = await shop.tools()
        for scenario in scenarios:
            rows.append(row_of(await play(scenario, shop, phrases, policy.text()), tools))
            turns -= sum(message["role"] == "assistant" for message in rows[-1]["messages"])
            if turns <= 0:
                break
    return rows


if __name__ == "__main__":
    sys.exit(main())
