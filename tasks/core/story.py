"""The Noah Brown story: the customer's part, and the verdict over what a model did with it.

The published failure: the lookup returns `noah_brown_6181`, and the model goes on with `noah_brown_80279`, an id that
it made of the name and the ZIP.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from tasks.core.conversation import ToolCall
from tasks.core.grader import read_arguments
from tasks.core.policy import RETAIL
from tasks.core.record import Record
from tasks.core.scenario import Scenario

YES = "Yes, please go ahead."

_ANYTHING_ELSE = re.compile(r"\b(anything|something) else\b", re.IGNORECASE)
_CONFIRM = re.compile(
    r"\b(yes|confirm|proceed|go ahead|(is|are) (this|that|these|it) (right|correct|ok|okay)|shall i|should i)\b.*\?",
    re.IGNORECASE | re.DOTALL,
)
_IDENTITY = re.compile(r"\b(names?|zip|e-?mail|identity|verify|who (you are|am i))\b", re.IGNORECASE)
_EMAIL = re.compile(r"\be-?mail\b", re.IGNORECASE)
_NAME = re.compile(r"\b(names?|zip)\b", re.IGNORECASE)
_ADDRESS = re.compile(r"\b(address|street|city|state|country)\b.*\?", re.IGNORECASE | re.DOTALL)
_DONE = re.compile(r"\b(updated|changed|done|welcome|goodbye)\b", re.IGNORECASE)


Cue = Literal["farewell", "confirmation", "done", "email", "identity", "address", "other"]


def cue_in(agent: str) -> Cue:
    """Return what the agent's words ask of the customer; where they could be read in several ways, the first."""
    asks = "?" in agent
    cues: dict[Cue, bool] = {
        "farewell": bool(_ANYTHING_ELSE.search(agent)),
        "confirmation": bool(_CONFIRM.search(agent)),
        "done": bool(_DONE.search(agent)) and not asks,
        "email": bool(_EMAIL.search(agent)) and not _NAME.search(agent),
        "identity": bool(_IDENTITY.search(agent)),
        "address": bool(_ADDRESS.search(agent)),
        "other": True,
    }
    return next(cue for cue, found in cues.items() if found)


class StoryCustomer:
    """Says the same every time: identity and wish first, then whatever the agent asks for."""

    def __init__(self, scenario: Scenario, name: str, zip_code: str) -> None:
        """Play the customer of this name and, as on file, ZIP, who wants the scenario's one change of address."""
        self._address = spoken_address(scenario.requests[0].facts["address"])
        self._identity = f"I am {name}, my zip is {zip_code}."

    def opening(self) -> str:
        """Return the first words."""
        return f"Hi, {self._identity} I want to update my address to {self._address}."

    def answer(self, agent: str) -> str | None:
        """Return what the customer says to the agent's words, or None when there is nothing more to say."""
        match cue_in(agent):
            case "farewell" | "done":
                return None
            case "confirmation":
                return YES
            case "identity" | "email":
                return self._identity
            case "address":
                return f"My new address is {self._address}."
            case "other":
                return f"Please update my address to {self._address}."


class PlayedCall(Record):
    """One tool call: what was asked in which turn of the customer, what the shop told, and what came from nowhere."""

    turn: int
    call: ToolCall
    result: str
    is_error: bool
    invented: tuple[str, ...] = ()


class StoryVerdict(Record):
    """Whether the story came out right, and why not.

    `lookup_id` is what the first successful lookup returned, `details_id` what the very next call handed to
    `get_user_details`; None where there was no such call.
    """

    lookup_id: str | None
    details_id: str | None
    invented: tuple[str, ...]
    address_changed: bool
    nothing_else_changed: bool
    passed: bool
    reasons: tuple[str, ...]


def judge(
    calls: Sequence[PlayedCall], *, address_changed: bool, nothing_else_changed: bool, stopped: str | None = None
) -> StoryVerdict:
    """Return the verdict on the calls, in order, on what became of the shop, and on why the model was stopped if so."""
    lookup_id, details_id = _chain(calls)
    invented = _invented(calls)
    faults = {
        "the address in the shop is not the new one": not address_changed,
        "something else in the shop was changed": not nothing_else_changed,
        f"stopped: {stopped}": stopped is not None,
    }
    reasons = (*chain_faults(calls), *(reason for reason, found in faults.items() if found))
    return StoryVerdict(
        lookup_id=lookup_id,
        details_id=details_id,
        invented=invented,
        address_changed=address_changed,
        nothing_else_changed=nothing_else_changed,
        passed=not reasons,
        reasons=reasons,
    )


def chain_faults(calls: Sequence[PlayedCall]) -> tuple[str, ...]:
    """Return where the chain from lookup to profile is broken, and what was made up on the way."""
    lookup_id, details_id = _chain(calls)
    invented = _invented(calls)
    faults = {
        "the customer was not looked up": lookup_id is None,
        "get_user_details was not called right after the lookup": lookup_id is not None and details_id is None,
        f"get_user_details was called with {details_id!r}, but the lookup had returned {lookup_id!r}": (
            details_id is not None and details_id != lookup_id
        ),
        f"made up: {', '.join(invented)}": bool(invented),
    }
    return tuple(reason for reason, found in faults.items() if found)


def _chain(calls: Sequence[PlayedCall]) -> tuple[str | None, str | None]:
    """Return the id of the first successful lookup, and the one in the call right after it."""
    lookup = next((i for i, c in enumerate(calls) if c.call.name in RETAIL.lookups and not c.is_error), None)
    if lookup is None:
        return None, None
    return calls[lookup].result, _details_id(calls, lookup)


def _invented(calls: Sequence[PlayedCall]) -> tuple[str, ...]:
    return tuple(f"{played.call.name}: {name}" for played in calls for name in played.invented)


def _details_id(calls: Sequence[PlayedCall], lookup: int) -> str | None:
    """Return the id in the call right after the lookup, without words to the customer in between."""
    following = calls[lookup + 1 : lookup + 2]
    if not following or following[0].call.name != "get_user_details" or following[0].turn != calls[lookup].turn:
        return None
    return str((read_arguments(following[0].call.arguments) or {}).get("user_id"))


def spoken_address(address: Mapping[str, str]) -> str:
    """Return an address as a customer says it."""
    street = ", ".join(part for part in (address["address1"], address["address2"]) if part)
    return f"{street}, {address['city']}, {address['state']} {address['zip']}, {address['country']}"
