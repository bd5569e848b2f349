"""An independent model of the shop's rules: plain dicts, whole cents, nothing of the store.

It is written from the policy and from the description of the published data, so that a mistake in the store shows.
"""

import copy
import json
from typing import Any

Json = dict[str, Any]


class RefusedError(Exception):
    """The rules do not allow the call."""


def cents(amount: float) -> int:
    return round(amount * 100)


def amount(value: int) -> float:
    return value / 100


class Reference:
    def __init__(self, content: Json) -> None:
        self.state: Json = copy.deepcopy(content)

    def call(self, tool: str, arguments: Json) -> Any:
        """Return what the tool answers, or raise RefusedError; every rule is checked before anything changes."""
        return getattr(self, tool)(**arguments)

    # Look-ups.

    def get_user_details(self, user_id: str) -> Json:
        return self._get("users", user_id)

    def get_order_details(self, order_id: str) -> Json:
        return self._get("orders", order_id)

    def get_product_details(self, product_id: str) -> Json:
        return self._get("products", product_id)

    def get_item_details(self, item_id: str) -> Json:
        return self._variant(item_id)[1]

    def find_user_id_by_email(self, email: str) -> str:
        return self._only(key for key, user in self.state["users"].items() if user["email"] == email.lower())

    def find_user_id_by_name_zip(self, first_name: str, last_name: str, zip: str) -> str:
        wanted = (first_name.lower(), last_name.lower(), zip)
        return self._only(
            key
            for key, user in self.state["users"].items()
            if (user["name"]["first_name"].lower(), user["name"]["last_name"].lower(), user["address"]["zip"]) == wanted
        )

    def list_user_orders(self, user_id: str) -> list[Json]:
        orders = [self.state["orders"][order_id] for order_id in self._get("users", user_id)["orders"]]
        short = [(order["order_id"], order["status"], [item["name"] for item in order["items"]]) for order in orders]
        return [{"order_id": order_id, "status": status, "items": names} for order_id, status, names in short]

    def list_products(self) -> Json:
        return dict(sorted((product["name"], key) for key, product in self.state["products"].items()))

    def transfer_to_human_agents(self, summary: str) -> str:
        return "Transfer successful"

    # Changes.

    def update_address(self, user_id: str, **address: str) -> Json:
        user = self._get("users", user_id)
        user["address"] = dict(address)
        return user

    def modify_pending_order_address(self, order_id: str, **address: str) -> Json:
        order = self._with_status(order_id, "pending")
        order["address"] = dict(address)
        return order

    def cancel_pending_order(self, order_id: str, reason: str) -> Json:
        order = self._with_status(order_id, "pending")
        self._require(reason in ("no longer needed", "ordered by mistake"))
        history = order["payment_history"]
        refunded = [entry["payment_method_id"] for entry in history if entry["transaction_type"] == "refund"]
        for entry in list(history):
            if entry["transaction_type"] == "payment" and entry["payment_method_id"] not in refunded:
                self._book(order, "refund", cents(entry["amount"]), entry["payment_method_id"])
        order["status"] = "cancelled"
        order["cancel_reason"] = reason
        return order

    def modify_pending_order_payment(self, order_id: str, payment_method_id: str) -> Json:
        order = self._with_status(order_id, "pending")
        self._method(order, payment_method_id)
        self._require([entry["transaction_type"] for entry in order["payment_history"]] == ["payment"])
        [paid] = order["payment_history"]
        self._require(paid["payment_method_id"] != payment_method_id)
        self._require_funds(order, payment_method_id, cents(paid["amount"]))
        self._book(order, "payment", cents(paid["amount"]), payment_method_id)
        self._book(order, "refund", cents(paid["amount"]), paid["payment_method_id"])
        return order

    def modify_pending_order_items(
        self, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str
    ) -> Json:
        order = self._with_status(order_id, "pending")
        pairs, rise = self._swap(order, item_ids, new_item_ids)
        self._require_funds(order, payment_method_id, rise)
        self._book(order, "payment" if rise > 0 else "refund", abs(rise), payment_method_id)
        for old, new in pairs:
            old.update(item_id=new["item_id"], price=new["price"], options=copy.deepcopy(new["options"]))
        order["status"] = "pending (item modified)"
        return order

    def return_delivered_order_items(self, order_id: str, item_ids: list[str], payment_method_id: str) -> Json:
        order = self._with_status(order_id, "delivered")
        method = self._method(order, payment_method_id)
        original = order["payment_history"][0]["payment_method_id"]
        self._require(method["source"] == "gift_card" or payment_method_id == original)
        self._claim(order, item_ids)
        order["status"] = "return requested"
        order["return_items"] = sorted(item_ids)
        order["return_payment_method_id"] = payment_method_id
        return order

    def exchange_delivered_order_items(
        self, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str
    ) -> Json:
        order = self._with_status(order_id, "delivered")
        _, rise = self._swap(order, item_ids, new_item_ids)
        self._require_funds(order, payment_method_id, rise)
        order["status"] = "exchange requested"
        order["exchange_items"] = sorted(item_ids)
        order["exchange_new_items"] = sorted(new_item_ids)
        order["exchange_payment_method_id"] = payment_method_id
        order["exchange_price_difference"] = amount(rise)
        return order

    # The rules that several of them share.

    def _require(self, allowed: bool) -> None:
        if not allowed:
            raise RefusedError

    def _only(self, keys: Any) -> str:
        found = list(keys)
        self._require(len(found) == 1)
        return found[0]

    def _get(self, section: str, key: str) -> Json:
        self._require(key in self.state[section])
        return self.state[section][key]

    def _with_status(self, order_id: str, status: str) -> Json:
        order = self._get("orders", order_id)
        self._require(order["status"] == status)
        return order

    def _method(self, order: Json, method_id: str) -> Json:
        methods = self.state["users"][order["user_id"]]["payment_methods"]
        self._require(method_id in methods)
        return methods[method_id]

    def _require_funds(self, order: Json, method_id: str, needed: int) -> None:
        method = self._method(order, method_id)
        self._require(method["source"] != "gift_card" or cents(method["balance"]) >= needed)

    def _book(self, order: Json, kind: str, value: int, method_id: str) -> None:
        entry = {"transaction_type": kind, "amount": amount(value), "payment_method_id": method_id}
        order["payment_history"].append(entry)
        method = self._method(order, method_id)
        if method["source"] == "gift_card":
            moved = value if kind == "refund" else -value
            method["balance"] = amount(cents(method["balance"]) + moved)

    def _variant(self, item_id: str) -> tuple[str, Json]:
        for product_id, product in self.state["products"].items():
            if item_id in product["variants"]:
                return product_id, product["variants"][item_id]
        raise RefusedError

    def _claim(self, order: Json, item_ids: list[str]) -> list[Json]:
        self._require(bool(item_ids))
        left = list(order["items"])
        claimed = []
        for item_id in item_ids:
            places = [place for place, item in enumerate(left) if item["item_id"] == item_id]
            self._require(bool(places))
            claimed.append(left.pop(places[0]))
        return claimed

    def _swap(self, order: Json, item_ids: list[str], new_item_ids: list[str]) -> tuple[list[tuple[Json, Json]], int]:
        self._require(len(item_ids) == len(new_item_ids))
        pairs, rise = [], 0
        for old, new_id in zip(self._claim(order, item_ids), new_item_ids, strict=True):
            product_id, new = self._variant(new_id)
            self._require(product_id == old["product_id"])
            self._require(new["available"] and new_id != old["item_id"])
            pairs.append((old, new))
            rise += cents(new["price"]) - cents(old["price"])
        return pairs, rise


def compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
