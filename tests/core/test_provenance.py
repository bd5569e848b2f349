import json
import string
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.core.provenance import Origin, Sources, is_propagated, trace_arguments, unsourced
from tasks.core.tool_schema import ToolBook

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "act",
            "description": "Act on an order, such as '#W0000000'.",
            "parameters": {
                "type": "object",
                "properties": {
                    "limit": {"type": "integer", "default": 5},
                    "reason": {"enum": ["no longer needed", "ordered by mistake"]},
                },
            },
        },
    }
]
BOOK = ToolBook(TOOLS)
PROFILE = {
    "user_id": "noah_brown_6181",
    "address": {"city": "Denver", "country": "USA", "zip": "80279"},
    "payment_methods": {"paypal_5727330": {"id": "paypal_5727330", "balance": 1234.5}},
}
HISTORY: list[dict[str, Any]] = [
    {"role": "system", "content": "Cancel orders like '#W1111111'. Hand over to a human agent."},
    {
        "role": "user",
        "content": "I am Noah Brown, zip 80279. Send it to 415 Maple Avenue, Apt 203 in Boulder, CO 80302.",
    },
    {"role": "assistant", "content": "Is it noah_brown_9999, for $77.00?"},
    {"role": "tool", "content": json.dumps(PROFILE), "tool_call_id": "call_1"},
    {"role": "user", "content": "Order #W7654321, it cost me $1,099.90 I think"},
]


PIECES = ["#W7654321", "Noah", "noah", "80279", "$1,099.90", "1099.9", ",", " ", "ß", "x", "No longer needed"]
told = st.lists(st.sampled_from(PIECES))
said = st.builds("".join, told)


@given(
    history=st.lists(st.tuples(st.sampled_from(["user", "tool"]), said, said), max_size=5),
    arguments=st.dictionaries(st.sampled_from("abc"), st.one_of(said, st.lists(said), st.integers(0, 9))),
)
@example(history=[("tool", " ", "#W7654321")], arguments={"a": " "})
def test_what_is_surely_held_was_never_invented(history: list[tuple[str, str, str]], arguments: dict[str, Any]) -> None:
    sources = Sources(BOOK)
    for number, (role, content, asked) in enumerate(history):
        call = {"id": f"call_{number}", "function": {"name": "act", "arguments": json.dumps({"of": asked})}}
        sources.add({"role": "assistant", "content": None, "tool_calls": [call]})
        sources.add({"role": role, "content": content, "tool_call_id": call["id"]})
    if sources.surely_hold(arguments):
        assert {traced.origin.kind for traced in trace_arguments(arguments, sources)} <= {"user", "tool", "schema"}


def test_a_value_that_a_result_says_back_is_not_surely_held() -> None:
    sources = Sources.of(HISTORY, TOOLS)
    assert sources.surely_hold({"user_id": "noah_brown_6181", "ids": ["#W7654321"]})
    call = {"id": "call_9", "function": {"name": "act", "arguments": '{"id":"noah_brown_80279"}'}}
    sources.add({"role": "assistant", "content": None, "tool_calls": [call]})
    sources.add({"role": "tool", "content": "No customer 'noah_brown_80279'", "tool_call_id": "call_9"})
    assert not sources.surely_hold({"user_id": "noah_brown_80279"})


def invented(value: Any, name: str = "value") -> list[str]:
    return unsourced({name: value}, Sources.of(HISTORY, TOOLS))


@pytest.mark.parametrize(
    "value",
    [
        "noah_brown_6181",
        "NOAH",
        "Denver",
        "80279",
        "paypal_5727330",
        "#W7654321",
        "W7654321",
        "#80279",
        "415 Maple Avenue",
        "415 maple avenue, apt 203",
        "Apt 203, Denver",
        "1099.90",
        "$1,099.90",
        1099.9,
        1234.5,
        "$1,234.50",
        5,
        "no longer needed",
        "human agent",
        "1099.90 - 1234.5",
        "",
        None,
        True,
        [],
        ["80279", ["Denver"]],
        {"city": "Boulder", "state": "CO"},
    ],
)
def test_what_was_said_or_shown_is_sourced_also_when_derived_simply(value: Any) -> None:
    assert invented(value) == []


