"""A conversation of a person with a model on disk: as a transcript, or as a story of the replay pack."""

import json
from pathlib import Path
from typing import NamedTuple

from tasks.core.config import Profile
from tasks.core.conversation import Message
from tasks.core.family import Member
from tasks.core.record import sha256_of
from tasks.failing import Transcript, take_in
from tasks.files import write_atomically


class Held(NamedTuple):
    """A member of the replay pack that a conversation became, and what will be judged of it."""

    member: str
    judged: str

    @property
    def sentence(self) -> str:
        """Say so."""
        return f"Kept in the replay pack as {self.member}. Later models are held against it: {self.judged}."


def save(messages: list[Message], path: Path) -> None:
    """Write a conversation as OpenAI messages, that `zava replay add` reads.

    Raises:
        DataError: The file cannot be written.
    """
    whole = {"messages": [message.to_openai() for message in messages]}
    write_atomically(path, json.dumps(whole, indent=2, ensure_ascii=False).encode() + b"\n")


def into_pack(profile: Profile, messages: list[Message]) -> Held:
    """Put a conversation into the replay pack, that every later model is held against; twice is fine.

    It plays the conversation again in an event loop of its own.

    Raises:
        DataError: It has no words of a customer, or names no customer of the shop.
    """
    wire = [message.to_openai() for message in messages]
    member = take_in(profile, Transcript(name=f"chat-{sha256_of(wire)[:10]}", messages=wire))
    return Held(member.id, _judged(member))


def _judged(member: Member) -> str:
    if member.goal is None:
        return "that its ids are real and used as they were found"
    if not member.goal:
        return "its ids, and that the shop stays as it was"
    return f"its ids, and an end as here, by {', '.join(call.name for call in member.goal)}"
