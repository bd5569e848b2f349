"""Duplicates go, decisions stay: the test plays the peers' mistake, a key of the customer's words alone."""

import copy
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.duplicates import fingerprint
from tasks.duplicate_finder import DuplicateFinder

Messages = list[dict[str, Any]]


def conversation(said: str = "I am Ann, cancel #W1", result: str = "ann_1", call_id: str = "call_1") -> Messages:
    call = {"id": call_id, "type": "function", "function": {"name": "find", "arguments": '{"name":"Ann"}'}}
    return [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": said},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": result, "tool_call_id": call_id},
        {"role": "assistant", "content": "Shall I cancel order #W1, no longer needed?"},
    ]


def longer(messages: Messages, words: str = "Goodbye.") -> Messages:
    return [*messages, {"role": "user", "content": "Yes."}, {"role": "assistant", "content": words}]


def kept(*conversations: Messages, similarity: float = 0.95) -> DuplicateFinder:
    finder = DuplicateFinder(similarity)
    for number, messages in enumerate(conversations):
        finder.keep(f"c{number}", fingerprint(messages))
    return finder


def test_the_same_conversation_is_a_duplicate_whatever_its_calls_are_numbered() -> None:
    assert kept(conversation()).repeats(fingerprint(conversation(call_id="call_77")))


def test_the_beginning_of_a_kept_conversation_is_a_duplicate_but_not_its_continuation() -> None:
    assert kept(longer(conversation())).repeats(fingerprint(conversation()))
    assert not kept(conversation()).repeats(fingerprint(longer(conversation())))


@pytest.mark.parametrize(
    "other",
    [
        conversation(result="ann_2"),  # the same words of the customer, another tool result: another next call
        conversation(said="I am Ann, cancel #W2"),
        longer(conversation(), "Bye."),
    ],
)
def test_whatever_adds_a_decision_is_kept(other: Messages) -> None:
    finder = kept(conversation(), longer(conversation()))
    assert not finder.repeats(fingerprint(other))


def test_nearly_the_same_words_are_a_near_duplicate_only_with_the_same_calls_and_results() -> None:
    said = "Hello, I am Ann and I would like you to please cancel my order, which has the number #W1, for me today"
    finder = kept(conversation(said), similarity=0.8)
    assert finder.nearest(fingerprint(conversation(f"{said}."))) == "c0"
    assert finder.nearest(fingerprint(conversation(f"{said} please"))) == "c0"
    assert finder.nearest(fingerprint(conversation(said, result="ann_2"))) is None
    assert finder.nearest(fingerprint(conversation("Ann here, #W1 has to go"))) is None


def test_conversations_without_calls_are_compared_by_their_words() -> None:
    texts = [f"Tell me about the {thing} that you sell in your shop" for thing in ("lamps", "chairs", "mugs")]
    finder = kept(*(conversation(text)[:2] + conversation()[4:] for text in texts), similarity=0.9)
    assert finder.nearest(fingerprint(conversation(texts[1])[:2] + conversation()[4:])) == "c1"
    assert finder.nearest(fingerprint(conversation("Do you sell books?")[:2] + conversation()[4:])) is None


words = st.sampled_from(["Ann", "order", "#W1", "ann_1", "yes", "cancel", ""])
message = st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "assistant"]), words)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(message, min_size=1, max_size=5), min_size=1, max_size=12), st.integers())
def test_no_decision_is_lost_in_any_set_of_conversations(conversations: list[Messages], seed: int) -> None:
    conversations += [copy.deepcopy(messages) for messages in conversations[:3]]
    random.Random(seed).shuffle(conversations)
    finder, left = DuplicateFinder(0.95), list[Messages]()
    for number, messages in enumerate(conversations):
        found = fingerprint(messages)
        if not finder.repeats(found):
            finder.keep(str(number), found)
            left.append(messages)

    def decisions(of: list[Messages]) -> set[str]:
        return {repr(m[: turn + 1]) for m in of for turn, one in enumerate(m) if one["role"] == "assistant"}

    assert decisions(left) == decisions(conversations)
    assert len(left) <= len({repr(messages) for messages in conversations})


def test_a_finder_holds_any_text_and_many_conversations_that_did_the_same() -> None:
    said = [f"Tell me about the {thing} that you sell \ud800 in your shop" for thing in range(300)]
    talks = [conversation(text)[:2] + conversation()[4:] for text in said]
    finder = kept(*talks)
    assert [finder.nearest(fingerprint(talk)) for talk in talks[::50]] == [f"c{n}" for n in range(0, 300, 50)]


def test_of_several_that_are_near_the_first_that_was_kept_is_named() -> None:
    finder = kept(conversation("Hello"), conversation("Cancel it"), conversation("Cancel it"))
    assert finder.nearest(fingerprint(conversation("Cancel it"))) == "c1"
