"""Synthesis by chat models: blueprint first, then the dialogue, then the gates, each fault told once.

What is paid for stays: every answer is kept under its full request and scenario, and every finished place of the plan
has a file of its own. A run that was killed, or whose budget was spent, goes on where it stopped. Where tools change,
only the conversations that use one of them are held again.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple, get_args

from openai import AsyncOpenAI
from pydantic import ValidationError

from tasks import carry_over
from tasks.ask import AnswerCache
from tasks.blueprints import CENSUS, Hints, Place, blueprint_of, find_customers, read_hints, server_plan, shop_plan
from tasks.carry_over import Lineage
from tasks.clients import async_openai_client
from tasks.core.blueprint import Blame, Blueprint, Take, TeacherReport, Usage, total
from tasks.core.config import Profile
from tasks.core.contract import contract_of
from tasks.core.conversation import Conversation
from tasks.core.dataset import row_of
from tasks.core.endpoints import ChatConfig, TeacherConfig
from tasks.core.errors import (
    BudgetSpentError,
    ConfigError,
    DataError,
    ProviderUnavailableError,
    ZavaError,
)
from tasks.core.gates import kind_of
from tasks.core.record import sha256_of
from tasks.core.scenario import Split
from tasks.dialogue import Dialogue, Players, hold
from tasks.files import read_bytes, write_atomically
from tasks.gatekeeper import Gatekeeper, without_memory
from tasks.simulate import SHAPE_ONLY, Progress
from tasks.voice import Part, Purse, Voice
from tasks.world import Sandbox, World, open_world

# A provider that is gone is not asked on and on.
_MOST_IN_A_ROW = 3
# The report lies beside the takes, once all of them are there.
_TEACHER, REPORT = "-teacher", "report.json"


class Taught(NamedTuple):
    """The shard files of the conversations that passed, and the sum of all takes."""

    shards: list[Path]
    report: TeacherReport


def teach(profile: Profile, out_dir: Path, progress: Progress = lambda _done, _total: None) -> Taught:
    """Let the models of a profile hold its conversations, and return the files of those that passed every gate.

    Raises:
        ConfigError: The profile has no teacher, or does not fit its world.
        BudgetSpentError: The budget is used up; what was finished is kept.
        ProviderError: A model is refused, or does not answer; what was finished is kept.
        ServiceError: The world does not start or answer.
        SynthesisError: There is nobody to play, or the customers cannot be found.
    """
    if profile.teacher is None:
        raise ConfigError(f"Profile {profile.name!r} has no teacher.")
    world, hints = open_world(profile.world), read_hints(profile.world.hints)
    folder = _folder(profile, profile.teacher, world, hints, out_dir)
    takes = asyncio.run(_Teaching(profile, profile.teacher, world, hints, folder, progress).all_takes())
    report = TeacherReport.of(takes)
    write_atomically(folder / REPORT, report.model_dump_json().encode() + b"\n")
    return Taught(list(_written(takes, folder, profile.synthesis.shard_size)), report)


def report_of(shards: Sequence[Path]) -> TeacherReport:
    """Return what it took to make these shards.

    Raises:
        DataError: The report is not beside them, or broken.
    """
    key, _, _ = shards[0].name.partition(f"{_TEACHER}-")
    path = shards[0].with_name(key + _TEACHER) / REPORT
    try:
        return TeacherReport.model_validate_json(read_bytes(path))
    except ValidationError as error:
        raise DataError(f"{path} is not the report of a teacher; delete it, and run again.") from error


def finished_report(profile: Profile, out_dir: Path) -> TeacherReport | None:
    """Return the sum of what the teacher of a profile made, or None where it has not come to its end.

    Raises:
        ServiceError: The world does not start or answer.
        DataError: The report, or the file of hints, is broken.
    """
    if profile.teacher is None:
        return None
    world, hints = open_world(profile.world), read_hints(profile.world.hints)
    return read_report(_folder(profile, profile.teacher, world, hints, out_dir) / REPORT)


def read_report(path: Path) -> TeacherReport | None:
    """Return a report, or None where there is none.

    Raises:
        DataError: It is broken.
    """
    if not path.is_file():
        return None
    try:
        return TeacherReport.model_validate_json(read_bytes(path))
    except ValidationError as error:
        raise DataError(f"{path} is not the report of a teacher; delete it.") from error


def _folder(profile: Profile, teacher: TeacherConfig, world: World, hints: Hints, out_dir: Path) -> Path:
    return out_dir / f"{teaching_key(profile, teacher, world, hints)[:16]}{_TEACHER}"


def teaching_key(profile: Profile, teacher: TeacherConfig, world: World, hints: Hints) -> str:
    """Return the digest of all that shapes a conversation, and of nothing else."""
    return sha256_of([*_shapes(profile, teacher, world, hints), world.digest, list(world.tools)])


def _lineage(profile: Profile, teacher: TeacherConfig, world: World, hints: Hints) -> Lineage:
    kin = [
        *_shapes(profile, teacher, world, hints),
        profile.world.model_dump(mode="json", exclude={"retrain", "api_key_env"}),
    ]
    return Lineage(kin=sha256_of(kin), contract=contract_of(world.policy, world.tools))


def _shapes(profile: Profile, teacher: TeacherConfig, world: World, hints: Hints) -> list[Any]:
    """Return all that shapes a conversation but where it is held."""
    voices = [
        [chat.model_dump(mode="json", exclude={"price", "provider"}), (chat.provider or profile.provider).base_url]
        for chat in (teacher.agent, teacher.speaks_for_customer)
    ]
    synthesis = profile.synthesis.model_dump(mode="json", exclude=SHAPE_ONLY)
    shown = [world.policy, hints.model_dump(mode="json")]
    return [voices, teacher.max_turns, profile.validation.gates, synthesis, profile.seed, *shown]


class _Voices(NamedTuple):
    agent: Voice
    customer: Voice
    purse: Purse


class _Desk(NamedTuple):
    """Where one conversation after another is held, and the gates that look at each."""

    sandbox: Sandbox
    gates: Gatekeeper


class _Teaching:
    """All conversations of a profile, several at a time."""

    def __init__(
        self, profile: Profile, teacher: TeacherConfig, world: World, hints: Hints, folder: Path, progress: Progress
    ) -> None:
        self._profile = profile
        self._teacher = teacher
        self._world = world
        self._hints = hints
        self._folder = folder
        self._progress = progress
        self._in_a_row = 0
        self._stopped: list[ZavaError] = []
        self._lineage = _lineage(profile, teacher, world, hints)
        self._kin = carry_over.kin_of(folder, self._lineage)

    async def all_takes(self) -> list[Take]:
        """Return a take for every place of the plan, read from disk or made now."""
        async with AsyncExitStack() as stack:
            voices = await self._open(stack)
            places = await self._plan(voices)
            carry_over.found(self._folder, self._lineage)
            files = [self._folder / "takes" / f"{place.id}.json" for place in places]
            waiting = [(place, file) for place, file in zip(places, files, strict=True) if not file.is_file()]
            left = iter(waiting)

            async def work() -> None:
                async with self._world.sandbox() as sandbox:
                    # Duplicates are for the dataset: what came before depends on who finishes first.
                    gates = without_memory(self._profile.validation)
                    desk = _Desk(sandbox, Gatekeeper(gates, sandbox, self._world.procedure))
                    for place, file in left:
                        if not await self._finish(place, voices, desk, file):
                            return
                        self._progress(_there(files), len(files))

            workers = 1 if self._world.is_shared else min(self._teacher.concurrency, len(waiting))
            await _all([work() for _ in range(workers if waiting else 0)])
            self._check(_there(files), len(files), voices.purse.spent)
        return [carry_over.read_take(file) for file in files]

    async def _open(self, stack: AsyncExitStack) -> _Voices:
        """Open both models with their kept answers, on one purse."""
        purse = Purse(self._teacher.budget)
        parts = {"agent": self._teacher.agent, "customer": self._teacher.speaks_for_customer}
        voices = {}
        for name, chat in parts.items():
            client = await stack.enter_async_context(self._client(chat))
            cache = stack.enter_context(AnswerCache(self._folder / f"{name}.answers.jsonl"))
            voices[name] = Voice(client, chat, cache, purse, self._teacher.timeout_s)
        return _Voices(voices["agent"], voices["customer"], purse)

    def _client(self, chat: ChatConfig) -> AsyncOpenAI:
        return async_openai_client(chat.provider or self._profile.provider)

    async def _plan(self, voices: _Voices) -> list[Place]:
        if not self._profile.world.has_server:
            return shop_plan(self._profile)
        customers = list(self._hints.customers)
        if not customers:
            async with self._world.sandbox() as sandbox:
                customers = await find_customers(Part(voices.agent, CENSUS, self._world.tools).answer, sandbox)
        return server_plan(self._profile, self._hints, customers)

    async def _finish(self, place: Place, voices: _Voices, desk: _Desk, file: Path) -> bool:
        """Make and write one take; return whether to go on. What was answered so far is kept in any case."""
        try:
            take = await self._carried_over(place, desk) or await self._take(place, voices, desk)
        except BudgetSpentError as error:
            self._stopped.append(error)
            return False
        except ProviderUnavailableError as error:
            self._stopped.append(error)
            self._in_a_row += 1
            return self._in_a_row < max(_MOST_IN_A_ROW, self._teacher.concurrency)
        self._in_a_row = 0
        write_atomically(file, take.model_dump_json().encode())
        return True

    async def _carried_over(self, place: Place, desk: _Desk) -> Take | None:
        """Return the take of an earlier contract that the change does not touch, where it still passes the gates."""
        take = carry_over.earlier_take(place, self._kin, self._lineage.contract)
        if take is None or take.conversation is None:
            return None
        row = row_of(take.conversation, self._world.tools)
        return None if await desk.gates.first_failure(take.conversation, row) else take

    async def _take(self, place: Place, voices: _Voices, desk: _Desk) -> Take:
        author = Part(voices.agent, place.id, self._world.tools)
        agent = Part(voices.agent, place.id, self._world.tools)
        customer = Part(voices.customer, place.id)
        notes = self._hints.notes
        blueprint, blames = await blueprint_of(place, author.answer, self._world, notes, desk.sandbox)
        conversation, passed = None, False
        if blueprint is not None:
            players = Players(agent.answer, customer.answer, notes={})
            conversation, passed, more = await self._hold(blueprint, players, desk)
            blames += more
        usage = total(part.usage for part in (author, agent, customer))
        return Take(
            id=place.id,
            split=place.split,
            blueprint=blueprint,
            conversation=conversation,
            passed=passed,
            blames=tuple(blames),
            usage=usage,
        )

    async def _hold(
        self, blueprint: Blueprint, players: Players, desk: _Desk
    ) -> tuple[Conversation, bool, list[Blame]]:
        """Try until it passes; each side is told of a fault once, and a second one ends it."""
        blames: list[Blame] = []
        while True:
            dialogue = await hold(blueprint, players, self._world.policy, desk.sandbox, self._teacher.max_turns)
            conversation = self._conversation(blueprint, dialogue)
            blame = dialogue.blame or await self._fault(conversation, dialogue, desk.gates)
            if blame is None:
                return conversation, True, blames
            blames.append(blame)
            if blame.side in players.notes:
                return conversation, False, blames
            players.notes[blame.side] = str(blame)

    def _conversation(self, blueprint: Blueprint, dialogue: Dialogue) -> Conversation:
        return Conversation(
            id=f"teacher-{blueprint.id}",
            scenario_id=blueprint.id,
            customer_id=blueprint.customer_id,
            split=blueprint.split,
            teacher=self._teacher.agent.model,
            intents=blueprint.intents,
            template_ids=(),
            messages=dialogue.messages,
            outcome=blueprint.outcome,
            final_state=dialogue.state,
            goal=blueprint.goal,
        )

    async def _fault(self, conversation: Conversation, dialogue: Dialogue, gates: Gatekeeper) -> Blame | None:
        """Return what is wrong with a conversation that came to its end, by the gates and against its blueprint."""
        verdict = await gates.first_failure(conversation, row_of(conversation, self._world.tools))
        if dialogue.shortfall and (verdict is None or verdict.gate == "goal"):
            return dialogue.shortfall  # it says more than the gate
        if verdict is None:
            return None
        return Blame(side="agent", kind=kind_of(verdict), detail=verdict.reason.partition(": ")[2])

    def _check(self, done: int, planned: int, spent: Usage) -> None:
        """Say why not everything is there."""
        if done == planned:
            return
        why = next((e for e in self._stopped if isinstance(e, BudgetSpentError)), self._stopped[0])
        kept = f"{done:,} of {planned:,} conversations are finished and kept, {spent.tokens:,} tokens were spent"
        if isinstance(why, BudgetSpentError):
            raise BudgetSpentError(f"The budget is spent: {why}; {kept}. Raise it, or ask for fewer conversations.")
        raise ProviderUnavailableError(f"{why}; {kept}. Run again: no answer is paid for twice.")


async def _all(jobs: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run jobs together; an error of the house ends them all and comes out as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except* ZavaError as several:
        error: Exception = several
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def _there(files: Sequence[Path]) -> int:
    return sum(file.is_file() for file in files)


def _written(takes: Sequence[Take], folder: Path, size: int) -> Iterator[Path]:
    """Write the conversations of each split in shards; the name of a shard tells its content."""
    for split in get_args(Split):
        played = [take.conversation for take in takes if take.split == split and take.passed and take.conversation]
        for start in range(0, len(played), size):
            part = played[start : start + size]
            content = b"".join(conversation.model_dump_json().encode() + b"\n" for conversation in part)
            name = f"{split}-{start:06d}-{start + len(part):06d}-{sha256_of(content.decode())[:8]}.jsonl"
            path = folder.with_name(f"{folder.name}-{name}")
            if not path.is_file():
                write_atomically(path, content)
            yield path
