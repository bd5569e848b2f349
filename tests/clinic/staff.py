"""A chat model that can play every part at the clinic, each from what its request shows and nothing else."""

import json
import re
from typing import Any

from tests.fake_provider import Reply, call, say

Request = dict[str, Any]


def play(request: Request) -> Reply:
    """Answer as the part that the system prompt gives."""
    system = request["messages"][0]["content"]
    if system.startswith("You play a customer"):
        return customer(request)
    if system.startswith("You write scenarios"):
        return author(request)
    return agent(request)


def part_of(request: Request) -> str:
    """Return which part a request is for."""
    starts = {"You play a customer": "customer", "You write scenarios": "author"}
    system = request["messages"][0]["content"]
    return next((part for start, part in starts.items() if system.startswith(start)), "agent")


def results(request: Request) -> list[str]:
    """Return what the tools told."""
    return [m["content"] for m in request["messages"] if m["role"] == "tool"]


def author(request: Request) -> Reply:
    """Look the owner up, choose another day where one is needed, and write the scenario."""
    [task] = [m["content"] for m in request["messages"][1:2]]
    owner_id = re.findall(r"own-\d+", task)[0]
    told = results(request)
    if not told:
        return call("get_owner", {"owner_id": owner_id})
    owner = json.loads(told[0])
    visit, pet = owner["visits"][0], owner["pets"][0]
    facts = {"phone": owner["phone"], "pet": pet["name"]}
    if "cancel" in task:
        calls = [{"name": "cancel_visit", "arguments": {"visit_id": visit["visit_id"]}}]
        return _scenario("You want to cancel the visit of your pet.", facts, calls)
    if len(told) == 1:
        return call("list_free_slots", {"day": "Friday"})
    slot = json.loads(told[1])[0]["slot_id"]
    facts["day"] = "Friday"
    if "move" in task:
        calls = [{"name": "move_visit", "arguments": {"visit_id": visit["visit_id"], "slot_id": slot}}]
        return _scenario("You want to move the visit of your pet to the day.", facts, calls)
    booked = {"pet_id": pet["pet_id"], "slot_id": slot, "reason": "it limps"}
    calls = [{"name": "book_visit", "arguments": booked}]
    return _scenario("You want to book one more visit, on the day.", facts | {"reason": "it limps"}, calls)


def customer(request: Request) -> Reply:
    """Say the wish with all facts, agree, and go when it is done."""
    prompt, heard = request["messages"][0]["content"], request["messages"][-1]["content"]
    facts = dict(re.findall(r"^- ([\w ]+): (.*)$", prompt, re.MULTILINE))
    if "yes/no" in heard:
        return say("Yes, please.")
    if len(request["messages"]) > 2:
        return say("###END###")
    wish = re.findall(r"cancel|move|book", prompt)[0]
    words = [f"Hi, please {wish} a visit for {facts['pet']}. My phone is {facts['phone']}."]
    words += [f"On {facts['day']}."] if "day" in facts else []
    words += [f"The reason: {facts['reason']}."] if "reason" in facts else []
    return say(" ".join(words))


def agent(request: Request) -> Reply:
    """Find the owner, read the record, look for a slot, ask, act and tell."""
    said = [m["content"] for m in request["messages"] if m["role"] == "user"]
    told = results(request)
    if not told:
        return call("find_owner", {"phone": re.findall(r"555-\d+", said[0])[0]})
    if len(told) == 1:
        return call("get_owner", {"owner_id": told[0]})
    day = re.search(r"On (\w+)\.", said[0])
    if day and len(told) == 2:
        return call("list_free_slots", {"day": day[1]})
    if len(said) == 1:
        return say("I will do that. Is that right (yes/no)?")
    if len(told) == (4 if day else 3):
        return say("That is done. Anything else?")
    return _change(said[0], json.loads(told[1]), json.loads(told[2])[0]["slot_id"] if day else "")


def _change(wish: str, owner: dict[str, Any], slot: str) -> Reply:
    visit, pet = owner["visits"][0]["visit_id"], owner["pets"][0]["pet_id"]
    if "cancel" in wish:
        return call("cancel_visit", {"visit_id": visit})
    if "move" in wish:
        return call("move_visit", {"visit_id": visit, "slot_id": slot})
    return call("book_visit", {"pet_id": pet, "slot_id": slot, "reason": re.findall(r"reason: (.*)\.", wish)[0]})


def _scenario(wish: str, facts: dict[str, str], calls: list[dict[str, Any]]) -> Reply:
    return say(json.dumps({"wish": wish, "facts": facts, "calls": calls, "tells": []}))
