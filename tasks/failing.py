"""Takes a failing transcript in: a member of the replay pack, and more of its kind in the scenarios."""

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.artifacts import workspace
from tasks.core.config import Profile
from tasks.core.errors import DataError
from tasks.core.family import Member
from tasks.core.record import Record
from tasks.files import read_bytes, write_atomically
from tasks.mix import Failing, intents_of, note
from tasks.replay_add import add_member, read_transcript
from tasks.world import open_shop


class Transcript(Record):
    """A conversation that went wrong: its messages in the OpenAI shape and, where known, the calls that were right."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    messages: list[dict[str, Any]]
    goal: list[dict[str, Any]] | None = None


def take_in(profile: Profile, transcript: Transcript) -> Member:
    """Put a transcript into the replay pack and note what it was about; doing it twice is fine.

    Raises:
        DataError: It is no transcript, the shop has no such customer, or another one has its name.
    """
    folder = workspace(profile).transcripts
    said, goal = folder / f"{transcript.name}.json", folder / f"{transcript.name}.goal.json"
    _keep(said, {"messages": transcript.messages})
    if transcript.goal is not None:
        _keep(goal, transcript.goal)
    member = add_member(
        said, open_shop(profile.world), profile.replay.folder, None if transcript.goal is None else goal
    )
    called = [call.name for message in read_transcript(said) for call in message.tool_calls]
    wanted = called if member.goal is None else [call.name for call in member.goal] or called
    note(profile, Failing(name=transcript.name, intents=intents_of(wanted)))
    return member


def _keep(path: Path, value: Any) -> None:
    content = json.dumps(value).encode()
    if path.exists() and read_bytes(path) != content:
        raise DataError(f"There is another transcript in {str(path)!r}; give this one another name.")
    write_atomically(path, content)
