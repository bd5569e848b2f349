"""Import and export of a whole shop in the snapshot layout: {"products", "users", "orders"}."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError

from zava_mcp.entities import Order, Product, Record, User
from zava_mcp.errors import SnapshotError
from zava_mcp.state import Base
from zava_mcp.store import RetailStore

R = TypeVar("R", bound=Record)

SECTIONS = ("products", "users", "orders")


def load_snapshot(path: Path) -> RetailStore:
    """Read a shop from a snapshot file.

    Raises:
        SnapshotError: If the file is missing or broken; the message names file, record and field.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as error:
        raise SnapshotError(f"Cannot read the snapshot {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SnapshotError(f"The snapshot {path} is not UTF-8: byte {error.start} is {error.reason}.") from error
    except json.JSONDecodeError as error:
        raise SnapshotError(f"The snapshot {path} is not JSON: {error.msg} at line {error.lineno}.") from error
    except (ValueError, RecursionError) as error:
        raise SnapshotError(f"The snapshot {path} is not JSON: {error}.") from error
    return parse_snapshot(content, source=str(path))


def parse_snapshot(content: object, *, source: str) -> RetailStore:
    """Return the shop that a decoded snapshot describes; `source` names it in errors.

    Raises:
        SnapshotError: If a section, a field or a reference between records is wrong.
    """
    if not isinstance(content, dict):
        raise SnapshotError(f"{source}: a snapshot is a JSON object with {', '.join(SECTIONS)}.")
    base = Base(
        products=_records(content, "products", Product, "product_id", source),
        users=_records(content, "users", User, "user_id", source),
        orders=_records(content, "orders", Order, "order_id", source),
        extra={key: value for key, value in content.items() if key not in SECTIONS},
    )
    _check_references(base, source)
    return RetailStore(base)


def dump_snapshot(store: RetailStore) -> dict[str, Any]:
    """Return the shop as JSON values in the snapshot layout, with every field that was imported."""
    return {
        "products": {key: record.to_json() for key, record in store.products.items()},
        "users": {key: record.to_json() for key, record in store.users.items()},
        "orders": {key: record.to_json() for key, record in store.orders.items()},
        **store.extra,
    }


def save_snapshot(store: RetailStore, path: Path) -> None:
    """Write the shop to a file, whole or not at all.

    Raises:
        SnapshotError: If the file cannot be written; an older file of that name is then as it was.
    """
    text = json.dumps(dump_snapshot(store), indent=4, ensure_ascii=False) + "\n"
    draft: str | None = None
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp makes files for the owner alone; a snapshot is read like any other file.
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except OSError as error:
        if draft is not None:
            Path(draft).unlink(missing_ok=True)
        raise SnapshotError(f"Cannot write the snapshot {path}: {error.strerror}.") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _records(content: Mapping[str, Any], section: str, kind: type[R], id_field: str, source: str) -> dict[str, R]:
    if section not in content:
        raise SnapshotError(f"{source}: the section {section!r} is missing.")
    entries = content[section]
    if not isinstance(entries, dict):
        raise SnapshotError(f"{source}: {section} must be an object from id to record.")
    records = {}
    for key, value in entries.items():
        try:
            record = kind.model_validate(value)
        except ValidationError as error:
            raise SnapshotError(f"{source}: {section}[{key!r}]{_problem(error)}") from error
        if getattr(record, id_field) != key:
            raise SnapshotError(
                f"{source}: {section}[{key!r}].{id_field} is {getattr(record, id_field)!r}, not its key."
            )
        records[key] = record
    return records


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return "".join(f".{part}" for part in first["loc"]) + f": {first['msg']}."


def _check_references(base: Base, source: str) -> None:
    """Check that what records say of one another is true, so that no tool call can stumble over it."""
    for order in base.orders.values():
        if order.user_id not in base.users:
            raise SnapshotError(f"{source}: orders[{order.order_id!r}].user_id {order.user_id!r} is no customer.")
        for payment in order.payment_history:
            if payment.payment_method_id not in base.users[order.user_id].payment_methods:
                raise SnapshotError(
                    f"{source}: orders[{order.order_id!r}].payment_history names {payment.payment_method_id!r}, "
                    f"which is no payment method of {order.user_id!r}."
                )
    for user in base.users.values():
        for order_id in user.orders:
            if order_id not in base.orders or base.orders[order_id].user_id != user.user_id:
                raise SnapshotError(
                    f"{source}: users[{user.user_id!r}].orders names {order_id!r}, not an order of theirs."
                )
    _check_catalogue(base, source)


def _check_catalogue(base: Base, source: str) -> None:
    seen: dict[str, str] = {}
    for product in base.products.values():
        for item_id, variant in product.variants.items():
            place = f"{source}: products[{product.product_id!r}].variants[{item_id!r}]"
            if variant.item_id != item_id:
                raise SnapshotError(f"{place}.item_id is {variant.item_id!r}, not its key.")
            if item_id in seen:
                raise SnapshotError(f"{place} is an item of product {seen[item_id]!r} too.")
            seen[item_id] = product.product_id
