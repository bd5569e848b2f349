import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.tool_schema import ToolBook, read_arguments
from tests.worlds import shop_tools


def tool(name: str = "act", **parameters: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {}, **parameters}
    return {"type": "function", "function": {"name": name, "description": "Act.", "parameters": schema}}


NESTED = tool(
    properties={
        "count": {"type": "integer"},
        "mode": {"enum": ["fast", "slow"]},
        "place": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "ids": {"type": "array", "items": {"type": "string"}},
    },
    required=["count"],
)


@pytest.mark.parametrize(
    "arguments",
    [
        {"count": 1},
        {"count": 1, "mode": "fast", "place": {"city": "Denver"}, "ids": []},
        {"count": -3, "ids": ["a", "b"]},
    ],
)
def test_arguments_that_fit_have_no_fault(arguments: dict[str, Any]) -> None:
    assert ToolBook([NESTED]).fault("act", arguments) is None


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({}, "'count' is a required property"),
        ({"count": "1"}, "act.count: '1' is not of type 'integer'"),
        ({"count": 1.0}, "act.count: 1.0 is not of type 'integer'"),
        ({"count": True}, "act.count: True is not of type 'integer'"),
        ({"count": 1, "extra": 2}, "'extra' was unexpected"),
        ({"count": 1, "mode": "Fast"}, "act.mode: 'Fast' is not one of"),
        ({"count": 1, "place": {"city": "Denver", "zip": "1"}}, "'zip' was unexpected"),
        ({"count": 1, "ids": ["a", 7]}, "act.ids[1]: 7 is not of type 'string'"),
    ],
)
def test_a_fault_names_place_and_value(arguments: dict[str, Any], fault: str) -> None:
    assert fault in str(ToolBook([NESTED]).fault("act", arguments))


def test_an_unknown_tool_is_a_fault() -> None:
    assert ToolBook([NESTED]).fault("fly", {}) == "there is no tool 'fly'"


def test_a_long_value_is_cut_in_the_fault() -> None:
    assert len(str(ToolBook([NESTED]).fault("act", {"count": "x" * 10_000}))) < 200


def test_a_schema_that_points_outside_is_a_fault_and_fetches_nothing() -> None:
    book = ToolBook([tool(properties={"a": {"$ref": "http://127.0.0.1:9/schema.json"}})])
    assert "refers to 'http://127.0.0.1:9/schema.json'" in str(book.fault("act", {"a": 1}))


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ([{"type": "web_search"}], r"tools\[0\] is not of type 'function'"),
        ([tool(), {"type": "function"}], r"tools\[1\] has no function with a name"),
        ([{"type": "function", "function": {"name": "a"}}], r"tools\[0\] \(a\) needs parameters"),
        ([tool(), tool()], r"tools\[1\] is named 'act' like a tool before it"),
        ([tool(properties={"a": {"type": "text"}})], r"tools\[0\] has parameters that are no JSON schema"),
        (["act"], r"tools\[0\] is not"),
    ],
)
def test_broken_tools_are_named(tools: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ToolBook(tools)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting"),
        ("[1]", "a JSON list, not an object"),
        ('{"a": 1, "a": 2}', "a key occurs twice"),
        ('{"a": NaN}', "NaN is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1} x', "Extra data"),
    ],
)
def test_arguments_that_are_not_one_object_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_arguments(text)


@cache
def shop_book() -> ToolBook:
    return ToolBook(shop_tools())


scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=4)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@settings(deadline=None)
@given(data=st.data(), strict=st.booleans())
def test_the_fast_check_and_the_validator_never_disagree(data: st.DataObject, strict: bool) -> None:
    book = shop_book()
    name = data.draw(st.sampled_from(book.names))
    properties = next(t for t in shop_tools() if t["function"]["name"] == name)["function"]["parameters"]["properties"]
    fitting = {"array": st.lists(st.text(max_size=3)), "string": st.text(max_size=3), "integer": st.integers(1, 20)}
    keys = {key: fitting[field["type"]] if strict else values for key, field in properties.items() if "type" in field}
    arguments = data.draw(
        st.fixed_dictionaries(keys) if strict else st.dictionaries(st.sampled_from([*keys, "x"]), values)
    )
    quick = book.fault(name, arguments)
    slow = next(book._validators[name].iter_errors(arguments), None)
    assert (quick is None) == (slow is None)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(st.dictionaries(st.text(), values), st.sampled_from([(",", ":"), (", ", ": ")]), st.booleans())
def test_arguments_are_read_alike_however_they_are_written(
    value: dict[str, Any], separators: tuple[str, str], ascii_only: bool
) -> None:
    text = json.dumps(value, separators=separators, ensure_ascii=ascii_only)
    assert repr(read_arguments(text)) == repr(value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a":1,"a":1}', "twice"),
        ('{"a":{"b":1,"b":2}}', "twice"),
        ('{"a":NaN}', "NaN"),
        ('{"a":1', "delimiter"),
        ("[]", "list"),
    ],
)
def test_what_is_no_json_object_with_each_key_once_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_arguments(text)
