"""Errands: one request drawn from a customer's own records, with the call and the outcome that serve it."""

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from tasks.core.scenario import GoldCall, Intent, Request, ShopView, Trap

Json = Mapping[str, Any]
T = TypeVar("T")

ASKED_LATE = 0.35  # share of reasons and payment methods that the customer tells only when asked
TWO_ITEMS = 0.3  # share of returns and modifications that are about two items
MOST_READS = 3  # orders that may have to be read until an item is found
NAMED_BY_KIND = 0.7  # share of payment methods called "my PayPal" and the like, where that is clear
CALLED_ORIGINAL = 0.5  # share of refunds to the original method that are called just that
SAFE_REASONS = ("no longer needed", "ordered by mistake")
NEEDED_STATUS: dict[Intent, str] = {
    "cancel": "pending",
    "modify_items": "pending",
    "modify_payment": "pending",
    "modify_order_address": "pending",
    "return": "delivered",
    "exchange": "delivered",
}
STATUSES = ("pending", "processed", "delivered", "cancelled")
_ABOUT_AN_ORDER: tuple[Trap, ...] = ("foreign_order", "wrong_state", "changes_mind")
# Append new ones: which trap a seed draws depends on the order.
TRAPS: dict[Intent, tuple[Trap, ...]] = {
    "update_address": ("changes_mind", "other_person", "fixed_detail"),
    "order_status": ("foreign_order",),
    "cancel": ("foreign_order", "wrong_state", "unacceptable_reason", "changes_mind"),
    "return": (*_ABOUT_AN_ORDER, "wrong_refund"),
    "exchange": (*_ABOUT_AN_ORDER, "not_available", "other_product"),
    "modify_items": (*_ABOUT_AN_ORDER, "not_available", "other_product"),
    "modify_payment": (*_ABOUT_AN_ORDER, "unknown_payment", "card_too_small"),
    "modify_order_address": _ABOUT_AN_ORDER,
    "human": ("outside",),
    "list_products": ("advice",),
}
FIXED_DETAILS = ("email", "name", "user id")
_PAYMENT_KINDS = ("credit_card", "paypal", "gift_card")


class Errand(NamedTuple):
    """A request with what must come of it: the write call, if any, and the outcome in one word or two.

    `shows` are the records that the tools will show on the way, each of them once in a conversation.
    """

    request: Request
    call: GoldCall | None
    outcome: str
    shows: tuple[Json, ...] = ()


class _Swap(NamedTuple):
    old: Json
    new: Json


