"""Hurdles: what makes a conversation harder without changing how it must end, laid where a scenario has room for it."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

from tasks.core.errand import NEEDED_STATUS
from tasks.core.scenario import REFUSED, Hurdle, Intent, Request, Scenario

# Requests that can be made without naming the order, and those that can be moved to another order as they are.
UNNAMED: frozenset[Intent] = frozenset({"order_status", "cancel", "return"})
MOVABLE: frozenset[Intent] = frozenset({"cancel", "modify_order_address"})


class Room(NamedTuple):
    """What the records have room for: orders of the customer's that can be read besides, and zip codes of others."""

    orders: Sequence[Mapping[str, Any]]
    zips: Sequence[str]


def with_hurdles(scenario: Scenario, shares: Mapping[Hurdle, float], room: Room, rng: random.Random) -> Scenario:
    """Return a scenario with each hurdle that it has room for, by its share."""
    for hurdle in get_args(Hurdle):
        if rng.random() >= shares.get(hurdle, 0.0):
            continue
        laid = _laid(hurdle, scenario, room, rng)
        if laid is not None:
            scenario = laid.model_copy(update={"hurdles": (*laid.hurdles, hurdle)})
    return scenario


def _laid(hurdle: Hurdle, scenario: Scenario, room: Room, rng: random.Random) -> Scenario | None:
    """Return the scenario with what the hurdle needs, or None where there is no room for it."""
    match hurdle:
        case "no_email":
            asked = scenario.authenticate_by == "name_zip" and scenario.opening in {"request_first", "vague"}
            return scenario if asked else None
        case "wrong_zip":
            return _with_wrong_zip(scenario, room.zips, rng)
        case "unnamed_order":
            return _with_request(scenario, [_unnamed(request) for request in scenario.requests])
        case "wrong_order":
            return _with_request(scenario, [_misnamed(request, scenario, room, rng) for request in scenario.requests])
        case "persists":
            return scenario if any(request.trap in REFUSED for request in scenario.requests) else None
        case _:
            return scenario


def _with_wrong_zip(scenario: Scenario, zips: Sequence[str], rng: random.Random) -> Scenario | None:
    if scenario.authenticate_by != "name_zip" or not zips:
        return None
    return scenario.model_copy(update={"wrong_zip": rng.choice(zips)})


def _with_request(scenario: Scenario, changed: Sequence[Request | None]) -> Scenario | None:
    """Return the scenario with the first request that could be changed, or None."""
    place = next((place for place, request in enumerate(changed) if request is not None), None)
    if place is None:
        return None
    requests = (*scenario.requests[:place], changed[place], *scenario.requests[place + 1 :])
    return scenario.model_copy(update={"requests": requests})


def _unnamed(request: Request) -> Request | None:
    if request.intent not in UNNAMED:
        return None
    return request.model_copy(update={"late": (*request.late, "order_id")})


def _misnamed(request: Request, scenario: Scenario, room: Room, rng: random.Random) -> Request | None:
    """Return a request that first names another order, of which the same could be wished."""
    if request.intent not in MOVABLE or request.trap is not None or request.late:
        return None
    named = {other.facts.get("order_id") for other in scenario.requests}
    status = NEEDED_STATUS[request.intent]
    others = [o["order_id"] for o in room.orders if o["status"] == status and o["order_id"] not in named]
    return request.model_copy(update={"first_named": rng.choice(others)}) if others else None