@pytest.mark.parametrize(
    "value",
    [
        "noah_brown_80279",  # a name and a ZIP code make no user id
        "noah_brown_9999",  # only the assistant said it
        "$77.00",
        "8027",
        "279",
        "415 Oak Avenue",
        "#W1111111",  # an example of the policy
        "#W0000000",  # an example of a tool's description
        "paypal_572733",
        "denve",
        6,
        1099,
        "0080279",
        "Chicago",
        "1099.90 * 3",
    ],
)
def test_what_nobody_said_is_invented(value: Any) -> None:
    assert invented(value) == [f"value {value!r}"]


@pytest.mark.parametrize(
    ("value", "origin", "stretch"),
    [
        ("noah_brown_6181", Origin("tool", 3, "noah_brown_6181"), "noah_brown_6181"),
        ("Noah Brown", Origin("user", 1, "noah brown"), "Noah Brown"),
        ("#W7654321", Origin("user", 4, "#w7654321"), "#W7654321"),
        ("human agent", Origin("policy", 0, "human agent"), "human agent"),
        ("NOAH", Origin("derived", 1, "noah", "case"), "Noah"),
        ("#80279", Origin("derived", 1, "80279", "format"), "80279"),
        ("1099.90", Origin("derived", 4, "1099.90", "format"), HISTORY[4]["content"]),  # written otherwise there
        (1234.5, Origin("tool", 3, "1234.5"), "1234.5"),
        ("no longer needed", Origin("schema"), None),
        (5, Origin("schema"), None),
        ("Apt 203, Denver", Origin("derived", None, "", "put together"), None),
        ("1099.90 - 1234.5", Origin("derived", None, "", "arithmetic"), None),
        ("134.60", Origin("derived", None, "", "sum"), None),
        (2334.4, Origin("derived", None, "", "sum"), None),
        ("noah_brown_80279", Origin("invented"), None),
    ],
)
def test_the_origin_of_a_value_names_its_kind_and_points_at_the_words(
    value: Any, origin: Origin, stretch: str | None
) -> None:
    sources = Sources.of(HISTORY, TOOLS)
    [traced] = trace_arguments({"value": value}, sources)
    assert traced.origin == origin
    span = sources.span(traced.origin)
    assert (span and HISTORY[span.turn]["content"][span.start : span.end]) == stretch


def answered(arguments: dict[str, Any], result: str) -> list[dict[str, Any]]:
    function = {"name": "act", "arguments": json.dumps(arguments)}
    call = {"id": "call_9", "type": "function", "function": function}
    return [
        *HISTORY,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": result, "tool_call_id": "call_9"},
    ]


@pytest.mark.parametrize(
    ("arguments", "result", "value"),
    [
        ({"user_id": "noah_brown_80279"}, "No customer 'noah_brown_80279'.", "noah_brown_80279"),
        ({"user_id": "Noah_Brown_80279"}, "No customer 'noah_brown_80279'.", "noah_brown_80279"),
        ({"street": "77 Elm Road"}, '{"street": "77 Elm Road"}', "77 Elm Road"),
        ({"amount": 31.07}, "31.07 is too much.", 31.07),
        ({"items": ["4321"]}, "No item '4321'.", "4321"),
    ],
)
def test_a_result_that_only_says_a_made_up_value_back_is_no_source_of_it(
    arguments: dict[str, Any], result: str, value: Any
) -> None:
    messages = answered(arguments, result)
    assert unsourced({"value": value}, Sources.of(messages, TOOLS)) == [f"value {value!r}"]
    found = {"role": "tool", "content": result, "tool_call_id": "call_10"}  # of another call
    assert unsourced({"value": value}, Sources.of([*messages, found], TOOLS)) == []


def test_a_value_that_was_given_stays_given_when_a_result_says_it_back() -> None:
    sources = Sources.of(answered({"zip": "80302", "limit": 5}, '{"zip": "80302", "total": 12}'), TOOLS)
    assert unsourced({"zip": "80302", "total": 12}, sources) == []


@pytest.mark.parametrize(
    ("said", "date"),
    [
        ("It came on November 3rd, 2026", "2026-11-03"),
        ("on 3 Nov 2026, I think", "2026-11-03"),
        ("since 11/03/2026.", "2026-11-03"),
        ("delivered 2026-11-03", "November 3, 2026"),
        ("it was the 3rd of November", "2026-11-03"),
    ],
)
def test_a_date_written_in_another_way_is_derived(said: str, date: str) -> None:
    sources = Sources.of([{"role": "user", "content": said}], TOOLS)
    assert sources.origin(date)[::3] == ("derived", "date")
    assert sources.origin(date.replace("3", "4", 1) if date[0] == "N" else "2026-11-04").kind == "invented"


