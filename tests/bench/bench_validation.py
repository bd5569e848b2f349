"""Rows a second of the gates that need no shop, and the memory they take as the file grows.

Run from the root: `python -m tests.bench.bench_validation`. Budget: 2,000 rows/s of CPU time on one core, memory flat.
Reading the same lines as JSON alone is the floor that no validator gets under.
"""

import asyncio
import json
import tempfile
import time
import tracemalloc
from pathlib import Path

import typer

from tasks.core.config import load_profile
from tasks.core.dataset import line_of, row_of
from tasks.core.drawing import draw_scenarios
from tasks.core.phrases import load_phrases
from tasks.expert import play
from tasks.simulate import PHRASES
from tasks.validate import validate_file
from tasks.world import open_shop, shop_view
from zava_mcp import policy
from zava_mcp.local import LocalShop

CONVERSATIONS = 100
COPIES = (10, 100)  # 1,000 and 10,000 rows
BUDGET = 2000


async def lines() -> list[bytes]:
    """Return dataset lines of the local profile."""
    profile = load_profile(str(Path("configs/local.yaml")))
    store, phrases = open_shop(profile.world), load_phrases(PHRASES)
    scenarios = draw_scenarios(shop_view(store), profile.synthesis, "train", CONVERSATIONS, profile.seed)
    async with LocalShop(store) as shop:
        tools = await shop.tools()
        played = [await play(scenario, shop, phrases, policy.text()) for scenario in scenarios]
    return [line_of(row_of(conversation, tools)) + b"\n" for conversation in played]


def peak_memory(path: Path) -> float:
    """Return the most memory that a validation holds, in MiB."""
    tracemalloc.start()
    validate_file(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 2**20


def main() -> None:
    """Validate files of growing size and print rates and memory."""
    content = b"".join(asyncio.run(lines()))
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        for copies in COPIES:
            path = Path(folder) / f"{copies}.jsonl"
            path.write_bytes(content * copies)
            started = time.process_time()
            report = validate_file(path)
            seconds = time.process_time() - started
            started = time.process_time()
            for line in path.open("rb"):
                json.loads(line)
            floor = time.process_time() - started
            rates.append(report.rows / seconds)
            typer.echo(
                f"{report.rows} rows, {path.stat().st_size / 2**20:.0f} MiB, {report.passed} passed: "
                f"{rates[-1]:.0f} rows/s (budget {BUDGET}), {seconds / floor:.1f} times the time of parsing the JSON"
            )
        small, large = (peak_memory(Path(folder) / f"{copies}.jsonl") for copies in COPIES)
    typer.echo(f"peak memory {small:.1f} MiB for the small file, {large:.1f} MiB for the large one")
    raise SystemExit(min(rates) < BUDGET or large > small + 1)


if __name__ == "__main__":
    main()
