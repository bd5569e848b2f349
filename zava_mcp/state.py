"""The state of a shop: records shared between forks, and each fork's own changes above them."""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from zava_mcp.entities import Order, Product, Record, User

R = TypeVar("R", bound=Record)

Journal = Callable[[tuple[User | Order, ...]], None]
"""Told of every change before it is made; by raising it prevents the change."""


class Overlay(Mapping[str, R]):
    """Shared records with some of them replaced; keys are never added or removed."""

    def __init__(self, base: dict[str, R], changed: dict[str, R]) -> None:
        """Lay `changed` over `base`."""
        self._base = base
        self.changed = changed

    def __getitem__(self, key: str) -> R:
        """Return the changed record if there is one, else the shared one."""
        record = self.changed.get(key)
        return self._base[key] if record is None else record

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids in the order of the shop."""
        return iter(self._base)

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._base)

    def __contains__(self, key: object) -> bool:
        """Whether there is a record with this id."""
        return key in self._base

    def fork(self) -> "Overlay[R]":
        """Return an overlay that starts from the same records and changes alone."""
        return Overlay(self._base, dict(self.changed))


def folded(text: str) -> str:
    """Return a text for comparing names: without case, accents or outer blanks."""
    parts = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(char for char in parts if not unicodedata.combining(char))


def fingerprint(record: Record) -> str:
    """Return the SHA-256 of a record's canonical JSON."""
    return sha256_of(record.to_json())


def sha256_of(value: object) -> str:
    """Return the SHA-256 of a JSON value, the same for every order of keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True)
class Base:
    """What forks share: the records as they were, and the look-up tables that no tool can change."""

    users: dict[str, User]
    orders: dict[str, Order]
    products: dict[str, Product]
    extra: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def user_by_email(self) -> dict[str, str]:
        """User ids by folded email; of two customers with one email the first is found."""
        return {folded(user.email): user_id for user_id, user in reversed(self.users.items())}

    @cached_property
    def users_by_name(self) -> dict[tuple[str, str], list[str]]:
        """User ids by folded first and last name; the zip is left out because an address can change."""
        table: dict[tuple[str, str], list[str]] = {}
        for user_id, user in self.users.items():
            table.setdefault((folded(user.name.first_name), folded(user.name.last_name)), []).append(user_id)
        return table

    @cached_property
    def product_by_item(self) -> dict[str, str]:
        """Product ids by item id."""
        return {item_id: product.product_id for product in self.products.values() for item_id in product.variants}

    @cached_property
    def digest_lines(self) -> dict[str, str]:
        """One line for each record, by its place in the shop, in a fixed order."""
        lines = {"": sha256_of(self.extra)}
        for kind, records in (("users", self.users), ("orders", self.orders), ("products", self.products)):
            lines |= {f"{kind}/{key}": fingerprint(record) for key, record in records.items()}
        return dict(sorted(lines.items()))


class ShopState:
    """The records of one shop or one sandbox of it, with their digest."""

    def __init__(self, base: Base, *, journal: Journal | None = None) -> None:
        """Start from the shared records without changes."""
        self._base = base
        self._journal = journal
        self._users = Overlay(base.users, {})
        self._orders = Overlay(base.orders, {})
        self._digest: str | None = None

    @property
    def users(self) -> Mapping[str, User]:
        """Customers by user id."""
        return self._users

    @property
    def orders(self) -> Mapping[str, Order]:
        """Orders by order id."""
        return self._orders

    @property
    def products(self) -> Mapping[str, Product]:
        """Products by product id."""
        return self._base.products

    @property
    def extra(self) -> Mapping[str, Any]:
        """What an imported snapshot held beside products, users and orders."""
        return self._base.extra

    def digest(self) -> str:
        """Return the SHA-256 of the whole state; equal states have equal digests, however they were reached."""
        if self._digest is None:
            lines = dict(self._base.digest_lines)
            lines |= {f"users/{key}": fingerprint(user) for key, user in self._users.changed.items()}
            lines |= {f"orders/{key}": fingerprint(order) for key, order in self._orders.changed.items()}
            whole = "\n".join(f"{key} {line}" for key, line in lines.items())
            self._digest = hashlib.sha256(whole.encode()).hexdigest()
        return self._digest

    def _commit(self, *records: User | Order) -> None:
        """Make one change, all of it or nothing."""
        if self._journal is not None:
            self._journal(records)
        self._digest = None
        for record in records:
            if isinstance(record, User):
                self._users.changed[record.user_id] = record
            else:
                self._orders.changed[record.order_id] = record
