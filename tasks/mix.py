"""Lets failing transcripts steer the scenarios: what customers were failed at is played more often from then on."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from tasks.artifacts import workspace
from tasks.core.config import Profile
from tasks.core.errors import DataError
from tasks.core.record import Record
from tasks.core.scenario import Intent
from tasks.files import read_bytes, write_atomically

# What a customer wants, by the tool that serves it.
SERVED_BY: Mapping[str, Intent] = {
    "update_address": "update_address",
    "cancel_pending_order": "cancel",
    "return_delivered_order_items": "return",
    "exchange_delivered_order_items": "exchange",
    "modify_pending_order_items": "modify_items",
    "modify_pending_order_payment": "modify_payment",
    "modify_pending_order_address": "modify_order_address",
    "list_products": "list_products",
    "transfer_to_human_agents": "human",
}
# What one transcript adds to the weight of an intent, as a share of the mean weight; ten count at most.
SHARE, MOST = 0.1, 10


class Failing(Record):
    """A transcript that went wrong, and what the customer wanted."""

    name: str
    intents: tuple[Intent, ...]


def intents_of(tools: Iterable[str]) -> tuple[Intent, ...]:
    """Return what a customer wanted, by the tools that were called or should have been."""
    names = set(tools)
    found = tuple(intent for tool, intent in SERVED_BY.items() if tool in names)
    return found or (("order_status",) if "get_order_details" in names else ())


def note(profile: Profile, failing: Failing) -> None:
    """Keep a failing transcript's intents; the same name again is the same transcript.

    Raises:
        DataError: The workspace cannot be written.
    """
    write_atomically(workspace(profile).failing / f"{failing.name}.json", failing.model_dump_json().encode())


def steered(profile: Profile) -> Profile:
    """Return the profile with more weight on what failing transcripts of this workspace were about.

    Raises:
        DataError: A note of a transcript is broken.
    """
    counts = Counter(intent for failing in _noted(workspace(profile).failing) for intent in failing.intents)
    weights = dict(profile.synthesis.intents)
    if not counts or not weights:
        return profile
    step = SHARE * sum(weights.values()) / sum(weight > 0 for weight in weights.values())
    raised = {intent: round(step * min(count, MOST), 6) for intent, count in sorted(counts.items())}
    mix = {**weights, **{intent: weights.get(intent, 0) + more for intent, more in raised.items()}}
    return profile.model_copy(update={"synthesis": profile.synthesis.model_copy(update={"intents": mix})})


def _noted(folder: Path) -> Iterable[Failing]:
    for path in sorted(folder.glob("*.json")):
        try:
            yield Failing.model_validate(json.loads(read_bytes(path)))
        except (ValueError, ValidationError) as error:
            raise DataError(f"{path} is no note of a failing transcript; remove it.") from error
