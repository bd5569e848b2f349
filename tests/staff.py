"""A chat model that plays customer and agent of the shop for questions about an order, from what its request shows."""

import json
import re
from typing import Any

from tests.fake_provider import Reply, call, say

Request = dict[str, Any]


def is_customer(request: Request) -> bool:
    """Whether the customer is asked."""
    return bool(request["messages"][0]["content"].startswith("You play a customer"))


def play(request: Request) -> Reply:
    """Answer as customer or agent."""
    return _customer(request) if is_customer(request) else _agent(request)


def _customer(request: Request) -> Reply:
    if len(request["messages"]) > 2:
        return say("Thank you! ###END###")
    facts = re.findall(r"^- [\w ]+: (.*)$", request["messages"][0]["content"], re.MULTILINE)
    return say(f"Hi, what about my order? Here is what I know: {', '.join(facts)}.")


def _agent(request: Request) -> Reply:
    words = next(m["content"] for m in request["messages"] if m["role"] == "user")
    facts = words.partition("know: ")[2].removesuffix(".").split(", ")
    told = [
        m["content"] for m in request["messages"] if m["role"] == "tool" and "not a JSON object" not in m["content"]
    ]
    if not told and "@" in words:
        return call("find_user_id_by_email", {"email": facts[2]})
    if not told:
        return call("find_user_id_by_name_zip", {"first_name": facts[0], "last_name": facts[1], "zip": facts[2]})
    if len(told) == 1:
        return call("get_user_details", {"user_id": told[0]})
    if len(told) == 2:
        return call("get_order_details", {"order_id": facts[3]})
    return say(f"Your order is {json.loads(told[2])['status']}. Anything else?")
