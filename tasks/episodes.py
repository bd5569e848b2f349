"""Plays episodes with a model: each task several times, each trial on a sandbox of its own, kept on disk when done."""

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from openai import AsyncOpenAI
from pydantic import ValidationError

from tasks.conversing import Agent, Conversed, Customer, Scripted, converse
from tasks.core.conduct import HAND_OVER, WRITES, broken_rules
from tasks.core.config import EvaluationConfig
from tasks.core.conversation import Message
from tasks.core.customer import ScriptedCustomer
from tasks.core.episodes import (
    Blame,
    EpisodeResult,
    EpisodesReport,
    EpisodeTask,
    read_task,
    report_episodes,
    unsaid,
)
from tasks.core.errors import DataError, EvaluationError, ProviderError
from tasks.core.hearing import HearingCustomer, brief_of
from tasks.core.phrases import PhraseBook
from tasks.core.record import sha256_of
from tasks.customer_model import ModelCustomer, RecitingCustomer
from tasks.endstate import state_faults, wanted_state
from tasks.episode import NO_RESULT
from tasks.files import read_bytes, write_atomically
from zava_mcp.local import LocalShop
from zava_mcp.store import RetailStore

MOST_CUSTOMER_TURNS = 30


class Faulty(Protocol):
    """A customer that can go wrong: it left without being served, and that by a fault of its own."""

    gave_up: bool
    fault: str | None


class Environment(NamedTuple):
    """Where episodes are played: the shop, the agent's policy, the phrases of scripted customers, and their model.

    Without `customer_model` customers are scripted.
    """

    shop: RetailStore
    system_prompt: str
    phrases: PhraseBook
    customer_model: str | None = None


def read_tasks(path: Path) -> list[EpisodeTask]:
    """Return the tasks of a file in the layout of tau-bench's retail tasks.

    Raises:
        DataError: The file cannot be read, or a task is broken; the message says which.
    """
    try:
        entries = json.loads(read_bytes(path))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path} holds no list of tasks.")
    tasks = []
    for place, entry in enumerate(entries, start=1):
        try:
            tasks.append(read_task(entry))
        except ValueError as error:
            raise DataError(f"{path}, task {place}: {error}.") from error
    if len({task.id for task in tasks}) < len(tasks):
        raise DataError(f"{path} has two tasks of one id.")
    return tasks


