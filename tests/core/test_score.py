"""What a score says of an answer, in numbers and in words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.conversation import ToolCall
from tasks.core.evaluation import Answer, EvalItem, ItemMeta
from tasks.core.score import score_answer
from tests.decisions import TOOLS

GOLD = {"user_id": "noah_brown_6181"}


def item(expected: dict[str, Any] | None) -> EvalItem:
    calls = [
        {"id": "1", "type": "function", "function": {"name": "get_user_details", "arguments": json.dumps(expected)}}
    ]
    messages = [
        {"role": "system", "content": "Help. User ids look like 'ann_lee_1234'."},
        {"role": "user", "content": "I am Noah Brown, my zip is 80279."},
        {"role": "assistant", "content": "I guess that you are ann_lee_99."},
        {"role": "tool", "content": "noah_brown_6181", "tool_call_id": "call_1"},
    ]
    right = {"role": "assistant", "content": None, "tool_calls": calls if expected is not None else []}
    return EvalItem(item={"messages": messages, "tools": TOOLS, "expected_output": right})


META = ItemMeta(
    item_id="c1-t1",
    conversation_id="c1",
    scenario_id="s1",
    customer_id="noah_brown_6181",
    turn=1,
    kind="call",
    intents=("update_address",),
    tool="get_user_details",
    depth=1,
    propagates=True,
)


def answer(*calls: tuple[str, Any], content: str | None = None) -> Answer:
    made = [
        ToolCall(id=str(n), name=name, arguments=given if isinstance(given, str) else json.dumps(given))
        for n, (name, given) in enumerate(calls)
    ]
    return Answer(content=content, tool_calls=tuple(made), latency_s=0.5, prompt_tokens=7, completion_tokens=3)


def test_the_right_call_is_right_in_every_field() -> None:
    score = score_answer(item(GOLD), META, answer(("get_user_details", GOLD)))
    assert (score.value, score.called, score.name_right, score.arguments_right, score.calls) == (
        1.0,
        True,
        True,
        True,
        1,
    )
    assert score.explanation == 'as expected: get_user_details{"user_id": "noah_brown_6181"}'
    assert (score.latency_s, score.prompt_tokens, score.completion_tokens) == (0.5, 7, 3)


@pytest.mark.parametrize("made_up", ["noah_brown_80279", "ann_lee_1234", "ann_lee_99"])
def test_an_id_from_the_policy_the_model_itself_or_nowhere_is_invented(made_up: str) -> None:
    score = score_answer(item(GOLD), META, answer(("get_user_details", {"user_id": made_up})))
    assert (score.value, score.name_right, score.arguments_right, score.invented_calls) == (0.5, True, False, 1)
    assert score.invented == (f"user_id '{made_up}'",)
    assert score.explanation == (
        'expected get_user_details{"user_id": "noah_brown_6181"}; '
        f'got get_user_details{{"user_id": "{made_up}"}}: '
        f"user_id is '{made_up}' instead of 'noah_brown_6181', user_id '{made_up}' invented"
    )


def test_a_wrong_value_that_the_customer_said_is_not_invented() -> None:
    score = score_answer(item(GOLD), META, answer(("get_user_details", {"user_id": "80279"})))
    assert (score.value, score.invented) == (0.5, ())


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({}, "user_id is missing"),
        ({**GOLD, "zip": "80279"}, "there is no zip"),
        ("{oops", "the arguments are not a JSON object"),
        ({"user_id": 6181}, "user_id is 6181 instead of 'noah_brown_6181'"),
    ],
)
def test_the_explanation_names_what_differs(made: Any, words: str) -> None:
    assert words in score_answer(item(GOLD), META, answer(("get_user_details", made))).explanation


def test_a_wrong_tool_a_missing_and_an_extra_call_are_told_apart() -> None:
    wrong = score_answer(item(GOLD), META, answer(("find_user_id_by_email", {"email": "a@b.c"})))
    assert (wrong.value, wrong.called, wrong.name_right) == (0.0, True, False)
    missing = score_answer(item(GOLD), META, answer(content="Who are you?"))
    assert (missing.value, missing.called) == (0.0, False)
    assert missing.explanation.endswith("got text 'Who are you?'")
    extra = score_answer(item(GOLD), META, answer(("get_user_details", GOLD), ("get_user_details", GOLD)))
    assert (extra.value, extra.name_right, extra.arguments_right, extra.calls) == (
        pytest.approx(2 / 3),
        False,
        False,
        2,
    )


def test_text_is_right_where_text_is_expected_and_a_call_is_not() -> None:
    said = score_answer(item(None), META, answer(content="Hello"))
    assert (said.value, said.answer, said.name_right) == (1.0, "Hello", False)
    called = score_answer(item(None), META, answer(("get_user_details", GOLD)))
    assert (called.value, called.called, called.name_right) == (0.0, True, False)
    assert called.explanation.startswith("expected an answer in text; got get_user_details")


def test_an_error_scores_nothing_and_says_why() -> None:
    failed = Answer(error="timeout", error_message="no answer within 5 s", latency_s=5.0)
    score = score_answer(item(None), META, failed)
    assert (score.value, score.error, score.called) == (0.0, "timeout", False)
    assert score.explanation == "expected an answer in text; got no answer (timeout): no answer within 5 s"


def test_an_explanation_stays_short_whatever_the_model_wrote() -> None:
    flood = answer(*[("get_user_details", {"user_id": f"u{n}"}) for n in range(1000)])
    score = score_answer(item(GOLD), META, flood)
    assert len(score.explanation) < 1000
    assert score.calls == 1000
    assert len(score_answer(item(GOLD), META, answer(content="x" * 10**6)).explanation) < 1000


@pytest.mark.parametrize("depth", [50, 400, 900, 100_000])
def test_arguments_nested_without_end_are_scored(depth: int) -> None:
    score = score_answer(
        item(GOLD), META, answer(("get_user_details", '{"user_id": ' + "[" * depth + "]" * depth + "}"))
    )
    assert score.value == 0.5


@given(st.text(), st.text(), st.none() | st.text())
def test_any_answer_is_scored(name: str, arguments: str, content: str | None) -> None:
    score = score_answer(item(GOLD), META, answer((name, arguments), content=content))
    assert 0.0 <= score.value <= 1.0
