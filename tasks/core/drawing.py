"""Drawing scenarios: which customers, which errands, which traps, all decided by a seed."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Literal, NamedTuple, get_args

from tasks.core.config import SynthesisConfig
from tasks.core.errand import SAFE_REASONS, TRAPS, Errand, ErrandDrawer, result_length
from tasks.core.errors import SynthesisError
from tasks.core.hurdles import Room, with_hurdles
from tasks.core.scenario import STORY_CUSTOMER, GoldCall, Intent, Request, Scenario, ShopView, Split, Trap, split_of

REQUEST_COUNTS = (0.5, 0.33, 0.17)  # how often a conversation holds 1, 2, 3 requests
OPENINGS: tuple[Literal["all", "request_first", "identity_first", "vague"], ...] = (
    "all",
    "request_first",
    "identity_first",
    "vague",
)
ONCE: frozenset[Intent] = frozenset({"update_address", "list_products", "order_status_by_item", "human"})
Wish = tuple[Intent, Trap | None]
CUSTOMERS_TRIED = 200
PLANS_TRIED = 20  # where no customer has the records for a plan, another plan is drawn


def draw_scenarios(shop: ShopView, config: SynthesisConfig, split: Split, count: int, seed: int) -> list[Scenario]:
    """Return `count` scenarios of a split; the same shop, configuration and seed give the same ones.

    Raises:
        SynthesisError: The shop has no customers in the split, or none with the records that an intent needs.
    """
    cast = _cast(shop, split)
    return [
        _draw_one(shop, config, cast, f"{split}-{seed}-{number:05d}", random.Random(f"{seed}/{split}/{number}"))
        for number in range(count)
    ]


def draw_wanted(
    shop: ShopView, config: SynthesisConfig, wanted: Sequence[Wish], seed: int, batch: int
) -> list[Scenario]:
    """Return a training scenario for each wanted request, of that request alone.

    Raises:
        SynthesisError: No training customer has the records that a request needs.
    """
    cast = _cast(shop, "train")
    return [
        _draw_one(
            shop,
            config,
            cast,
            f"train-{seed}-wanted-{batch}-{number:05d}",
            random.Random(f"{seed}/wanted/{batch}/{number}"),
            [wish],
        )
        for number, wish in enumerate(wanted)
    ]


class _Cast(NamedTuple):
    """The customers of a split, and those of them whom name and zip code tell apart from everybody else."""

    split: Split
    customers: Sequence[str]
    known_by_name: Set[str]
    people: Set[tuple[str, str, str]]  # all names with their zip codes


def _cast(shop: ShopView, split: Split) -> _Cast:
    customers = [user_id for user_id in shop.users if split_of(user_id) == split]
    if len(customers) < 2:
        raise SynthesisError(f"The shop has {len(customers)} customers in the split {split!r}; scenarios need 2.")
    namesakes = Counter(_name_zip(user) for user in shop.users.values())
    clear = {user_id for user_id in customers if namesakes[_name_zip(shop.users[user_id])] == 1}
    return _Cast(split, customers, clear, set(namesakes))


def _draw_one(
    shop: ShopView,
    config: SynthesisConfig,
    cast: _Cast,
    scenario_id: str,
    rng: random.Random,
    wanted: Sequence[Wish] | None = None,
) -> Scenario:
    customers = cast.customers
    for _ in range(PLANS_TRIED):
        plan = wanted or _plan(config, rng)
        for customer_id in rng.sample(customers, min(CUSTOMERS_TRIED, len(customers))):
            drawer = ErrandDrawer(shop, customer_id, customers, rng)
            errands = _draw_errands(drawer, plan, config.max_result_chars)
            if errands is None:
                continue
            errands += _second_change(errands, config, random.Random(f"{scenario_id}/second change"))
            drawn = Scenario(
                id=scenario_id,
                seed=rng.getrandbits(32),
                split=cast.split,
                customer_id=customer_id,
                authenticate_by=rng.choice(("email", "name_zip")) if customer_id in cast.known_by_name else "email",
                opening=rng.choice(OPENINGS),
                requests=tuple(errand.request for errand in errands),
                gold_writes=tuple(errand.call for errand in errands if errand.call is not None),
                gold_outcome=outcome_of((errand.request.intent, errand.outcome) for errand in errands),
                noise_rate=config.noise_rate,
            )
            room = _room(shop, cast, customer_id, config.max_result_chars - drawer.result_chars)
            # A die of its own, so that with and without hurdles the same errands are drawn.
            return with_hurdles(drawn, config.hurdles, room, random.Random(f"{scenario_id}/{drawn.seed}/hurdles"))
    wishes = ", ".join(f"{intent} ({trap})" if trap else intent for intent, trap in plan)
    raise SynthesisError(f"No customer of the split {cast.split!r} has the orders for {wishes}; take a larger shop.")


def _room(shop: ShopView, cast: _Cast, customer_id: str, spare_chars: int) -> Room:
    """Return what there is room for beside the errands; a zip code of others leads to nobody of the customer's name."""
    user = shop.users[customer_id]
    first, last, own = _name_zip(user)
    zips = {shop.users[peer]["address"]["zip"] for peer in cast.customers} - {own}
    orders = map(shop.orders.__getitem__, user["orders"])
    return Room(
        orders=[order for order in orders if result_length(order) <= spare_chars],
        zips=sorted(code for code in zips if (first, last, code) not in cast.people),
    )


