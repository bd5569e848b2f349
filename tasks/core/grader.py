"""Grades the tool calls of one decision: standard library only, so that the file can be uploaded as a Python grader.

`grade` is 1.0 for the right tools with the right arguments, 0.5 for the right tool with other arguments, 0.0
otherwise. With several calls it is the order-free F1 of these credits, each expected call matched at most once.
Where the right move is to answer in text, it is 1.0 exactly when no tool was called.

Arguments are compared as JSON values: numbers as numbers (12 is 12.0), a string that holds JSON as that JSON, other
strings without the blanks around them. It grades as the grader that was published with the Zava demo does, except that

- text is never a number: "0071" is not "71", and "71" is not 71, since an id that looks like a number is not one;
- a call is matched once: there, an extra call of the right tool beside the right call still scores 1.0;
- a boolean is no number: there, true is 1;
- no text at all means no arguments: there, "" is not {};
- arguments that are no JSON object are never right: there, any text equals the same text.
"""

import json
from collections import Counter
from typing import Any


def grade(sample: dict[str, Any], item: dict[str, Any]) -> float:
    """Return the score of `sample["output_tools"]` (OpenAI tool calls) against `item["expected_output"]`, 0.0 to 1.0.

    Whatever the model wrote is graded; only an item that holds no list of expected calls raises.

    Raises:
        ValueError: The item has no `expected_output.tool_calls`.
    """
    expected = expected_calls(item)
    actual = [read_call(call) for call in sample.get("output_tools") or []]
    if not expected or not actual:
        return float(not expected and not actual)
    exact, named = match(expected, actual)
    return (exact + named) / (len(expected) + len(actual))


def expected_calls(item: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the name and arguments of each call that an item expects; empty where the right move is to answer."""
    calls = (item.get("expected_output") or {}).get("tool_calls")
    if not isinstance(calls, list):
        raise ValueError("The item has no list expected_output.tool_calls; use [] where the right move is to answer.")
    return [read_call(call) for call in calls]


def read_call(call: Any) -> tuple[str, Any]:
    """Return the name and arguments of an OpenAI tool call; arguments are None where they are not a JSON object."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return "", None
    name = function.get("name")
    return (name if isinstance(name, str) else ""), read_arguments(function.get("arguments"))


def read_arguments(written: Any) -> dict[str, Any] | None:
    """Return arguments as an object, or None where they are not one; no text at all means no arguments."""
    if isinstance(written, str) and written.strip():
        try:
            written = json.loads(written, parse_constant=_refuse)
        except (ValueError, RecursionError):  # RecursionError: a model may write brackets without end
            return None
    elif written is None or isinstance(written, str):
        return {}
    return written if isinstance(written, dict) else None


def match(expected: list[tuple[str, Any]], actual: list[tuple[str, Any]]) -> tuple[int, int]:
    """Return how many expected calls were made exactly, and how many at least by name.

    Equality of calls is transitive, so taking any equal call first is as good as the best assignment.
    """
    left = list(actual)
    exact = 0
    for name, arguments in expected:
        for index, (other_name, other) in enumerate(left):
            if name == other_name and arguments is not None and other is not None and same_value(arguments, other):
                del left[index]
                exact += 1
                break
    wanted, made = Counter(name for name, _ in expected), Counter(name for name, _ in actual if name)
    return exact, (wanted & made).total()


def same_value(first: Any, second: Any) -> bool:
    """Return whether two JSON values are equal. A loop, not a recursion: depth is the model's to choose."""
    pairs = [(first, second)]
    while pairs:
        a, b = map(_read_value, pairs.pop())
        if isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            pairs.extend((a[key], b[key]) for key in a)
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            pairs.extend(zip(a, b, strict=True))
        elif _kind(a) != _kind(b) or a != b:
            return False
    return True


def _read_value(value: Any) -> Any:
    """Return what a value says: the JSON that a string holds, unless that is a number, or the string without blanks."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text.startswith(("{", "[", '"')) and text not in {"true", "false", "null"}:
        return text
    try:
        return json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
