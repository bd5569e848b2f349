"""The grader: what counts as the same call, and properties that hold for any answer."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core import grader
from tasks.core.grader import grade

Call = dict[str, Any]

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("a7")
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.sampled_from("ab"), SCALARS, max_size=2)
ARGUMENTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=2)
NAMES = st.sampled_from(["find", "get", "cancel"])


def call(name: str, arguments: dict[str, Any] | str) -> Call:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": text}}


def item(*calls: Call) -> dict[str, Any]:
    return {"messages": [], "tools": [], "expected_output": {"role": "assistant", "tool_calls": list(calls)}}


def sample(*calls: Any) -> dict[str, Any]:
    return {"output_tools": list(calls)}


CALLS = st.lists(st.builds(call, NAMES, ARGUMENTS), max_size=3)
SOME_CALLS = st.lists(st.builds(call, NAMES, ARGUMENTS), min_size=1, max_size=3)
ANY_CALLS = st.lists(
    st.builds(call, NAMES, ARGUMENTS | st.text())
    | SCALARS
    | st.dictionaries(st.sampled_from(["function", "name"]), VALUES),
    max_size=3,
)


@pytest.mark.parametrize(
    ("expected", "made", "score"),
    [
        ({"user_id": "noah_brown_6181"}, {"user_id": "noah_brown_6181"}, 1.0),
        ({"user_id": "noah_brown_6181"}, {"user_id": "noah_brown_80279"}, 0.5),
        ({"n": 12}, {"n": 12.0}, 1.0),
        ({"n": 0.1}, {"n": 0.10}, 1.0),
        ({"n": 12}, {"n": "12"}, 0.5),
        ({"n": "12.50"}, {"n": "12.5"}, 0.5),
        ({"zip": "0071"}, {"zip": "71"}, 0.5),
        ({"zip": "71"}, {"zip": 71}, 0.5),
        ({"n": 1}, {"n": True}, 0.5),
        ({"n": 0}, {"n": False}, 0.5),
        ({"n": None}, {"n": 0}, 0.5),
        ({"n": 2**53 + 1}, {"n": 2**53}, 0.5),
        ({"ids": ["1", "2"]}, {"ids": ["2", "1"]}, 0.5),
        ({"ids": ["1"]}, {"ids": ["1", "1"]}, 0.5),
        ({"name": "Noah"}, {"name": "Noah "}, 1.0),
        ({"name": "Noah Brown"}, {"name": "NoahBrown"}, 0.5),
        ({"ids": ["1", "2"]}, {"ids": '["1", "2"]'}, 1.0),
        ({"ids": ["1", "2"]}, {"ids": '["1", "2"'}, 0.5),
        ({"ids": ["1"]}, {"ids": "[1]"}, 0.5),
        ({"n": None}, {"n": "null"}, 1.0),
        ({"n": 1}, {"n": "true"}, 0.5),
        ({"a": "1", "b": "2"}, '{ "b" : "2" ,\n "a":"1" }', 1.0),
        ({"a": "1"}, {"a": "1", "b": "2"}, 0.5),
        ({}, "", 1.0),
        ({"a": "1"}, '{"a": "1"', 0.5),
        ({"a": "1"}, '["a", "1"]', 0.5),
        ({"a": 1}, '{"a": NaN}', 0.5),
        ({"a": 1}, '{"a": ' + "9" * 5000 + "}", 0.5),
        ({"a": 1}, '{"a": ' + "[" * 100_000, 0.5),
    ],
)
def test_arguments_are_compared_as_json_values(
    expected: dict[str, Any], made: dict[str, Any] | str, score: float
) -> None:
    assert grade(sample(call("get", made)), item(call("get", expected))) == score


def test_arguments_may_be_an_object_instead_of_its_text() -> None:
    as_object = {"type": "function", "function": {"name": "get", "arguments": {"a": 1}}}
    assert grade(sample(as_object), item(call("get", {"a": 1}))) == 1.0
    assert grade(sample(call("get", {"a": 1})), item(as_object)) == 1.0


def test_another_tool_scores_nothing_whatever_its_arguments() -> None:
    assert grade(sample(call("find", {"a": 1})), item(call("get", {"a": 1}))) == 0.0


def test_a_text_decision_is_right_exactly_when_nothing_was_called() -> None:
    assert grade(sample(), item()) == 1.0
    assert grade({"output_tools": None, "output_text": "Hello"}, item()) == 1.0
    assert grade(sample(call("get", {})), item()) == 0.0


def test_a_missing_call_scores_nothing() -> None:
    assert grade(sample(), item(call("get", {}))) == 0.0


def test_the_right_call_beside_an_extra_one_scores_the_f1_of_two_thirds() -> None:
    right = call("get", {"a": 1})
    assert grade(sample(right, call("find", {})), item(right)) == pytest.approx(2 / 3)
    assert grade(sample(right, right), item(right)) == pytest.approx(2 / 3)


def test_an_expected_call_is_matched_once_and_exactly_first() -> None:
    one, two = call("get", {"a": 1}), call("get", {"a": 2})
    assert grade(sample(two, one), item(one, two)) == 1.0
    assert grade(sample(one, one), item(one, two)) == pytest.approx(0.75)
    assert grade(sample(one), item(one, two)) == pytest.approx(2 / 3)


@pytest.mark.parametrize("broken", [{}, {"expected_output": {}}, {"expected_output": {"tool_calls": None}}])
def test_an_item_without_expected_calls_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected_output\.tool_calls"):
        grade(sample(), broken)


@given(SOME_CALLS)
def test_the_expected_calls_score_one(calls: list[Call]) -> None:
    assert grade(sample(*calls), item(*calls)) == 1.0


@given(ANY_CALLS, CALLS)
def test_whatever_the_model_wrote_the_score_is_between_zero_and_one(made: list[Any], expected: list[Call]) -> None:
    assert 0.0 <= grade(sample(*made), item(*expected)) <= 1.0


@given(st.text())
def test_any_text_as_arguments_is_graded(text: str) -> None:
    assert grade(sample(call("get", text)), item(call("get", {"a": 1}))) in {0.5, 1.0}


@given(CALLS, CALLS, st.randoms(use_true_random=False))
def test_the_order_of_calls_and_of_keys_does_not_matter(made: list[Call], expected: list[Call], random: Any) -> None:
    def shuffled(calls: list[Call]) -> list[Call]:
        copy = []
        for one in calls:
            pairs = list(json.loads(one["function"]["arguments"]).items())
            random.shuffle(pairs)
            copy.append(call(one["function"]["name"], dict(pairs)))
        random.shuffle(copy)
        return copy

    before = grade(sample(*made), item(*expected))
    assert grade(sample(*shuffled(made)), item(*shuffled(expected))) == before


@given(CALLS, CALLS)
def test_the_score_is_symmetric(made: list[Call], expected: list[Call]) -> None:
    assert grade(sample(*made), item(*expected)) == grade(sample(*expected), item(*made))


@given(SOME_CALLS, st.builds(call, NAMES, ARGUMENTS | st.text()))
def test_a_call_beyond_the_expected_ones_lowers_a_perfect_score(expected: list[Call], extra: Call) -> None:
    assert grade(sample(*expected, extra), item(*expected)) < 1.0


@given(CALLS, CALLS, ARGUMENTS)
def test_a_call_that_nobody_expects_never_raises_the_score(
    made: list[Call], expected: list[Call], arguments: dict[str, Any]
) -> None:
    extra = call("unexpected", arguments)
    assert grade(sample(*made, extra), item(*expected)) <= grade(sample(*made), item(*expected))


def test_the_file_stands_alone_so_that_it_can_be_uploaded() -> None:
    source = Path(grader.__file__).read_text(encoding="utf-8")
    imported = {
        name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported == {"json", "collections", "typing"}
    scope: dict[str, Any] = {}
    exec(compile(source, "grader", "exec"), scope)
    assert scope["grade"](sample(call("get", {"a": 1})), item(call("get", {"a": 1}))) == 1.0
