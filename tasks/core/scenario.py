"""Scenarios: what a customer wants, what is disclosed when, and how it must end."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import Field

from tasks.core.record import Record

Intent = Literal[
    "update_address",
    "order_status",
    "order_status_by_item",
    "cancel",
    "return",
    "exchange",
    "modify_items",
    "modify_payment",
    "modify_order_address",
    "list_products",
    "human",
]
# What the customer asks for in vain; `changes_mind` takes it back, and of `outside` a human takes care.
Trap = Literal[
    "foreign_order",
    "wrong_state",
    "unacceptable_reason",
    "changes_mind",
    "other_person",
    "fixed_detail",
    "unknown_payment",
    "card_too_small",
    "wrong_refund",
    "not_available",
    "other_product",
    "outside",
    "advice",
    "second_change",
]
# What makes a conversation harder without changing how it must end.
Hurdle = Literal["no_email", "wrong_zip", "unnamed_order", "wrong_order", "impatient", "typos", "persists"]
Split = Literal["train", "valid", "heldout"]
# Whose templates a customer speaks: those of the own split, or those of training though held out. The usual case is
# left out of the JSON: what was written before there was another keeps its bytes, and so its digests.
Phrasing = Annotated[Literal["own", "seen"], Field(exclude_if=lambda phrasing: phrasing == "own")]

REFUSED: frozenset[Trap | None] = frozenset(get_args(Trap)) - {"changes_mind", "outside"}
# Traps that are spoken by templates of their own, not by those of the intent.
OWN_WORDS: frozenset[Trap | None] = frozenset({"other_person", "fixed_detail", "other_product", "outside", "advice"})

# Whoever the replay is about must be new to the model, whatever the hash says.
STORY_CUSTOMER = "noah_brown_6181"
_TRAIN_BELOW, _VALID_BELOW = 75, 83  # of 100 buckets: 75 % train, 8 % valid, 17 % held out


class ShopView(NamedTuple):
    """The shop's records as plain JSON values, in the layout of a snapshot."""

    users: Mapping[str, Mapping[str, Any]]
    orders: Mapping[str, Mapping[str, Any]]
    products: Mapping[str, Mapping[str, Any]]


class Request(Record):
    """One thing that the customer wants.

    `facts` holds the values to disclose (order id, item, new options, ...); those named in `late` only when asked.
    `first_named` is the order that is named by mistake before the right one.
    """

    intent: Intent
    facts: dict[str, Any]
    trap: Trap | None = None
    late: tuple[str, ...] = ()
    first_named: str = ""


class GoldCall(Record):
    """A call that must have been made for the scenario to be served."""

    name: str
    arguments: dict[str, Any]


class Scenario(Record):
    """A customer's errand, drawn by seed from the shop's own data. `wrong_zip` is told before the right one.

    The same errand told in another `phrasing` has the same id.
    """

    id: str
    seed: int
    split: Split
    customer_id: str
    authenticate_by: Literal["email", "name_zip"]
    opening: Literal["all", "request_first", "identity_first", "vague"]
    requests: tuple[Request, ...]
    gold_writes: tuple[GoldCall, ...]
    gold_outcome: str
    noise_rate: float = 0.0
    hurdles: tuple[Hurdle, ...] = ()
    wrong_zip: str = ""
    phrasing: Phrasing = "own"

    @property
    def speaks_as(self) -> Split:
        """The split whose templates the customer speaks."""
        return self.split if self.phrasing == "own" else "train"


def split_of(customer_id: str) -> Split:
    """Return the one split that a customer belongs to, by a stable hash of the id."""
    if customer_id == STORY_CUSTOMER:
        return "heldout"
    bucket = int.from_bytes(hashlib.sha256(customer_id.encode()).digest()[:8]) % 100
    if bucket < _TRAIN_BELOW:
        return "train"
    return "valid" if bucket < _VALID_BELOW else "heldout"
