"""Finds tool calls in what a model wrote, in the forms that open-weight models use."""

import json
import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple


class CallFormat(NamedTuple):
    """How a family of models marks a call: JSON between two marks."""

    begin: str
    end: str
    """Empty where a call runs to the end of the turn."""
    named_prefix: str
    """What precedes the arguments of a call, with `{name}` for the tool's name as JSON."""


HERMES = CallFormat("<tool_call>", "</tool_call>", '<tool_call>\n{{"name": {name}, "arguments": ')
MISTRAL = CallFormat("[TOOL_CALLS]", "", '[TOOL_CALLS] [{{"name": {name}, "arguments": ')
LLAMA = CallFormat("<|python_tag|>", "", '{{"name": {name}, "parameters": ')


def format_of(template: str) -> CallFormat:
    """Return the form that a chat template teaches; Hermes' where it shows none."""
    for form in (HERMES, MISTRAL, LLAMA):
        if form.begin in template:
            return form
    return LLAMA if '"parameters"' in template else HERMES


def message_of(text: str, form: CallFormat) -> dict[str, Any]:
    """Return the assistant message that a text spells, in the OpenAI shape.

    A marked call that is not JSON stays a call: its arguments are what the model wrote.
    """
    before, marked, rest = text.partition(form.begin)
    if marked:
        calls = [call for body in _bodies(rest, form) for call in _calls(body, form)]
        return _message(before.strip(), calls)
    if form is LLAMA and (value := _json(text.strip())) is not None and _is_call(value):
        return _message("", list(_calls(text.strip(), form)))
    return {"role": "assistant", "content": text.strip()}


def _message(content: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    return {"role": "assistant", "content": content or None, "tool_calls": calls}


def _bodies(text: str, form: CallFormat) -> Iterator[str]:
    for part in text.split(form.begin):
        yield (part.partition(form.end)[0] if form.end else part).strip()


def _calls(body: str, form: CallFormat) -> Iterator[dict[str, Any]]:
    value = _json(body)
    values = value if isinstance(value, list) and value and all(map(_is_call, value)) else [value]
    for one in values:
        if _is_call(one):
            arguments = one.get("arguments", one.get("parameters", {}))
            yield _call(one["name"], arguments if isinstance(arguments, str) else json.dumps(arguments))
        else:
            yield _broken(body)


def _broken(body: str) -> dict[str, Any]:
    """Return a call for a text that is no JSON call: the name if it can be seen, and the rest as arguments."""
    _, _, after = body.partition('"name":')
    parts = after.split('"', 2)
    if len(parts) < 3 or parts[0].strip():
        return _call("", body)
    _, _, arguments = parts[2].partition(":")
    return _call(parts[1], (arguments or parts[2]).strip())


def _call(name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_call(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)
