"""Scenarios: what a customer wants, what is disclosed when, and how it must end."""

from typing import Any, Literal

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
Trap = Literal["foreign_order", "wrong_state", "unacceptable_reason", "changes_mind"]
Split = Literal["train", "valid", "heldout"]


class Request(Record):
    """One thing that the customer wants. `facts` holds the values to disclose (order id, item, new options, ...)."""

    intent: Intent
    facts: dict[str, Any]
    trap: Trap | None = None


class GoldCall(Record):
    """A call that must have been made for the scenario to be served."""

    name: str
    arguments: dict[str, Any]


class Scenario(Record):
    """A customer's errand, drawn by seed from the shop's own data."""

    id: str
    seed: int
    split: Split
    customer_id: str
    authenticate_by: Literal["email", "name_zip"]
    opening: Literal["all", "request_first", "identity_first", "vague"]
    requests: tuple[Request, ...]
    gold_writes: tuple[GoldCall, ...]
    gold_outcome: str
