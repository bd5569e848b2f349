"""A model of the grader published with the Zava demo, written anew from its documented behaviour.

It is order-free, gives 1.0 for the right tool and arguments and 0.5 for the right tool, and combines the credits of
several calls to an F1 rounded to six digits. `without` leaves out the behaviours in which ours deliberately differs.
"""

import json
import math
from collections.abc import Collection
from typing import Any

# Each behaviour of the published grader that ours does not share, and why not.
EXCEPTIONS = {
    "text is a number": "an id that looks like a number is not one",
    "an expected call is matched twice": "an extra call of the right tool beside the right one would score 1.0",
    "a boolean is a number": "true is 1 in Python, not in JSON",
    "empty text is not an empty object": "clients, and our agent loop, take it for no arguments",
    "broken arguments equal the same text": "no tool takes arguments that are not a JSON object",
}


def published(sample: dict[str, Any], item: dict[str, Any], without: Collection[str] = ()) -> float:
    actual, expected = sample.get("output_tools") or [], (item.get("expected_output") or {}).get("tool_calls") or []
    if not actual or not expected:
        return float(not actual and not expected)
    unused = list(actual)
    exact = named = 0
    left = []
    for call in expected:
        hit = next((other for other in unused if _credit(other, call, without) == 1.0), None)
        exact += hit is not None
        if hit is None:
            left.append(call)
        else:
            unused.remove(hit)
    for call in left if "an expected call is matched twice" in without else expected:
        hit = next((other for other in unused if _credit(other, call, without) == 0.5), None)
        named += hit is not None
        if hit is not None:
            unused.remove(hit)
    credit = exact + 0.5 * named
    precision, recall = credit / len(actual), credit / len(expected)
    return round(2 * precision * recall / (precision + recall), 6) if credit else 0.0


def _credit(actual: dict[str, Any], expected: dict[str, Any], without: Collection[str]) -> float:
    one, other = actual["function"], expected["function"]
    if one["name"] != other["name"]:
        return 0.0
    made, right = (_arguments(function.get("arguments", {}), without) for function in (one, other))
    if "broken arguments equal the same text" in without and not (isinstance(made, dict) and isinstance(right, dict)):
        return 0.5
    return 1.0 if made == right else 0.5


def _arguments(written: Any, without: Collection[str]) -> Any:
    if written == "" and "empty text is not an empty object" in without:
        return {}
    return _value(written, without)


def _value(written: Any, without: Collection[str]) -> Any:
    value = _decoded(written, without) if isinstance(written, str) else written
    if isinstance(value, dict):
        return {key: _value(inner, without) for key, inner in value.items()}
    if isinstance(value, list):
        return [_value(inner, without) for inner in value]
    if isinstance(value, bool) and "a boolean is a number" in without:
        return f"boolean {value}"
    return _number(value) if isinstance(value, str) and "text is a number" not in without else value


def _decoded(text: str, without: Collection[str]) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text.strip()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return text.strip() if is_number and "text is a number" in without else value


def _number(text: str) -> Any:
    try:
        return int(text) if text.strip().lstrip("-").isdigit() else _finite(float(text), text)
    except ValueError:
        return text


def _finite(number: float, text: str) -> Any:
    return number if math.isfinite(number) else text
