"""Blueprints: conversations before they are held, and what became of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from tasks.core.conversation import Conversation, Goal
from tasks.core.record import Record
from tasks.core.scenario import GoldCall, Request, Scenario, ShopView, Split

Side = Literal["agent", "customer", "author"]

_TRAPS = {
    "foreign_order": "The order is not yours, but you ask for it all the same. When the agent refuses, accept that.",
    "wrong_state": "This may not be possible any more. When the agent refuses, accept that.",
    "unacceptable_reason": "Do not change your reason. When the agent refuses, accept that.",
    "changes_mind": "When the agent asks you to confirm, you change your mind and say no.",
    "other_person": "The account is somebody else's. When the agent refuses, accept that.",
    "fixed_detail": "You want that detail of your account changed. When the agent refuses, accept that.",
    "unknown_payment": "Insist on that kind of payment, on file or not. When the agent refuses, accept that.",
    "card_too_small": "Insist on that payment method. When the agent refuses, accept that.",
    "wrong_refund": "Insist on that payment method. When the agent refuses, accept that.",
    "not_available": "Insist on exactly these options. When the agent refuses, accept that.",
    "other_product": "You want the item replaced by that other product. When the agent refuses, accept that.",
    "outside": "You want something that no shop system can do, such as a repair. When a person is offered, say yes.",
    "advice": "You want the agent's own opinion on what to buy. When the agent refuses, accept that.",
    "second_change": "You know that you just had it changed. When the agent refuses, accept that.",
}


class Blueprint(Record):
    """Who wants what, what they know, and how it must end: after the gold calls, with the told values told.

    `outcome` says what must become of each wish, as scenarios do; where an author wrote it, whether something is done.
    """

    id: str
    split: Split
    customer_id: str
    intents: tuple[str, ...]
    wish: str
    facts: dict[str, str]
    gold_calls: tuple[GoldCall, ...]
    gold_state: str
    outcome: str
    tells: tuple[str, ...] = ()

    @property
    def goal(self) -> Goal:
        """How a conversation must end, for the goal gate."""
        return Goal(writes=self.gold_calls, outcome=self.outcome)


class Usage(Record):
    """What was asked of models and what it cost; `cost` is None where a model has no price."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = 0.0

    def plus(self, other: "Usage") -> "Usage":
        """Return the sum."""
        known = self.cost is not None and other.cost is not None
        return Usage(
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost=(self.cost or 0.0) + (other.cost or 0.0) if known else None,
        )

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.prompt_tokens + self.completion_tokens


class Blame(Record):
    """Why a try at a conversation failed, and whose fault that was."""

    side: Side
    kind: str
    detail: str = ""

    def __str__(self) -> str:
        """Return the fault as one line."""
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


class Take(Record):
    """What became of one place in the plan: the last try at its conversation, every fault on the way, and the price."""

    id: str
    split: Split
    blueprint: Blueprint | None
    conversation: Conversation | None
    passed: bool
    blames: tuple[Blame, ...]
    usage: Usage


class Spent(NamedTuple):
    """What was asked of models for one conversation, and what it cost in USD, where its models have a price."""

    conversation: str
    split: str
    passed: bool
    faults: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None

    @classmethod
    def of(cls, take: Take) -> "Spent":
        """Return what a take used, failed tries included."""
        return cls(take.id, take.split, take.passed, len(take.blames), *take.usage.model_dump().values())


class TeacherReport(Record):
    """All takes summed up, and what each used.

    `faults` counts failed tries by side and kind, those that a second try mended included.
    """

    planned: int
    kept: int
    mended: int
    faults: dict[str, int]
    usage: Usage
    conversations: tuple[Spent, ...]

    @classmethod
    def of(cls, takes: Sequence[Take]) -> "TeacherReport":
        """Sum up takes."""
        faults: dict[str, int] = {}
        for blame in (blame for take in takes for blame in take.blames):
            name = f"{blame.side}: {blame.kind}"
            faults[name] = faults.get(name, 0) + 1
        kept = [take for take in takes if take.passed]
        return cls(
            planned=len(takes),
            kept=len(kept),
            mended=sum(bool(take.blames) for take in kept),
            faults=dict(sorted(faults.items())),
            usage=total(take.usage for take in takes),
            conversations=tuple(map(Spent.of, takes)),
        )

    def sentence(self) -> str:
        """Return the sum in one sentence."""
        cost = "price not known" if self.usage.cost is None else f"{self.usage.cost:.2f} USD"
        lost = sum(self.faults.values())
        return (
            f"{self.kept:,} of {self.planned:,} conversations passed, {self.mended:,} at a second try; "
            f"{lost:,} faults; {self.usage.calls:,} calls, {self.usage.tokens:,} tokens, {cost}"
        )


class Draft(NamedTuple):
    """A blueprint whose end is not known yet."""

    wish: str
    facts: dict[str, str]
    gold_calls: tuple[GoldCall, ...]
    outcome: str
    tells: tuple[str, ...] = ()


def total(usages: Iterable[Usage]) -> Usage:
    """Return the sum of usages."""
    added = Usage()
    for usage in usages:
        added = added.plus(usage)
    return added


def draft_of(scenario: Scenario, shop: ShopView) -> Draft:
    """Return a drawn scenario as a customer of flesh and blood would be told it."""
    user = shop.users[scenario.customer_id]
    facts = {"first name": user["name"]["first_name"], "last name": user["name"]["last_name"]}
    if scenario.authenticate_by == "email":
        facts["email"] = user["email"]
    else:
        facts["zip code"] = user["address"]["zip"]
    wishes = []
    for place, request in enumerate(scenario.requests, start=1):
        wishes.append(f"{place}. {request.intent.replace('_', ' ')}{_late(request.late)}")
        if request.trap:
            wishes[-1] += f" {_TRAPS[request.trap]}"
        facts |= {f"{path} of wish {place}": value for path, value in _flat(request.facts)}
    return Draft(
        wish="You want, one after the other:\n" + "\n".join(wishes),
        facts=facts,
        gold_calls=scenario.gold_writes,
        outcome=scenario.gold_outcome,
        tells=tuple(status for request in scenario.requests if (status := _status(request, user, shop))),
    )


def _status(request: Request, user: Mapping[str, Any], shop: ShopView) -> str | None:
    """Return the status that a customer must be told who asks for that of their order."""
    if request.trap or request.intent not in {"order_status", "order_status_by_item"}:
        return None
    orders = [shop.orders[order_id] for order_id in user["orders"]]
    if request.intent == "order_status":
        return next(str(o["status"]) for o in orders if o["order_id"] == request.facts["order_id"])
    return next(str(o["status"]) for o in orders if any(i["name"] == request.facts["item"] for i in o["items"]))


def _late(names: Sequence[str]) -> str:
    return f". Tell the {' and the '.join(names)} only when asked." if names else "."


def _flat(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        # A payment method is known by its id; how the scripted customer would put it is nobody's business here.
        for key, inner in ({"id": value["id"]} if "said_as" in value else value).items():
            yield from _flat(inner, f"{path} {key}".strip())
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value, start=1):
            yield from _flat(inner, f"{path} {place}" if len(value) > 1 else path)
    elif value not in (None, ""):
        yield path.replace("_", " "), str(value)
