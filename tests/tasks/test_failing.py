"""A failing transcript becomes a story of the replay pack, and what it was about is played more often."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.artifacts import workspace
from tasks.core.config import Profile, load_profile
from tasks.core.errors import DataError
from tasks.failing import Transcript, take_in
from tasks.mix import MOST, Failing, intents_of, note, steered

NOAH = {"first_name": "Noah", "last_name": "Brown", "zip": "80279"}
ADDRESS = {"address1": "1 Elm St", "address2": "", "city": "Denver", "state": "CO", "country": "USA", "zip": "80202"}


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return load_profile("local", (f"workspace={tmp_path}/workspace", f"replay.folder={tmp_path}/replay"))


def a_transcript(**changes: Any) -> Transcript:
    """Noah Brown wants another address; the model makes his id up."""
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "find_user_id_by_name_zip", "arguments": json.dumps(NOAH)},
    }
    wrong = {"user_id": "noah_brown_80279", **ADDRESS}
    write = {"id": "c2", "type": "function", "function": {"name": "update_address", "arguments": json.dumps(wrong)}}
    messages = [
        {"role": "user", "content": "I am Noah Brown, zip 80279. Please send all to 1 Elm St, Denver."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "noah_brown_6181", "tool_call_id": "c1"},
        {"role": "assistant", "content": None, "tool_calls": [write]},
        {"role": "tool", "content": "Error: no user 'noah_brown_80279'.", "tool_call_id": "c2"},
    ]
    return Transcript.model_validate({"name": "noah-elm", "messages": messages, **changes})


def test_a_failing_transcript_is_a_story_and_more_weight_on_what_it_was_about(profile: Profile) -> None:
    assert steered(profile) == profile
    member = take_in(profile, a_transcript())
    assert (member.id, list(member.world["users"])) == ("recorded/noah-elm", ["noah_brown_6181"])
    assert (profile.replay.folder / "noah-elm.jsonl").is_file()
    before, after = profile.synthesis.intents, steered(profile).synthesis.intents
    mean = sum(before.values()) / len(before)
    assert after == {**before, "update_address": pytest.approx(before["update_address"] + 0.1 * mean)}
    take_in(profile, a_transcript())
    assert steered(profile).synthesis.intents == after


def test_where_the_right_calls_are_told_they_say_what_was_wanted(profile: Profile) -> None:
    goal = [{"name": "update_address", "arguments": {"user_id": "noah_brown_6181", **ADDRESS}}]
    messages = [*a_transcript().messages[:1], {"role": "assistant", "content": "I cannot do that."}]
    member = take_in(profile, a_transcript(messages=messages, goal=goal))
    assert member.goal is not None
    assert steered(profile).synthesis.intents["update_address"] > profile.synthesis.intents["update_address"]


def test_another_transcript_of_the_same_name_is_refused(profile: Profile) -> None:
    take_in(profile, a_transcript())
    with pytest.raises(DataError, match="another transcript"):
        take_in(profile, a_transcript(messages=a_transcript().messages[:3]))


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".", "a.b", "x" * 65, "a\n"])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(ValidationError):
        a_transcript(name=name)


def test_transcripts_at_most_double_what_they_count_for_and_enter_what_was_left_out(profile: Profile) -> None:
    config = profile.synthesis.model_copy(update={"intents": {"cancel": 1.0, "return": 3.0}})
    narrow = profile.model_copy(update={"synthesis": config})
    for number in range(MOST + 5):
        note(narrow, Failing(name=f"t{number}", intents=("human",)))
    assert steered(narrow).synthesis.intents == {"cancel": 1.0, "return": 3.0, "human": 2.0}


def test_what_a_customer_wanted_is_read_from_the_tools() -> None:
    assert intents_of(["get_user_details", "cancel_pending_order", "transfer_to_human_agents"]) == ("cancel", "human")
    assert intents_of(["get_order_details", "get_user_details"]) == ("order_status",)
    assert intents_of(["get_user_details"]) == ()


def test_a_broken_note_is_named(profile: Profile) -> None:
    path = workspace(profile).failing / "x.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(DataError, match=r"x\.json is no note"):
        steered(profile)
