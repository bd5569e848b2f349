"""What the models of synthesis are told: the customer, the author of blueprints, and whoever tries again."""

import json
from typing import Any, NamedTuple

from pydantic import ValidationError

from tasks.core.blueprint import Blueprint, Draft
from tasks.core.scenario import GoldCall
from tasks.core.tool_schema import ToolBook

END = "###END###"
OPENING = "Hello, what can I do for you?"

_CUSTOMER = """\
You play a customer who writes to a service desk; the other side is the desk's agent. Stay the customer, always.

{wish}

This is all that you know:
{facts}

- Write one short message at a time, in your own words, as a customer would. Never speak as the agent, never call tools.
- Tell what is needed, and what the agent asks for. Never make up ids, numbers, addresses or anything else: if you are
  asked for what you do not know, say that you do not know it.
- Say yes when the agent asks you to confirm exactly what you want, unless you were told otherwise above.
- When all your wishes are served, or the agent has refused for good, write {end} and nothing else. Not before."""

_AUTHOR = """\
You write scenarios that test a service agent. The agent works by this policy:

<policy>
{policy}
</policy>

You have the agent's tools. Look the customer's records up with them first; change nothing. Then answer with one JSON
object and nothing else:
{{"wish": "what the customer wants and how they behave, told to the customer in the second person",
 "facts": {{"name of the fact": "value that the customer knows and may tell, as text"}},
 "calls": [{{"name": "tool", "arguments": {{}}}}],
 "tells": ["value that the agent must tell the customer"]}}
`calls` are the changes that a perfect agent makes, in order, with arguments as they really are in the records; leave
out the calls that only read. It is empty where the policy forbids the wish or nothing is to be changed. A customer
knows their name and contact, not internal ids, unless they would have them at hand.{notes}"""

_CENSUS = """\
You have the tools of a service desk. Find the ids of its customers with them; change nothing. Then answer with a JSON
array of the ids, as many as you find up to {most}, and nothing else."""


class Instructions(NamedTuple):
    """What is told to a model at first: the system prompt and the first message."""

    system: str
    user: str


def customer_prompt(blueprint: Blueprint) -> str:
    """Return the system prompt of the model that plays the customer."""
    facts = "\n".join(f"- {name}: {value}" for name, value in blueprint.facts.items()) or "- nothing more"
    return _CUSTOMER.format(wish=blueprint.wish, facts=facts, end=END)


def author_prompt(policy: str, notes: str, place: str, customer_id: str, intent: str) -> Instructions:
    """Return what the author of one blueprint is told."""
    more = f"\n\nAbout this desk: {notes}" if notes else ""
    wanted = f" What it is about: {intent}" if intent else ""
    return Instructions(
        _AUTHOR.format(policy=policy, notes=more), f"Write scenario {place} about customer {customer_id!r}.{wanted}"
    )


def census_prompt(most: int) -> Instructions:
    """Return what a model is told that shall find the customers."""
    return Instructions(_CENSUS.format(most=most), "Begin.")


def second_try(prompt: str, fault: str) -> str:
    """Return a system prompt with the fault of the first try, for the model's eyes only."""
    return f"{prompt}\n\nYour first try at this was refused: {fault}. Avoid that, and do not mention it."


def read_draft(text: str, tools: ToolBook) -> Draft:
    """Read what an author wrote.

    Raises:
        ValueError: It is no draft, or a call does not fit its tool; the message says why.
    """
    try:
        value = _json_in(text)
        calls = tuple(GoldCall.model_validate(call) for call in value.get("calls") or ())
        draft = Draft(
            wish=_text(value, "wish"),
            facts={str(name): str(fact) for name, fact in dict(value.get("facts") or {}).items()},
            gold_calls=calls,
            outcome="done" if calls else "answered",
            tells=tuple(str(told) for told in value.get("tells") or ()),
        )
    except ValidationError as error:
        raise ValueError(f"a call is a name with arguments: {error.errors(include_url=False)[0]['msg']}") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(f"it is not of the form that was asked for ({error})") from None
    for call in draft.gold_calls:
        if fault := tools.fault(call.name, call.arguments):
            raise ValueError(fault)
    return draft


def read_ids(text: str) -> list[str]:
    """Read a JSON array of ids.

    Raises:
        ValueError: It is something else.
    """
    value = _json_in(text, "[]")
    if not isinstance(value, list) or not all(isinstance(part, str) and part for part in value):
        raise ValueError("it is not a JSON array of ids")
    return list(dict.fromkeys(value))


def _json_in(text: str, edges: str = "{}") -> Any:
    """Return the JSON value in a text that may have words or a fence around it."""
    start, end = text.find(edges[0]), text.rfind(edges[1])
    if start < 0 or end < start:
        raise ValueError("there is no JSON in it")
    try:
        return json.loads(text[start : end + 1])
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str) or not found.strip():
        raise ValueError(f"{name!r} is missing")
    return found
