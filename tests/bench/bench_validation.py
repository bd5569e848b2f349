"""Rows a second of `zava validate` and of all gates but execution, memory, and false alarms on good conversations.

Run from the root: `python -m tests.bench.bench_validation [--conversations 5000] [--most-rows 1000000]`. Budget: 2,000
rows/s of CPU time on one core for each, memory flat, no alarm. Reading the same lines as JSON alone is the floor that
no validator gets under. The most rows are short ones, since a million long ones are 12 GB; the gates against duplicates
and the check for leaks are told as many different conversations, each as long as a real one.
"""

import asyncio
import json
import logging
import resource
import tempfile
import time
import tracemalloc
from collections import Counter
from hashlib import blake2b
from pathlib import Path
from typing import Annotated

import typer

from tasks.core.config import ValidationConfig, load_profile
from tasks.core.conversation import Conversation
from tasks.core.dataset import line_of, row_of
from tasks.core.drawing import draw_scenarios
from tasks.core.duplicates import Fingerprint, fingerprint
from tasks.core.gates import kind_of
from tasks.core.phrases import load_phrases
from tasks.duplicate_finder import DuplicateFinder
from tasks.expert import play
from tasks.gatekeeper import Gatekeeper
from tasks.homes import Homes
from tasks.scratch import CACHE_KIB
from tasks.simulate import PHRASES
from tasks.validate import validate_file
from tasks.world import RetailWorld, open_shop, shop_view
from tests.broken_files import LINE
from zava_mcp import policy
from zava_mcp.local import LocalShop
from zava_mcp.store import RetailStore

ROWS = (1000, 10_000)
BUDGET = 2000


async def played(store: RetailStore, count: int) -> list[Conversation]:
    """Return good conversations of the local profile, every tenth of them held out."""
    logging.getLogger("mcp").setLevel(logging.WARNING)
    profile, phrases = load_profile(str(Path("configs/local.yaml"))), load_phrases(PHRASES)
    view, config = shop_view(store), profile.synthesis
    heldout = draw_scenarios(view, config, "heldout", count // 10, profile.seed)
    scenarios = draw_scenarios(view, config, "train", count - len(heldout), profile.seed) + heldout
    async with LocalShop(store) as shop:
        return [await play(scenario, shop, phrases, policy.text()) for scenario in scenarios]


async def alarms(
    conversations: list[Conversation], world: RetailWorld, config: ValidationConfig
) -> tuple[Counter[str], float]:
    """Return what the gates stop, by its reason, and the rows a second of CPU time."""
    async with world.sandbox() as sandbox:
        gates, stopped = Gatekeeper(config, sandbox, world.procedure), Counter[str]()
        started = time.process_time()
        for conversation in conversations:
            verdict = await gates.first_failure(conversation, row_of(conversation, world.tools))
            stopped.update([kind_of(verdict)] if verdict else [])
        return stopped, len(conversations) / (time.process_time() - started)


def remembers_flat(conversations: list[Conversation], world: RetailWorld, most: int) -> bool:
    """Tell duplicate gates and leak check of the most conversations, and say whether memory stays below its bound."""
    known = [fingerprint(row_of(conversation, world.tools)["messages"]) for conversation in conversations]
    finder, homes, started = DuplicateFinder(ValidationConfig().similarity), Homes(), 0.0
    for number in range(most):
        if number == 1000:
            before, started = resident(), time.process_time()
        found = numbered(known[number % len(known)], number)
        finder.repeats(found)
        finder.nearest(found)
        finder.keep(str(number), found)
        homes.settle(("customer", f"user_{number}"), "train")
    grown, seconds = resident() - before, time.process_time() - started
    typer.echo(
        f"duplicate gates and leak check take {grown:.1f} MiB more for {most:,} conversations than for 1,000 (bound: "
        f"two caches of {CACHE_KIB / 1024:.0f} MiB), and {seconds / (most - 1000) * 1e6:.0f} us for each"
    )
    return grown <= 1.25 * 2 * CACHE_KIB / 1024


def numbered(found: Fingerprint, number: int) -> Fingerprint:
    """Return the fingerprint of a conversation that did and said something else."""
    salt = b"%d" % number
    decisions = (blake2b(key + salt, digest_size=16).digest() for key in found.decisions)
    return Fingerprint(tuple(decisions), blake2b(found.deeds + salt, digest_size=16).digest(), found.words)


def resident() -> float:
    """Return the memory of this process that is in use, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def stays_flat(most_rows: int) -> bool:
    """Validate a thousand short rows and the most, and say whether memory is the same."""
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in (1000, most_rows):
            path = Path(folder) / f"{rows}.jsonl"
            with path.open("wb") as file:
                file.writelines(LINE + b"\n" for _ in range(rows))
            peaks.append(peak_memory(path))
    typer.echo(f"peak memory {peaks[0]:.2f} MiB for 1,000 short rows, {peaks[1]:.2f} MiB for {most_rows:,}")
    return peaks[1] <= peaks[0] + 1


def peak_memory(path: Path) -> float:
    """Return the most memory that a validation holds, in MiB."""
    tracemalloc.start()
    validate_file(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 2**20


def validator(lines: list[bytes]) -> bool:
    """Validate files of growing size, print rates and memory, and say whether the budget holds."""
    rates, peaks = [], []
    with tempfile.TemporaryDirectory() as folder:
        for rows in ROWS:
            path = Path(folder) / f"{rows}.jsonl"
            path.write_bytes(b"".join(lines[number % len(lines)] for number in range(rows)))
            started = time.process_time()
            report = validate_file(path)
            seconds = time.process_time() - started
            started = time.process_time()
            for line in path.open("rb"):
                json.loads(line)
            floor = time.process_time() - started
            rates.append(report.rows / seconds)
            typer.echo(
                f"validate: {report.rows} rows, {path.stat().st_size / 2**20:.0f} MiB, {report.good_rows} good, "
                f"warnings {report.warnings}: {rates[-1]:.0f} rows/s (budget {BUDGET}), "
                f"{seconds / floor:.1f} times the time of parsing the JSON"
            )
            peaks.append(peak_memory(path))
    typer.echo(f"peak memory {peaks[0]:.1f} MiB for the small file, {peaks[1]:.1f} MiB for the large one")
    return min(rates) >= BUDGET and peaks[1] <= peaks[0] + 1


def main(
    conversations: Annotated[int, typer.Option(help="Good conversations to look for false alarms in.")] = 1000,
    most_rows: Annotated[int, typer.Option(help="Short rows of the largest file to validate.")] = 100_000,
) -> None:
    """Measure validator and gates and count false alarms; end with 1 where a budget is missed."""
    store = open_shop(load_profile(str(Path("configs/local.yaml"))).world)
    good = asyncio.run(played(store, conversations))
    world = RetailWorld(store)
    holds = remembers_flat(good, world, most_rows) & stays_flat(most_rows)
    holds &= validator([line_of(row_of(conversation, world.tools)) + b"\n" for conversation in good[:500]])
    pure = tuple(gate for gate in ValidationConfig().gates if gate not in {"execution", "goal"})
    stopped, rate = asyncio.run(alarms(good, world, ValidationConfig(gates=pure)))
    typer.echo(f"gates without execution: {rate:.0f} rows/s (budget {BUDGET})")
    stopped, slow = asyncio.run(alarms(good, world, ValidationConfig()))
    typer.echo(
        f"all gates: {slow:.0f} rows/s; {sum(stopped.values())} alarms in {len(good)} good conversations {stopped}"
    )
    raise SystemExit(not holds or rate < BUDGET or bool(stopped))


if __name__ == "__main__":
    typer.run(main)
