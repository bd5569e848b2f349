"""Agents that serve the replay family by what they can see, over HTTP: a careful one, and ones with a flaw."""

import json
import re
from collections.abc import Callable
from typing import Any

from tests.fake_provider import Reply, call, say

UserId = Callable[[str, str], str]

_NAME_ZIP = re.compile(r"I am (\w+) (\w+), my zip is (\d{5})")
_EMAIL = re.compile(r"[\w.]+@[\w.]+\w")
_STATUS = re.compile(r"status of my order (#W\d+)")
_ADDRESS = re.compile(r"update my address to (.+?), ([^,]+), ([A-Z]{2}) (\d{5}), (USA)")
_USER_ID = re.compile(r"[a-z]+_[a-z]+_\d+")


def agent(user_id: UserId = lambda found, heard: found) -> Callable[[dict[str, Any]], Reply]:
    """Serve by the policy, going on with what `user_id` makes of the lookup's result and the customer's words."""

    def script(request: dict[str, Any]) -> Reply:
        messages = request["messages"]
        heard = " ".join(m["content"] for m in messages if m["role"] == "user")
        found = [m["content"] for m in messages if m["role"] == "tool" and _USER_ID.fullmatch(m["content"])]
        if messages[-1]["role"] == "tool":
            return _after(messages, lambda result: user_id(result, heard))
        if not found:
            return _look_up(heard)
        return _serve(messages[-1]["content"], heard, user_id(found[0], heard))

    return script


def _look_up(heard: str) -> Reply:
    if (email := _EMAIL.search(heard)) is not None:
        return call("find_user_id_by_email", {"email": email[0]})
    name = _NAME_ZIP.search(heard)
    if name is None:
        return say("Please give me your email, or your name and zip code.")
    return call("find_user_id_by_name_zip", {"first_name": name[1], "last_name": name[2], "zip": name[3]})


def _after(messages: list[dict[str, Any]], user_id: Callable[[str], str]) -> Reply:
    """Go on after a tool's result."""
    made, result = messages[-2]["tool_calls"][0]["function"], messages[-1]["content"]
    if "Try again" in result:
        return call(made["name"], made["arguments"])
    match made["name"]:
        case "get_user_details":
            return say("I will set your address to the new one. Do you confirm (yes/no)?")
        case "get_order_details":
            return say(f"It is {json.loads(result)['status']}. Anything else?")
        case "update_address":
            return say("Your address is updated. Anything else?")
    if not _USER_ID.fullmatch(result):
        return say("There are several customers of that name. Please give me your email.")
    return call("get_user_details", {"user_id": user_id(result)})


def _serve(words: str, heard: str, user_id: str) -> Reply:
    if (status := _STATUS.search(words)) is not None:
        return call("get_order_details", {"order_id": status[1]})
    if not words.startswith("Yes"):
        return say("I will set your address to the new one. Do you confirm (yes/no)?")
    wanted = _ADDRESS.search(heard)
    assert wanted is not None
    street, _, unit = wanted[1].partition(", ")
    city, state, zip_code, country = wanted.groups()[1:]
    address = {"address1": street, "address2": unit, "city": city, "state": state, "country": country, "zip": zip_code}
    return call("update_address", {"user_id": user_id, **address})