class ErrandDrawer:
    """Draws the errands of one conversation, one after another, so that none spoils a later one."""

    def __init__(self, shop: ShopView, customer_id: str, peers: Sequence[str], rng: random.Random) -> None:
        """Draw for a customer; the peers' orders serve as orders that are not theirs."""
        self._shop = shop
        self._rng = rng
        self._peers = peers
        self._user = shop.users[customer_id]
        self._orders = [shop.orders[order_id] for order_id in self._user["orders"]]
        self._taken: set[str] = set()  # orders that a change is asked for; a question may still follow
        self._asked_about: set[str] = set()
        self._shown: set[str] = set()
        self.result_chars = result_length(self._user)  # of all tool results so far, as JSON
        self._spent_cards: set[str] = set()
        self._drawers: dict[Intent, Callable[[Trap | None], Errand | None]] = {
            "update_address": self._update_address,
            "order_status": self._order_status,
            "order_status_by_item": self._order_status_by_item,
            "cancel": self._cancel,
            "return": self._return,
            "exchange": lambda trap: self._replace("exchange", trap, most=1),
            "modify_items": lambda trap: self._replace("modify_items", trap, most=2),
            "modify_payment": self._modify_payment,
            "modify_order_address": self._modify_order_address,
            "list_products": self._list_products,
            "human": self._human,
        }

    def draw(self, intent: Intent, trap: Trap | None) -> Errand | None:
        """Return an errand of this kind, or None where the customer's records hold none."""
        errand = self._drawers[intent](trap)
        if errand is not None:
            self._count(errand)
        return errand

    def _count(self, errand: Errand) -> None:
        for record in errand.shows:
            key = str(record.get("order_id") or record.get("product_id") or "products")
            self.result_chars += 0 if key in self._shown else result_length(record)
            self._shown.add(key)
        if errand.call is not None:
            self.result_chars += result_length(errand.shows[0] if errand.shows else self._user)

    def _update_address(self, trap: Trap | None) -> Errand | None:
        if trap in {"other_person", "fixed_detail"}:
            return self._forbidden_change(trap)
        address = self._new_address(self._user["address"])
        if address is None:
            return None
        request = Request(intent="update_address", facts={"address": address}, trap=trap)
        return self._closed(request, "update_address", {"user_id": self._user["user_id"], **address})

    def _forbidden_change(self, trap: Trap | None) -> Errand | None:
        """Return a wish about the profile of somebody else, or about what nobody can change in their own."""
        if trap == "fixed_detail":
            facts = {"detail": self._rng.choice(FIXED_DETAILS)}
        else:
            peer = self._shop.users[self._rng.choice(self._peers)]
            if peer["user_id"] == self._user["user_id"]:
                return None
            facts = {"person": peer["email"]}
        return Errand(Request(intent="update_address", facts=facts, trap=trap), None, f"refused {trap}")

    def _list_products(self, trap: Trap | None) -> Errand:
        if trap == "advice":
            return Errand(Request(intent="list_products", facts={"opinion": True}, trap=trap), None, "refused advice")
        products = {product["name"]: product_id for product_id, product in self._shop.products.items()}
        return Errand(Request(intent="list_products", facts={}, trap=trap), None, "answered", (products,))

    def _human(self, trap: Trap | None) -> Errand:
        facts = {"outside": True} if trap == "outside" else {}
        return Errand(Request(intent="human", facts=facts, trap=trap), None, "transferred")

    def _order_status(self, trap: Trap | None) -> Errand | None:
        orders = self._foreign(STATUSES) if trap == "foreign_order" else self._orders
        order = self._pick([order for order in orders if order["order_id"] not in self._asked_about])
        if order is None:
            return None
        self._asked_about.add(order["order_id"])
        request = Request(intent="order_status", facts={"order_id": order["order_id"]}, trap=trap)
        if trap == "foreign_order":
            return Errand(request, None, f"refused {trap}")
        return Errand(request, None, "answered", (order,))

    def _order_status_by_item(self, trap: Trap | None) -> Errand | None:
        names = [item["name"] for order in self._orders for item in order["items"]]
        near = [item["name"] for order in self._orders[:MOST_READS] for item in order["items"]]
        name = self._pick([name for name in near if names.count(name) == 1])
        if name is None:
            return None
        request = Request(intent="order_status_by_item", facts={"item": name}, trap=trap)
        place = next(n for n, order in enumerate(self._orders) if any(i["name"] == name for i in order["items"]))
        return Errand(request, None, "answered", tuple(self._orders[: place + 1]))

    def _cancel(self, trap: Trap | None) -> Errand | None:
        order = self._order("cancel", trap)
        if order is None:
            return None
        reason = "other" if trap == "unacceptable_reason" else self._rng.choice(SAFE_REASONS)
        facts = {"order_id": order["order_id"], "reason": reason}
        request = Request(intent="cancel", facts=facts, trap=trap, late=self._late("reason"))
        return self._closed(request, "cancel_pending_order", facts, order)

    def _return(self, trap: Trap | None) -> Errand | None:
        order = self._order("return", trap)
        items = self._items(order, most=2) if order else []
        if order is None or not items:
            return None
        payment = self._forbidden_refund(order) if trap == "wrong_refund" else self._refund_method(order)
        if payment is None:
            return None
        facts = {"order_id": order["order_id"], "items": [item["name"] for item in items], "payment": payment}
        request = Request(intent="return", facts=facts, trap=trap, late=self._late("payment"))
        arguments = {
            "order_id": order["order_id"],
            "item_ids": [item["item_id"] for item in items],
            "payment_method_id": payment["id"],
        }
        return self._closed(request, "return_delivered_order_items", arguments, order)

    def _replace(self, intent: Intent, trap: Trap | None, most: int) -> Errand | None:
        order = self._order(intent, trap)
        if trap == "other_product":
            return self._other_product(intent, order)
        swaps = self._swaps(order, most, trap) if order else []
        if order is None or not swaps:
            return None
        difference = sum((_money(new["price"]) - _money(old["price"]) for old, new in swaps), Decimal(0))
        payment = self._method_for(difference, besides=None)
        if payment is None:
            return None
        if intent == "modify_items" and payment["source"] == "gift_card":
            self._spent_cards.add(payment["id"])
        facts = {
            "order_id": order["order_id"],
            "changes": [{"item": old["name"], "options": dict(new["options"])} for old, new in swaps],
            "payment": payment,
        }
        request = Request(intent=intent, facts=facts, trap=trap, late=self._late("payment"))
        arguments = {
            "order_id": order["order_id"],
            "item_ids": [old["item_id"] for old, _ in swaps],
            "new_item_ids": [new["item_id"] for _, new in swaps],
            "payment_method_id": payment["id"],
        }
        tool = "exchange_delivered_order_items" if intent == "exchange" else "modify_pending_order_items"
        products = [self._shop.products[old["product_id"]] for old, _ in swaps]
        return self._closed(request, tool, arguments, order, *products)

    def _other_product(self, intent: Intent, order: Json | None) -> Errand | None:
        """Return the wish that an item become another product."""
        item = self._pick(self._items(order, most=1)) if order else None
        if order is None or item is None:
            return None
        others = [p["name"] for key, p in self._shop.products.items() if key != item["product_id"]]
        facts = {"order_id": order["order_id"], "item": item["name"], "product": self._rng.choice(others)}
        request = Request(intent=intent, facts=facts, trap="other_product")
        return Errand(request, None, "refused other_product", (order,))

    def _modify_payment(self, trap: Trap | None) -> Errand | None:
        order = self._order("modify_payment", trap, fits=lambda order: len(order["payment_history"]) == 1)
        if order is None:
            return None
        paid = order["payment_history"][0]
        payment = self._other_method(paid, trap)
        if payment is None:
            return None
        if payment["source"] == "gift_card":
            self._spent_cards.add(payment["id"])
        request = Request(intent="modify_payment", facts={"order_id": order["order_id"], "payment": payment}, trap=trap)
        arguments = {"order_id": order["order_id"], "payment_method_id": payment["id"]}
        return self._closed(request, "modify_pending_order_payment", arguments, order)

    def _modify_order_address(self, trap: Trap | None) -> Errand | None:
        order = self._order("modify_order_address", trap)
        address = self._new_address(order["address"]) if order else None
        if order is None or address is None:
            return None
        facts = {"order_id": order["order_id"], "address": address}
        request = Request(intent="modify_order_address", facts=facts, trap=trap)
        arguments = {"order_id": order["order_id"], **address}
        return self._closed(request, "modify_pending_order_address", arguments, order)

    def _closed(self, request: Request, tool: str, arguments: dict[str, Any], *shows: Json) -> Errand:
        """Return the errand of a change: made, kept from being made, or refused."""
        match request.trap:
            case None:
                return Errand(request, GoldCall(name=tool, arguments=arguments), "done", shows)
            case "changes_mind":
                return Errand(request, None, "kept", shows)
            case "foreign_order":
                return Errand(request, None, "refused foreign_order")
            case "not_available":
                return Errand(request, None, "refused not_available", shows)
            case trap:
                return Errand(request, None, f"refused {trap}", shows[:1])

    def _order(self, intent: Intent, trap: Trap | None, fits: Callable[[Json], bool] = lambda _: True) -> Json | None:
        """Return an order that the intent may be about, and keep it from later requests of the conversation."""
        needed = NEEDED_STATUS[intent]
        if trap == "foreign_order":
            orders: Iterable[Json] = self._foreign((needed,))
        elif trap == "wrong_state":
            orders = [o for o in self._orders if o["status"] != needed and o["status"] in STATUSES]
        else:
            orders = [o for o in self._orders if o["status"] == needed]
        order = self._pick([o for o in orders if o["order_id"] not in self._taken and fits(o)])
        if order is not None:
            self._taken.add(order["order_id"])
        return order

    def _foreign(self, statuses: Sequence[str]) -> list[Json]:
        peer = self._shop.users[self._rng.choice(self._peers)]
        if peer["user_id"] == self._user["user_id"]:
            return []
        return [o for o in map(self._shop.orders.__getitem__, peer["orders"]) if o["status"] in statuses]

    def _items(self, order: Json, most: int) -> list[Json]:
        """Return one or more items whose names say which item of the order is meant."""
        names = [item["name"] for item in order["items"]]
        clear = [item for item in order["items"] if names.count(item["name"]) == 1]
        if not clear:
            return []
        count = 2 if most > 1 and len(clear) > 1 and self._rng.random() < TWO_ITEMS else 1
        return self._rng.sample(clear, count)

    def _swaps(self, order: Json, most: int, trap: Trap | None) -> list[_Swap]:
        """Return items with the variant that each is to become, fully named by its options.

        It is available, but for the trap that is about just that; then one item is wished for.
        """
        swaps = []
        wanted = trap != "not_available"
        for item in self._items(order, most if wanted else 1):
            every = self._shop.products[item["product_id"]]["variants"].values()
            variants = [v for v in every if v["available"] == wanted]
            options = [v["options"] for v in (variants if wanted else every)]
            fitting = [v for v in variants if v["item_id"] != item["item_id"] and options.count(v["options"]) == 1]
            new = self._pick(fitting)
            if new is None:
                return []
            swaps.append(_Swap(item, new))
        return swaps

    def _refund_method(self, order: Json) -> dict[str, str] | None:
        """Return a payment method that the shop refunds to: the original one or a gift card."""
        own = self._user["payment_methods"]
        original = order["payment_history"][0]["payment_method_id"]
        allowed = [m for m in own if m == original or own[m]["source"] == "gift_card"]
        if original not in own:  # an order that is not theirs: the wish is never served, any own method will do
            allowed = list(own)
        chosen = self._pick(allowed)
        if chosen is None:
            return None
        named = self._named(chosen)
        if chosen == original and self._rng.random() < CALLED_ORIGINAL:
            named["said_as"] = "original"
        return named

    def _forbidden_refund(self, order: Json) -> dict[str, str] | None:
        """Return a payment method of the customer's that the shop does not refund this order to."""
        original = order["payment_history"][0]["payment_method_id"]
        own = self._user["payment_methods"]
        chosen = self._pick([m for m in own if m != original and own[m]["source"] != "gift_card"])
        return None if chosen is None else self._named(chosen)

    def _other_method(self, paid: Json, trap: Trap | None) -> dict[str, str] | None:
        """Return the method that a payment is to be moved to, or one that it cannot be moved to for a trap's reason."""
        own, amount = self._user["payment_methods"], _money(paid["amount"])
        if trap == "unknown_payment":
            kinds = {method["source"] for method in own.values()}
            kind = self._pick([kind for kind in _PAYMENT_KINDS if kind not in kinds])
            return None if kind is None else {"id": "", "source": kind, "said_as": "kind"}
        if trap == "card_too_small":
            if len(self._taken) > 1:  # what came before may have filled the card
                return None
            small = (m for m in own if own[m]["source"] == "gift_card" and _money(own[m]["balance"]) < amount)
            chosen = self._pick([m for m in small if m not in {paid["payment_method_id"], *self._spent_cards}])
            return None if chosen is None else self._named(chosen)
        return self._method_for(amount, besides=paid["payment_method_id"])

    def _method_for(self, amount: Decimal, besides: str | None) -> dict[str, str] | None:
        """Return one of the customer's payment methods that can pay the amount."""
        fitting = [
            method_id
            for method_id, method in self._user["payment_methods"].items()
            if method_id != besides
            and (method["source"] != "gift_card" or self._card_covers(method_id, _money(method["balance"]), amount))
        ]
        chosen = self._pick(fitting)
        return None if chosen is None else self._named(chosen)

    def _card_covers(self, card_id: str, balance: Decimal, amount: Decimal) -> bool:
        return card_id not in self._spent_cards and balance >= amount

    def _named(self, method_id: str) -> dict[str, str]:
        """Say how the customer names a method: by its kind where that is clear, else by its id."""
        source = self._user["payment_methods"][method_id]["source"]
        kinds = [method["source"] for method in self._user["payment_methods"].values()]
        by_kind = kinds.count(source) == 1 and self._rng.random() < NAMED_BY_KIND
        return {"id": method_id, "source": source, "said_as": "kind" if by_kind else "id"}

    def _new_address(self, old: Json) -> dict[str, str] | None:
        """Return an address made of another customer's street and town with numbers of its own."""
        addresses = (self._shop.users[peer]["address"] for peer in self._peers)
        near = self._pick([a for a in addresses if a["country"] == old["country"] and a["zip"] != old["zip"]])
        if near is None:
            return None
        street, unit = near["address1"].lstrip("0123456789 "), near["address2"].rstrip("0123456789 ")
        return {
            "address1": f"{self._rng.randint(100, 999)} {street}",
            "address2": f"{unit} {self._rng.randint(100, 999)}" if unit else "",
            **{key: near[key] for key in ("city", "state", "country", "zip")},
        }

    def _late(self, fact: str) -> tuple[str, ...]:
        return (fact,) if self._rng.random() < ASKED_LATE else ()

    def _pick(self, choices: Iterable[T]) -> T | None:
        options = list(choices)
        return self._rng.choice(options) if options else None


def _money(amount: float) -> Decimal:
    return Decimal(str(amount))


def result_length(record: Json) -> int:
    """Return the length of a record as a tool shows it."""
    return len(json.dumps(record, separators=(",", ":")))
