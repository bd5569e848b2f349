"""Conversations a second of the expert, every call over MCP in process.

Run from the root: `python -m tests.bench.bench_synthesis`. Budget: 50 conversations/s of CPU time on one core.
"""

import asyncio
import time
from pathlib import Path

import typer

from tasks.core.config import load_profile
from tasks.core.drawing import draw_scenarios
from tasks.core.phrases import load_phrases
from tasks.expert import play
from tasks.simulate import PHRASES
from tasks.world import open_shop, shop_view
from zava_mcp import policy
from zava_mcp.local import LocalShop

CONVERSATIONS = 300
BUDGET = 50


def main() -> None:
    """Draw and play the scenarios of the local profile and print the rates."""
    profile = load_profile(str(Path("configs/local.yaml")))
    store, phrases = open_shop(profile.world), load_phrases(PHRASES)
    wall, cpu = time.perf_counter(), time.process_time()
    scenarios = draw_scenarios(shop_view(store), profile.synthesis, "train", CONVERSATIONS, profile.seed)
    drawn = time.process_time() - cpu

    async def play_all() -> int:
        async with LocalShop(store) as shop:
            played = [await play(scenario, shop, phrases, policy.text()) for scenario in scenarios]
        return sum(len(message.tool_calls) for conversation in played for message in conversation.messages)

    calls = asyncio.run(play_all())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rate = CONVERSATIONS / cpu
    typer.echo(f"{CONVERSATIONS} conversations, {calls} calls: {wall:.1f} s, CPU {cpu:.1f} s (drawing {drawn:.2f} s)")
    typer.echo(f"{CONVERSATIONS / wall:.1f} conversations/s of wall time, {rate:.1f} of CPU time (budget {BUDGET})")
    raise SystemExit(rate < BUDGET)


if __name__ == "__main__":
    main()
