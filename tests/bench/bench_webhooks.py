"""Many messages at once on one receiver and one Prefect server: right answers, flat memory, time to an answer.

    python -m tests.bench.bench_webhooks [--messages 10000] [--at-once 50] [--postgres]

A tenth are repetitions of earlier ones, and a tenth are forged. Receiver and server are processes of their own. With
`--postgres` Prefect stands on a PostgreSQL server of its own, as it does for a team, instead of SQLite.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import httpx2
import psutil
from rich.console import Console

from infra.services import catalog
from infra.services.supervisor import Supervisor
from tasks.core.config import Profile, load_profile
from tasks.files import write_atomically
from tests import postgres
from tests.ports import free_port
from tests.receiving import SECRET, signed

out = Console(highlight=False)
BODY = json.dumps({"parameters": {"synthesis.intents": {"cancel": 3, "return": 2}}}).encode()
HOOKS = '{retrain: {parameters: ["synthesis.intents"], per_minute: 1000000}}'


class Answer(NamedTuple):
    """What came of one message."""

    message_id: str
    forged: bool
    status: int
    run_id: str | None
    seconds: float


def messages(count: int, seed: int = 7) -> Iterator[tuple[str, bool]]:
    """Yield ids and whether each is forged: a tenth are, and of the others one in nine comes again."""
    draw, sent = random.Random(seed), list[str]()
    for number in range(count):
        if number % 10 == 3:
            yield uuid4().hex, True
        elif number % 10 == 7 and sent:
            yield draw.choice(sent), False
        else:
            sent.append(uuid4().hex)
            yield sent[-1], False


async def deliver(address: str, count: int, at_once: int, receiver: psutil.Process) -> tuple[list[Answer], list[float]]:
    """Send all messages, so many at once; return the answers and the receiver's memory at each tenth, in MiB."""
    answers: list[Answer] = []
    memory: list[float] = []
    waiting = iter(messages(count))

    async def sender(client: httpx2.AsyncClient) -> None:
        for message_id, forged in waiting:
            headers = signed(BODY, message_id, key=b"another key") if forged else signed(BODY, message_id)
            began = time.perf_counter()
            answer = await client.post(f"{address}/hooks/retrain", content=BODY, headers=headers)
            seconds = time.perf_counter() - began
            answers.append(Answer(message_id, forged, answer.status_code, answer.json().get("run"), seconds))
            if len(answers) % max(1, count // 10) == 0:
                memory.append(receiver.memory_info().rss / 2**20)

    limits = httpx2.Limits(max_connections=at_once)
    async with httpx2.AsyncClient(timeout=120, limits=limits, trust_env=False) as client:
        await asyncio.gather(*(sender(client) for _ in range(at_once)))
    return answers, memory


def begun() -> int:
    """Return how many runs Prefect has begun for messages."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        body = {"flow_runs": {"tags": {"all_": ["by:webhook"]}}}
        return int(client.request("POST", "/flow_runs/count", json=body).json())


def wrong(answers: list[Answer], in_prefect: int) -> list[str]:
    """Return in words what is not as it must be."""
    runs: dict[str, set[str | None]] = {}
    faults = [f"{a.message_id}: {a.status}" for a in answers if a.status != (401 if a.forged else 202)]
    for answer in answers:
        if not answer.forged:
            runs.setdefault(answer.message_id, set()).add(answer.run_id)
    faults += [f"{message_id} began {len(ids)} runs" for message_id, ids in runs.items() if len(ids) != 1]
    if len({run for ids in runs.values() for run in ids}) != len(runs):
        faults.append("two messages share a run")
    if in_prefect != len(runs):
        faults.append(f"{len(runs)} messages began {in_prefect} runs")
    return faults


@contextmanager
def services(folder: Path) -> Iterator[tuple[Profile, Supervisor]]:
    """Run a Prefect server and a receiver, with everything deployed."""
    at = (f"services.prefect_port={free_port()}", f"services.webhook_port={free_port()}")
    profile = load_profile("local", (f"workspace={folder}", *at, f"deployment.hooks={HOOKS}"))
    port = profile.services.prefect_port
    os.environ.update(catalog.client_environment(folder, profile.services.prefect))
    server = catalog.supervisor(folder, (catalog.prefect(port, folder),))
    file = folder / "profile.yaml"
    write_atomically(file, profile.model_dump_json().encode())
    command = ("-m", "flows.cli", "webhook", "--profile", str(file))
    ports, prefect = profile.services, profile.services.prefect
    receiver = catalog.supervisor(folder, (catalog.webhook(ports.webhook_port, folder, prefect, command),))
    try:
        server.up()
        from flows.deployments import deploy
        from flows.retrain import retrain

        deploy(profile, [retrain])
        receiver.up()
        yield profile, receiver
    finally:
        receiver.down()
        server.down()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    os.environ["ZAVA_HOOK_RETRAIN_SECRET"] = SECRET
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if options.postgres:
            url = f"postgresql+asyncpg://{stack.enter_context(postgres.running())}/postgres"
            os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = url
        profile, receiver = stack.enter_context(services(Path(folder)))
        [status] = receiver.status()
        address, process = f"http://127.0.0.1:{profile.services.webhook_port}", psutil.Process(status.pid)
        began = time.perf_counter()
        answers, memory = asyncio.run(deliver(address, options.messages, options.at_once, process))
        seconds, in_prefect = time.perf_counter() - began, begun()
    took = sorted(answer.seconds for answer in answers)
    out.print(f"{len(answers):,} messages, {options.at_once} at once: {len(answers) / seconds:.1f}/s")
    out.print(f"answers: {dict(Counter(answer.status for answer in answers))}, runs in Prefect: {in_prefect:,}")
    out.print(f"p50 {took[len(took) // 2]:.3f} s, p99 {took[int(len(took) * 0.99)]:.3f} s, longest {took[-1]:.3f} s")
    out.print(f"memory of the receiver by tenths, MiB: {' '.join(f'{m:.1f}' for m in memory)}")
    faults = wrong(answers, in_prefect)
    out.print("all answers are right" if not faults else f"{len(faults)} wrong: {faults[:5]}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
