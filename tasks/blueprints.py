"""The plan of a teacher: a place for every conversation, and the blueprint that it is held by."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import yaml
from pydantic import Field, ValidationError

from tasks.core.blueprint import Blame, Blueprint, Draft, draft_of
from tasks.core.config import Profile
from tasks.core.conversation import Message
from tasks.core.drawing import draw_scenarios
from tasks.core.errors import ConfigError, SynthesisError
from tasks.core.prompts import Instructions, author_prompt, census_prompt, read_draft, read_ids
from tasks.core.record import Record
from tasks.core.scenario import Split, split_of
from tasks.core.tool_schema import ToolBook
from tasks.episode import Answering, Spoke, Step, take_turns
from tasks.simulate import count_of
from tasks.world import Sandbox, World, open_shop, shop_view

MOST_CUSTOMERS = 500
CENSUS = "census"  # the scenario under which answers about the customers are kept


class Hints(Record):
    """What a profile may say about a server: its customers' ids, what they want, and what an author should know."""

    customers: tuple[str, ...] = ()
    intents: dict[str, str] = Field(default_factory=dict)
    notes: str = ""


class Place(NamedTuple):
    """A conversation to be: its split, whose it is, and either its draft or what it should be about."""

    id: str
    split: Split
    customer_id: str
    intents: tuple[str, ...]
    about: str = ""
    draft: Draft | None = None


def read_hints(path: Path | None) -> Hints:
    """Return the hints of a world, empty where there is no file.

    Raises:
        ConfigError: The file is missing or not what hints are.
    """
    if path is None:
        return Hints()
    try:
        return Hints.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the hints {str(path)!r}: {error}.") from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(f"Hints {str(path)!r}: {where or 'file'}: {fault['msg']}.") from error


def shop_plan(profile: Profile) -> list[Place]:
    """Return a place for each scenario that is drawn from the shop's records.

    Raises:
        SynthesisError: The shop has no customers for a scenario.
    """
    view = shop_view(open_shop(profile.world))
    return [
        Place(
            id=scenario.id,
            split=split,
            customer_id=scenario.customer_id,
            intents=tuple(request.intent for request in scenario.requests),
            draft=draft_of(scenario, view),
        )
        for split in get_args(Split)
        for scenario in draw_scenarios(view, profile.synthesis, split, count_of(profile.synthesis, split), profile.seed)
    ]


def server_plan(profile: Profile, hints: Hints, customers: Sequence[str]) -> list[Place]:
    """Return places for the customers of a server; the intents take turns.

    Raises:
        SynthesisError: A split has no customer.
    """
    places = []
    for split in get_args(Split):
        own = [customer for customer in customers if split_of(customer) == split]
        if not own:
            raise SynthesisError(
                f"None of the {len(customers)} customers is in the split {split!r}; name more in world.hints."
            )
        for number in range(count_of(profile.synthesis, split)):
            rng = random.Random(f"{profile.seed}/{split}/{number}")
            intent = list(hints.intents)[number % len(hints.intents)] if hints.intents else ""
            places.append(
                Place(
                    id=f"{split}-{profile.seed}-{number:05d}",
                    split=split,
                    customer_id=rng.choice(own),
                    intents=(intent,) if intent else (),
                    about=hints.intents.get(intent, ""),
                )
            )
    return places


async def find_customers(author: Answering, sandbox: Sandbox) -> list[str]:
    """Let a model find the customers of a server with its tools.

    Raises:
        SynthesisError: It finds none.
    """
    await sandbox.reset()
    words = await _words(author, _begun(census_prompt(MOST_CUSTOMERS)), sandbox)
    try:
        return read_ids(words)
    except ValueError as error:
        raise SynthesisError(f"The tools do not show the customers: {error}. Name them in world.hints.") from error


async def blueprint_of(
    place: Place, author: Answering, world: World, notes: str, sandbox: Sandbox
) -> tuple[Blueprint | None, list[Blame]]:
    """Return the blueprint of a place with its gold end state; one that cannot be is told to its author once."""
    if place.draft is not None:
        return _finished(place, place.draft, await _gold_state(place.draft, sandbox)), []
    tools = ToolBook(world.tools)
    messages = _begun(author_prompt(world.policy, notes, place.id, place.customer_id, place.about))
    blames: list[Blame] = []
    for _ in range(2):
        await sandbox.reset()
        words = await _words(author, messages, sandbox)
        try:
            draft = read_draft(words, tools)
            return _finished(place, draft, await _gold_state(draft, sandbox)), blames
        except ValueError as error:
            blames.append(Blame(side="author", kind="blueprint cannot be", detail=str(error)))
            messages.append(Message(role="user", content=f"That cannot be used: {error}. Write it again."))
    return None, blames


def _finished(place: Place, draft: Draft, gold_state: str) -> Blueprint:
    return Blueprint(
        id=place.id,
        split=place.split,
        customer_id=place.customer_id,
        intents=place.intents,
        gold_state=gold_state,
        **draft._asdict(),
    )


async def _gold_state(draft: Draft, sandbox: Sandbox) -> str:
    """Make the gold calls and return the state that they lead to; raise ValueError where one is refused."""
    await sandbox.reset()
    for call in draft.gold_calls:
        text, is_error = await sandbox.call(call.name, call.arguments)
        if is_error:
            raise ValueError(f"{call.name} was refused: {text}")
    return sandbox.state()


def _begun(told: Instructions) -> list[Message]:
    return [Message(role="system", content=told.system), Message(role="user", content=told.user)]


async def _words(author: Answering, messages: list[Message], sandbox: Sandbox) -> str:
    """Let the author look around and return the words that it ends with, empty if it does not get to any."""
    last: Step | None = None
    async for step in take_turns(author, messages, sandbox):
        last = step
    return last.text if isinstance(last, Spoke) else ""
