"""The replay pack on disk, and the play of it: each member with a model, on the member's own small shop."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from openai import AsyncOpenAI
from pydantic import ValidationError

from tasks import tracing
from tasks.conversing import Agent, Conversed, Scripted, Watch, converse
from tasks.core.config import EvaluationConfig, ReplayConfig
from tasks.core.conversation import Message
from tasks.core.errors import DataError, ProviderError
from tasks.core.family import RECORDED, FamilyReport, Member, MemberResult, PartCustomer
from tasks.core.record import sha256_of
from tasks.core.story import chain_faults
from tasks.endstate import state_faults, wanted_state
from tasks.files import parse_json_lines, read_bytes
from zava_mcp.errors import SnapshotError
from zava_mcp.local import LocalShop, ToolReply
from zava_mcp.snapshot import parse_snapshot
from zava_mcp.store import RetailStore

# A story takes two turns of the customer; a detour, a second lookup and questions one by one make it six.
MOST_CUSTOMER_TURNS = 7
OUT_OF_REACH = "The shop did not answer in time. Try again."


class Pack(NamedTuple):
    """The members that are played, and the digest over them."""

    members: tuple[Member, ...]
    sha256: str


class _FailsOnce:
    """A shop whose one tool is out of reach at its first call."""

    def __init__(self, shop: LocalShop, tool: str | None) -> None:
        self._shop = shop
        self._tool = tool

    async def call(self, name: str, arguments: dict[str, Any], /) -> ToolReply:
        if name == self._tool:
            self._tool = None
            return ToolReply(OUT_OF_REACH, True)
        return await self._shop.call(name, arguments)


def read_pack(config: ReplayConfig) -> Pack:
    """Return the members of a folder: of each drawn kind the first seeds, and all that were added from transcripts.

    Raises:
        DataError: There is no such folder, a file of it is broken, or two members have one id.
    """
    if config.seeds and not config.folder.is_dir():
        raise DataError(f"There is no replay pack in {str(config.folder)!r}; replay.seeds=0 plays none.")
    members: dict[str, Member] = {}
    for path in sorted(config.folder.glob("*.jsonl")):
        for number, line in parse_json_lines(read_bytes(path), path):
            try:
                member = Member.model_validate(line)
            except ValidationError as error:
                raise DataError(f"{path}, line {number} is not a replay member: {error}") from error
            if member.id in members:
                raise DataError(f"{path}, line {number}: there is a replay member {member.id!r} already.")
            members[member.id] = member
    chosen = tuple(member for member in members.values() if _is_chosen(member, config.seeds))
    return Pack(chosen, sha256_of([member.digest() for member in chosen]))


def _is_chosen(member: Member, seeds: int) -> bool:
    return seeds > 0 and (member.kind == RECORDED or int(member.id.rpartition("/")[2]) <= seeds)


async def play_pack(
    client: AsyncOpenAI,
    model: str,
    arm: str,
    pack: Pack,
    system_prompt: str,
    config: EvaluationConfig,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FamilyReport:
    """Play all members, `config.concurrency` at a time, and report which came out right.

    Raises:
        DataError: The world of a member is broken.
        ProviderError: The provider is not there, or refuses the model.
    """
    started = time.monotonic()
    places = asyncio.Semaphore(config.concurrency)
    results: dict[str, MemberResult] = {}

    async def play(member: Member) -> None:
        async with places:
            results[member.id] = await play_member(client, model, member, system_prompt, config)
        progress(len(results), len(pack.members))

    try:
        async with asyncio.TaskGroup() as group:
            for member in pack.members:
                group.create_task(play(member))
    except* (ProviderError, DataError) as several:
        raise several.exceptions[0] from None
    return FamilyReport(
        arm=arm,
        model_id=model,
        pack_sha256=pack.sha256,
        results=tuple(results[member.id] for member in pack.members),
        seconds=time.monotonic() - started,
    )


async def play_member(
    client: AsyncOpenAI,
    model: str,
    member: Member,
    system_prompt: str,
    config: EvaluationConfig,
    watch: Watch = lambda step: None,
) -> MemberResult:
    """Play one member on its own shop and judge it.

    Raises:
        DataError: Its world is broken, or its goal cannot be reached there.
        ProviderError: The provider is not there, or refuses the model.
    """
    base = world_of(member)
    messages = [Message(role="system", content=system_prompt)]
    async with LocalShop(base) as shop:
        sandbox = shop.reset()
        agent = Agent(client, model, await shop.tools(), config)
        customer = Scripted(PartCustomer(member.part))
        most_turns = MOST_CUSTOMER_TURNS + len(member.part.turns)
        with tracing.conversation(f"replay {member.kind}", member.id, model, messages) as span:
            came = await converse(agent, _FailsOnce(shop, member.fails_once), customer, messages, most_turns, watch)
            reasons = (*_faults(member, came), *await _end_faults(member, base, sandbox))
            tracing.judged(span, passed=not reasons, reasons=reasons)
    return MemberResult(
        member_id=member.id,
        kind=member.kind,
        passed=not reasons,
        reasons=reasons,
        calls=len(came.calls),
        messages=tuple(messages),
    )


def world_of(member: Member) -> RetailStore:
    """Return the shop of a member.

    Raises:
        DataError: It is not a snapshot.
    """
    try:
        return parse_snapshot(member.world, source=f"the world of {member.id!r}")
    except SnapshotError as error:
        raise DataError(str(error)) from error


def _faults(member: Member, came: Conversed) -> tuple[str, ...]:
    chain = chain_faults(came.calls)
    fetched = any(played.call.name == "get_user_details" and not played.is_error for played in came.calls)
    faults = {
        "the profile was never fetched": not chain and not fetched,
        f"stopped: {came.stopped.reason if came.stopped else ''}": came.stopped is not None,
    }
    return (*chain, *(reason for reason, found in faults.items() if found))


async def _end_faults(member: Member, base: RetailStore, sandbox: RetailStore) -> tuple[str, ...]:
    if member.goal is None:
        return ()
    wanted, refused = await wanted_state(base, member.goal)
    if refused:
        raise DataError(f"The goal of {member.id!r} cannot be reached in its world: {refused[0]}")
    return state_faults(wanted, sandbox)