def _plan(config: SynthesisConfig, rng: random.Random) -> list[Wish]:
    """Return the intents of a conversation and their traps, in order; a human is always asked for last."""
    weights = REQUEST_COUNTS[: config.max_requests]
    count = rng.choices(range(1, len(weights) + 1), weights)[0]
    intents: list[Intent] = []
    while len(intents) < count:
        open_intents = [i for i in get_args(Intent) if config.intents.get(i) and _may_follow(intents, i)]
        if not open_intents:
            break
        intents += rng.choices(open_intents, [config.intents[i] for i in open_intents])
    intents.sort(key=lambda intent: intent == "human")
    return [(intent, _trap(intent, config, rng)) for intent in intents]


def _may_follow(chosen: Sequence[Intent], intent: Intent) -> bool:
    return not (intent in ONCE and intent in chosen)


def _trap(intent: Intent, config: SynthesisConfig, rng: random.Random) -> Trap | None:
    traps = [trap for trap in TRAPS.get(intent, ()) if trap in config.traps]
    return rng.choice(traps) if traps and rng.random() < config.trap_rate else None


def _draw_errands(drawer: ErrandDrawer, plan: Sequence[Wish], max_chars: int) -> list[Errand] | None:
    """Return an errand for each entry of the plan, or None where the records hold none or would be too long."""
    errands = []
    for intent, trap in plan:
        errand = drawer.draw(intent, trap)
        if errand is None or drawer.result_chars > max_chars:
            return None
        errands.append(errand)
    return errands


def _second_change(errands: Sequence[Errand], config: SynthesisConfig, rng: random.Random) -> list[Errand]:
    """Return the wish to change once more what a wish before it changed, by the share of traps; or nothing.

    The die is its own, so that with and without this trap the same errands come before it.
    """
    if "second_change" not in config.traps or rng.random() >= config.trap_rate:
        return []
    if any(errand.request.intent == "human" for errand in errands):  # who is handed over asks for nothing more
        return []
    again = next(filter(None, (_once_more(errand, rng) for errand in errands)), None)
    return [Errand(again, None, "refused second_change")] if again else []


def _once_more(errand: Errand, rng: random.Random) -> Request | None:
    """Return the wish to cancel what was just modified, or to send back another item of what was just requested."""
    intent, facts = errand.request.intent, errand.request.facts
    if errand.call is None or intent not in {"modify_items", "return", "exchange"}:
        return None
    order = {"order_id": facts["order_id"]}
    if intent == "modify_items":
        return Request(intent="cancel", facts={**order, "reason": rng.choice(SAFE_REASONS)}, trap="second_change")
    gone = facts.get("items") or [change["item"] for change in facts["changes"]]
    left = [item["name"] for item in errand.shows[0]["items"] if item["name"] not in gone]
    if not left:
        return None
    wish = {**order, "items": [rng.choice(left)], "payment": facts["payment"]}
    return Request(intent="return", facts=wish, trap="second_change")


def _name_zip(user: Mapping[str, Any]) -> tuple[str, str, str]:
    return user["name"]["first_name"], user["name"]["last_name"], user["address"]["zip"]


def outcome_of(outcomes: Iterable[tuple[Intent, str]]) -> str:
    """Return how a conversation ends, request by request, such as `cancel: done; return: refused wrong_state`."""
    return "; ".join(f"{intent}: {outcome}" for intent, outcome in outcomes)


def noah_brown_story() -> Scenario:
    """Return the scenario of the replay: Noah Brown of ZIP 80279 has moved and wants his address changed."""
    address = {
        "address1": "415 Maple Avenue",
        "address2": "Apt 203",
        "city": "Denver",
        "state": "CO",
        "country": "USA",
        "zip": "80202",
    }
    return Scenario(
        id="noah-brown-story",
        seed=0,
        split="heldout",
        customer_id=STORY_CUSTOMER,
        authenticate_by="name_zip",
        opening="all",
        requests=(Request(intent="update_address", facts={"address": address}),),
        gold_writes=(GoldCall(name="update_address", arguments={"user_id": STORY_CUSTOMER, **address}),),
        gold_outcome=outcome_of([("update_address", "done")]),
    )