def test_words_to_the_customer_may_hold_no_id_or_amount_that_nobody_gave() -> None:
    sources = Sources.of(HISTORY, TOOLS)
    founded = "Order #W7654321 of noah_brown_6181: 1,099.90 back to paypal_5727330 in 5 to 7 days. (2 items)"
    assert sources.unfounded(founded) == []
    made_up = "#W7654320's total is $12.34, zip 80278, write to eve@example.com."
    assert sources.unfounded(made_up) == ["#w7654320", "$12.34", "80278", "eve@example.com"]


def test_the_path_of_an_invented_value_is_named() -> None:
    arguments = {"ids": ["80279", "80270"], "place": {"city": "Chicago"}}
    assert unsourced(arguments, Sources.of(HISTORY, TOOLS)) == ["ids[1] '80270'", "place.city 'Chicago'"]


def test_prose_is_the_models_own_but_ids_and_numbers_in_it_are_not() -> None:
    assert invented("A frustrated shopper asks about order #W7654321.", "summary") == []
    assert invented("A frustrated shopper asks about order #W7654320.", "summary") != []
    assert invented("Write to eve@example.com.", "summary") != []


def test_a_value_is_not_sourced_before_it_is_said() -> None:
    sources = Sources(BOOK)
    assert unsourced({"zip": "80279"}, sources) == ["zip '80279'"]
    sources.add(HISTORY[1])
    assert unsourced({"zip": "80279"}, sources) == []


def test_characters_that_json_writes_as_escapes_are_read() -> None:
    sources = Sources(BOOK)
    sources.add({"role": "tool", "content": json.dumps({"name": 'Zo\u00eb "Z" M\u00fcller'})})
    assert unsourced({"name": 'Zo\u00eb "Z" M\u00fcller'}, sources) == []


@pytest.mark.parametrize(
    ("value", "propagated"),
    [
        ("noah_brown_6181", True),
        (["x", "paypal_5727330"], True),
        ({"address": {"city": "denver"}}, True),
        (1234.5, True),
        ("USA", False),  # too short to mean anything
        ("Boulder", False),  # only the customer said it
        (True, False),
        (None, False),
        ([], False),
    ],
)
def test_a_propagated_value_is_one_that_a_tool_returned(value: Any, propagated: bool) -> None:
    assert is_propagated(value, [m["content"] for m in HISTORY if m["role"] == "tool"]) is propagated


words = st.text(string.ascii_letters + string.digits + "_@.-", min_size=1, max_size=12).filter(
    lambda word: any(map(str.isalnum, word)) and word.strip("._-@") == word
)
sayings = st.lists(words, min_size=1, max_size=12)


@settings(deadline=None)
@given(sayings, st.data())
def test_any_run_of_words_that_a_customer_says_is_sourced(said: list[str], data: st.DataObject) -> None:
    sources = Sources(BOOK)
    sources.add({"role": "user", "content": " ".join(said)})
    start = data.draw(st.integers(0, len(said) - 1))
    end = data.draw(st.integers(start + 1, len(said)))
    change = data.draw(st.sampled_from([str, str.upper, str.lower, str.title]))
    assert unsourced({"value": change(" ".join(said[start:end]))}, sources) == []


@settings(deadline=None)
@given(sayings, words)
def test_a_longer_word_than_any_that_was_said_is_invented(said: list[str], word: str) -> None:
    sources = Sources(BOOK)
    sources.add({"role": "user", "content": " ".join(said)})
    longer = word.strip("._-@") + "7" * max(map(len, said))
    assert unsourced({"value": longer}, sources) == [f"value {longer!r}"]


@settings(deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=12,
    )
)
def test_what_a_tool_returned_is_sourced_whole_and_any_value_is_judged(record: Any) -> None:
    sources = Sources(BOOK)
    unsourced({"value": record}, sources)
    sources.add({"role": "tool", "content": json.dumps(record)})
    assert unsourced({"value": record}, sources) == []
