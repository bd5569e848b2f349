"""Whose fault a failed conversation is, on words that people and models really write."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.attribution import CustomerWatch, goal_fault
from tasks.core.blueprint import Blueprint
from tasks.core.conversation import Message, ToolCall
from tasks.core.prompts import read_draft, read_ids
from tasks.core.scenario import GoldCall
from tasks.core.tool_schema import ToolBook

BLUEPRINT = Blueprint(
    id="b",
    split="train",
    customer_id="own-1",
    intents=("move",),
    wish="You want to move your visit. You are in a hurry.",
    facts={"phone": "555-3120", "visit": "visit-8100", "e-mail": "ada@example.com", "new day": "Friday"},
    gold_calls=(GoldCall(name="move_visit", arguments={"visit_id": "visit-8100", "day": "Friday"}),),
    gold_state="after",
    outcome="done",
    tells=("slot-508",),
)
WORD = st.sampled_from(["wish", "facts", "calls", "tells", "name", "arguments", "x"])
TOOLS = ToolBook(
    [
        {
            "type": "function",
            "function": {
                "name": "move_visit",
                "description": "Move.",
                "parameters": {
                    "type": "object",
                    "properties": {"visit_id": {"type": "string"}},
                    "required": ["visit_id"],
                },
            },
        }
    ]
)


def fault_in(*words: str, heard: str = "") -> str:
    watch = CustomerWatch(BLUEPRINT)
    if heard:
        watch.hears(heard)
    return str(next((fault for text in words if (fault := watch.fault(text))), ""))


@pytest.mark.parametrize(
    "words",
    [
        "Hi! I'd like to move visit-8100, please. You can reach me at 555-3120.",
        "My number is 555-3120, and my mail is ada@example.com. It's for my 2 cats, on the 1st floor.",
        "I have moved, so the way is longer now. How can I pay?",
        "Could you help me with anything else that I can do about it?",
        "Yes.",
    ],
)
def test_a_customer_may_say_what_they_know_in_their_own_words(words: str) -> None:
    assert fault_in(words) == ""


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("Agent: I will look.", "speaks as the agent: 'Agent:'"),
        ("How may I assist you today?", "speaks as the agent"),
        ("I've successfully updated your visit.", "speaks as the agent"),
        ("Is there anything else I can help you with?", "speaks as the agent"),
        ('{"name": "move_visit", "arguments": {}}', "speaks as the agent"),
        ("It is visit-8101.", "invents a fact: 'visit-8101.'"),
        ("Call me on 555-3121!", "invents a fact"),
        ("Write to ada@example.org", "invents a fact"),
        ("", "says nothing"),
    ],
)
def test_a_customer_who_leaves_their_part_is_caught(words: str, fault: str) -> None:
    assert fault_in(words).startswith(fault)


def test_what_the_agent_said_may_be_repeated() -> None:
    assert fault_in("Then slot-508 it is.").startswith("invents a fact")
    assert fault_in("Then slot-508 it is.", heard="Is slot-508 right?") == ""


@settings(deadline=None)
@given(st.from_regex(r"[a-z]{2,6}-[0-9]{3,6}", fullmatch=True))
def test_no_made_up_id_gets_by(made_up: str) -> None:
    known = set(BLUEPRINT.facts.values())
    assert (fault_in(f"It is {made_up} I think.") == "") == (made_up in known)


@pytest.mark.parametrize(
    ("said", "agent", "fault"),
    [
        ("Move it to Friday.", "I cannot find that.", "ends early: never told the visit"),
        ("Move visit 8100 to Friday.", "Shall I go ahead?", "ends early: left the agent's question open"),
        ("Move visit 8100 to Friday.", "Done. Can I do anything else?", ""),
        ("Move visit 8100 to Friday.", "It is moved.", ""),
    ],
)
def test_who_goes_unserved_is_at_fault_where_they_kept_something_back(said: str, agent: str, fault: str) -> None:
    watch = CustomerWatch(BLUEPRINT)
    watch.hears("visit-8100")
    assert watch.fault(said) is None
    assert str(watch.fault_of_ending(agent) or "") == fault


def conversation(*calls: GoldCall, words: str = "It is slot-508.") -> list[Message]:
    made = [
        Message(role="assistant", tool_calls=(ToolCall(id=str(n), name=c.name, arguments=json.dumps(c.arguments)),))
        for n, c in enumerate(calls)
    ]
    return [Message(role="user", content="slot-508"), *made, Message(role="assistant", content=words)]


def test_a_goal_is_the_state_and_what_was_told() -> None:
    right, wrong = BLUEPRINT.gold_calls[0], GoldCall(name="move_visit", arguments={"visit_id": "visit-1"})
    assert goal_fault(BLUEPRINT, "after", conversation(right)) is None
    assert "move_visit was not called as it should" in str(goal_fault(BLUEPRINT, "other", conversation(wrong)))
    assert "more was changed" in str(goal_fault(BLUEPRINT, "other", conversation(right, wrong)))
    assert "never told 'slot-508'" in str(goal_fault(BLUEPRINT, "after", conversation(right, words="Done.")))


def test_a_draft_is_read_out_of_a_fence() -> None:
    call = {"name": "move_visit", "arguments": {"visit_id": "v"}}
    draft = read_draft(f'```json\n{{"wish": "Go.", "facts": {{"n": 7}}, "calls": [{json.dumps(call)}]}}\n```', TOOLS)
    assert draft == ("Go.", {"n": "7"}, (GoldCall.model_validate(call),), "done", ())
    assert read_ids('Here: ["a", "b", "a"]') == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("No.", "no JSON in it"),
        ("} {", "no JSON in it"),
        ('{"wish": 1}', "'wish' is missing"),
        ('{"wish": "w", "facts": 7}', "not of the form"),
        ('{"wish": "w", "calls": [7]}', "a call is a name with arguments"),
        ('{"wish": "w", "calls": [{"name": "fly", "arguments": {}}]}', "no tool 'fly'"),
        ('{"wish": "w", "calls": [{"name": "move_visit", "arguments": {}}]}', "'visit_id' is a required property"),
    ],
)
def test_a_draft_that_cannot_be_used_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        read_draft(text, TOOLS)


JSON = st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(WORD, inner))


@settings(deadline=None)
@given(st.text(max_size=200) | JSON.map(json.dumps))
def test_whatever_a_model_writes_is_read_or_refused_in_one_line(text: str) -> None:
    def outcome() -> str:
        try:
            return str(read_draft(text, TOOLS)._fields)
        except ValueError as error:
            return str(error)

    assert outcome()
    assert "\n" not in outcome()