async def play_episodes(
    client: AsyncOpenAI,
    model: str,
    tasks: Sequence[EpisodeTask],
    trials: int,
    world: Environment,
    config: EvaluationConfig,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EpisodesReport:
    """Play each task so many times, `config.concurrency` at once, and report; what `folder` holds is not played again.

    Raises:
        DataError: A result cannot be written.
        EvaluationError: There is no task.
        ProviderError: The provider is not there, or refuses a model.
    """
    if not tasks or trials < 1:
        raise EvaluationError(f"{len(tasks)} tasks and {trials} trials: there is nothing to play.")
    started = time.monotonic()
    places = asyncio.Semaphore(config.concurrency)
    results: dict[tuple[str, int], EpisodeResult] = {}

    async def play(task: EpisodeTask, trial: int) -> None:
        path = folder / f"{task.digest()[:16]}-{trial}.json"
        found = _read(path)
        if found is None:
            async with places:
                found = await play_one(client, model, task, trial, world, config)
            # What the world around did is no verdict on the model: it is played again the next time.
            if found.blame != "environment":
                write_atomically(path, found.model_dump_json().encode() + b"\n")
        results[task.id, trial] = found
        progress(len(results), len(tasks) * trials)

    try:
        async with asyncio.TaskGroup() as group:
            for trial in range(trials):
                for task in tasks:
                    group.create_task(play(task, trial))
    except* (ProviderError, DataError) as several:
        raise several.exceptions[0] from None
    report = report_episodes(
        [results[task.id, trial] for task in tasks for trial in range(trials)],
        model_id=model,
        customer=world.customer_model or "scripted",
        tasks_sha256=sha256_of([task.digest() for task in tasks]),
        trials=trials,
        config=config,
        seconds=time.monotonic() - started,
    )
    write_atomically(folder / "report.json", report.model_dump_json(indent=2).encode() + b"\n")
    return report


async def play_one(
    client: AsyncOpenAI, model: str, task: EpisodeTask, trial: int, world: Environment, config: EvaluationConfig
) -> EpisodeResult:
    """Play one trial of a task on a sandbox of its own and judge it.

    Raises:
        ProviderError: The provider is not there, or refuses a model.
    """
    config = config.model_copy(update={"seed": config.seed + trial})
    messages = [Message(role="system", content=world.system_prompt)]
    customer, faulty = _customer(client, task, trial, world, config)
    async with LocalShop(world.shop) as shop:
        sandbox = shop.reset()
        agent = Agent(client, model, await shop.tools(), config)
        came = await converse(agent, shop, customer, messages, MOST_CUSTOMER_TURNS)
    wanted, refused = await wanted_state(world.shop, [call for call in task.goal if call.name != HAND_OVER])
    breaches = broken_rules(messages, came.calls)
    reasons = (*state_faults(wanted, sandbox), *_end_faults(task, came, messages, gave_up=faulty.gave_up))
    # A call of the goal that only reads may be refused: published tasks hold some that look in vain first.
    wrong = tuple(str(refusal) for refusal in refused if refusal.call.name in WRITES)
    success = not (reasons or breaches or wrong)
    return EpisodeResult(
        task_id=task.id,
        trial=trial,
        reached=not reasons,
        success=success,
        blame=None if success else blame(came, faulty.fault, wrong_label=bool(wrong)),
        reasons=(*reasons, *((faulty.fault,) if faulty.fault else ()), *wrong),
        breaches=breaches,
        calls=len(came.calls),
        messages=tuple(messages),
    )


def blame(came: Conversed, customer_fault: str | None, *, wrong_label: bool) -> Blame:
    """Return whose fault a failure is: what is outside of the agent's reach comes first."""
    if wrong_label:
        return "label"
    # A context that is too long is the agent's own doing.
    if came.stopped is not None and came.stopped.error not in {None, "context"}:
        return "environment"
    if any(played.is_error and NO_RESULT in played.result for played in came.calls):
        return "environment"
    return "agent" if customer_fault is None else "simulator"


def _customer(
    client: AsyncOpenAI, task: EpisodeTask, trial: int, world: Environment, config: EvaluationConfig
) -> tuple[Customer, Faulty]:
    brief = task.brief
    if task.scenario is not None:
        user = world.shop.user(task.scenario.customer_id).to_json()
        # The first trial speaks as the customer of the dataset does.
        rng = random.Random(f"{task.scenario.seed}/customer{f'/{trial}' if trial else ''}")
        if world.customer_model is None:
            hearing = HearingCustomer(ScriptedCustomer(task.scenario, user, world.phrases, rng))
            return Scripted(hearing), hearing
        brief = brief_of(task.scenario, user, world.phrases, rng)
    if brief is None:
        raise EvaluationError(f"Task {task.id!r} has neither a scenario nor a brief for its customer.")
    if world.customer_model is None:
        reciting = RecitingCustomer(brief)
        return Scripted(reciting), reciting
    speaking = ModelCustomer(client, world.customer_model, brief, config)
    return speaking, speaking


def _end_faults(task: EpisodeTask, came: Conversed, messages: Sequence[Message], *, gave_up: bool) -> tuple[str, ...]:
    handed_over = any(played.call.name == HAND_OVER and not played.is_error for played in came.calls)
    faults = {
        "handed over to a human": task.hands_over is False and handed_over,
        "not handed over to a human": task.hands_over is True and not handed_over,
        "the customer gave up": gave_up,
        f"not at an end after {MOST_CUSTOMER_TURNS} turns of the customer": not came.ended and came.stopped is None,
        f"stopped: {came.stopped.reason if came.stopped else ''}": came.stopped is not None,
    }
    untold = (f"never said {info!r}" for info in unsaid(task.communicate, messages))
    return (*untold, *(reason for reason, found in faults.items() if found))


def _read(path: Path) -> EpisodeResult | None:
    """Return a result that is there whole; a broken one is played again."""
    try:
        return EpisodeResult.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError, UnicodeDecodeError):
        return None
