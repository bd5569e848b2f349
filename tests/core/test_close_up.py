"""A decision seen close: every argument beside the right one, with where it came from."""

import json
from typing import Any

from tasks.core.close_up import Argument, CloseUp, close_up, turns_of
from tasks.core.conversation import ToolCall
from tasks.core.evaluation import Answer, EvalItem, ItemMeta, Score
from tasks.core.score import score_answer
from tests.decisions import TOOLS

META = ItemMeta(
    item_id="c1-t1",
    conversation_id="c1",
    scenario_id="s1",
    customer_id="ann_lee_1001",
    turn=1,
    kind="call",
    intents=("order_status",),
    tool="get_user_details",
    depth=1,
    propagates=True,
)


def wire(name: str, arguments: str, call_id: str = "call_1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


LOOKUP = wire("find_user_id_by_email", '{"email": "ann1@example.com"}')
MESSAGES = [
    {"role": "system", "content": "Help. User ids look like 'ann_lee_1234'."},
    {"role": "user", "content": "My email is ann1@example.com, my zip is 80279."},
    {"role": "assistant", "content": None, "tool_calls": [LOOKUP]},
    {"role": "tool", "content": "ann_lee_1001", "tool_call_id": "call_1"},
]
RIGHT = wire("get_user_details", '{"user_id": "ann_lee_1001"}')


def item(*calls: dict[str, Any], words: str | None = None) -> EvalItem:
    right = {"role": "assistant", "content": words, "tool_calls": list(calls)}
    return EvalItem(item={"messages": MESSAGES, "tools": TOOLS, "expected_output": right})


def scored(asked: EvalItem, *calls: tuple[str, str], words: str | None = None) -> Score:
    made = tuple(ToolCall(id=str(place), name=name, arguments=text) for place, (name, text) in enumerate(calls))
    return score_answer(asked, META, Answer(content=words, tool_calls=made))


def seen(asked: EvalItem, *calls: tuple[str, str], words: str | None = None) -> CloseUp:
    return close_up(asked, META, {"tuned": scored(asked, *calls, words=words)})


def test_each_argument_says_where_it_comes_from_and_whether_it_is_another_one() -> None:
    found = seen(item(RIGHT), ("get_user_details", '{"user_id": "80279"}'))
    right, tuned = found.moves
    assert right.calls[0].arguments == (
        Argument("user_id", '"ann_lee_1001"', "find_user_id_by_email, message 3", invented=False, differs=False),
    )
    [argument] = tuned.calls[0].arguments
    assert argument == Argument("user_id", '"80279"', "customer, message 1", invented=False, differs=True)
    assert (tuned.outcome, tuned.calls[0].differs, tuned.calls[0].missing) == ("wrong_argument", False, ())


def test_a_value_from_nowhere_is_marked_as_invented() -> None:
    found = seen(item(RIGHT), ("get_user_details", '{"user_id": "ann_lee_80279"}'))
    [argument] = found.moves[1].calls[0].arguments
    assert (argument.origin, argument.invented, argument.differs) == ("nobody gave it", True, True)
    assert found.moves[1].outcome == "invented_id"


def test_a_derived_value_says_what_was_done() -> None:
    found = seen(item(RIGHT), ("get_user_details", '{"user_id": "ANN_LEE_1001"}'))
    assert found.moves[1].calls[0].arguments[0].origin == "derived: case, message 3"


def test_another_tool_is_not_laid_beside_the_right_call() -> None:
    found = seen(item(RIGHT), ("find_user_id_by_email", '{"email": "ann1@example.com"}'))
    [made] = found.moves[1].calls
    assert (made.differs, made.missing, made.arguments[0].differs) == (True, (), False)


def test_what_is_missing_is_named_also_where_the_arguments_cannot_be_read() -> None:
    assert seen(item(RIGHT), ("get_user_details", "{}")).moves[1].calls[0].missing == ("user_id",)
    broken = seen(item(RIGHT), ("get_user_details", '{"user_id": ')).moves[1].calls[0]
    assert (broken.unread, broken.missing, broken.arguments) == ('{"user_id": ', ("user_id",), ())
    deep = seen(item(RIGHT), ("get_user_details", '{"user_id": ' + "[" * 5000 + "]" * 5000 + "}")).moves[1].calls[0]
    assert deep.unread.endswith("more characters)")


def test_two_calls_of_one_tool_are_each_laid_beside_one_right_call() -> None:
    both = item(RIGHT, wire("get_user_details", '{"user_id": "ann1@example.com"}'))
    same = ("get_user_details", '{"user_id": "ann_lee_1001"}')
    first, second = seen(both, same, same).moves[1].calls
    assert (first.arguments[0].differs, second.arguments[0].differs) == (False, True)


def test_words_are_shown_where_nothing_was_called_and_of_older_scores_the_calls_as_text() -> None:
    asked = item(words="How can I help you?")
    found = seen(asked, words="I am sorry.")
    assert [(move.who, move.text, move.calls) for move in found.moves] == [
        ("right", "How can I help you?", ()),
        ("tuned", "I am sorry.", ()),
    ]
    older = scored(item(RIGHT), ("get_user_details", "{}")).model_copy(update={"made": ()})
    assert close_up(item(RIGHT), META, {"base": older}).moves[1].text == "get_user_details{}"


def test_a_model_that_makes_a_thousand_calls_is_cut_short() -> None:
    found = seen(item(RIGHT), *[("get_user_details", json.dumps({f"a{n}": n for n in range(1000)}))] * 1000)
    move = found.moves[1]
    assert (len(move.calls), move.more, len(move.calls[0].arguments)) == (4, 996, 30)


def test_messages_are_numbered_from_the_customers_first_and_long_ones_are_cut() -> None:
    shown = list(turns_of([*MESSAGES, {"role": "user", "content": "x" * 2000}]))
    assert [(turn.number, turn.who) for turn in shown] == [(1, "user"), (2, "call"), (3, "tool"), (4, "user")]
    assert shown[1].text == 'find_user_id_by_email({"email": "ann1@example.com"})'
    assert shown[3].text == "x" * 1000 + " ... (1,000 more characters)"
