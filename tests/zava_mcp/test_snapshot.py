import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.zava_mcp.conftest import SNAPSHOT
from zava_mcp.errors import SnapshotError
from zava_mcp.snapshot import dump_snapshot, load_snapshot, parse_snapshot, save_snapshot
from zava_mcp.store import RetailStore

Json = dict[str, Any]


def test_an_imported_snapshot_is_exported_byte_for_byte(imported: RetailStore) -> None:
    text = SNAPSHOT.read_text(encoding="utf-8").strip()
    assert json.dumps(dump_snapshot(imported), separators=(",", ":")) == text


def test_unknown_fields_are_kept_everywhere(content: Json, tmp_path: Path) -> None:
    order = content["orders"]["#W7678072"]
    content["season"] = {"name": "spring", "sales": [1, 2.5, None]}
    content["users"]["noah_brown_6181"]["notes"] = None
    content["users"]["noah_brown_6181"]["name"]["title"] = "Dr."
    order["items"][0]["gift_wrap"] = {"paper": "blue"}
    order["payment_history"][0]["at"] = "2026-01-01"
    path = tmp_path / "shop.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    shop = load_snapshot(path)
    shop.return_delivered_order_items("#W7678072", ["2323972008"], "paypal_5727330")
    save_snapshot(shop, path)
    exported = json.loads(path.read_text(encoding="utf-8"))
    order.update(status="return requested", return_items=["2323972008"], return_payment_method_id="paypal_5727330")
    assert exported == content
    assert load_snapshot(path).digest() == shop.digest()


def test_saving_replaces_a_file_whole_and_leaves_no_draft(imported: RetailStore, tmp_path: Path) -> None:
    path = tmp_path / "shop.json"
    path.write_text("old")
    save_snapshot(imported, path)
    assert [each.name for each in tmp_path.iterdir()] == ["shop.json"]
    assert load_snapshot(path).digest() == imported.digest()


def test_a_folder_that_is_missing_is_named(imported: RetailStore, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"Cannot write the snapshot .*nowhere.*: No such file"):
        save_snapshot(imported, tmp_path / "nowhere" / "shop.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"Cannot read the snapshot .*none\.json: No such file or directory"):
        load_snapshot(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'{"products": {},\n oops}', "not JSON: .* at line 2"),
        (b'{"products": NaN}', "NaN is no JSON number"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "a snapshot is a JSON object"),
        (b"{}", "the section 'products' is missing"),
        (b'{"products": [], "users": {}, "orders": {}}', "products must be an object"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_file_that_is_no_snapshot_is_refused_with_its_name(tmp_path: Path, text: bytes, problem: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(text)
    with pytest.raises(SnapshotError, match=problem) as caught:
        load_snapshot(path)
    assert "broken.json" in str(caught.value)


def break_status(content: Json) -> None:
    content["orders"]["#W7678072"]["status"] = "lost"


def break_price(content: Json) -> None:
    content["orders"]["#W7678072"]["items"][1]["price"] = 1.005


def break_amount(content: Json) -> None:
    content["orders"]["#W7678072"]["payment_history"][0]["amount"] = "12"


def break_key(content: Json) -> None:
    content["users"]["somebody_1"] = content["users"].pop("noah_brown_6181")


def drop_email(content: Json) -> None:
    del content["users"]["noah_brown_6181"]["email"]


def drop_user(content: Json) -> None:
    del content["users"]["noah_brown_6181"]


def drop_order(content: Json) -> None:
    del content["orders"]["#W7678072"]


def swap_method(content: Json) -> None:
    content["orders"]["#W7678072"]["payment_history"][0]["payment_method_id"] = "paypal_1"


def share_item(content: Json) -> None:
    first, second, *_ = content["products"].values()
    item_id, variant = next(iter(first["variants"].items()))
    second["variants"][item_id] = variant


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (break_status, r"orders\['#W7678072'\]\.status: Input should be 'pending'"),
        (break_price, r"orders\['#W7678072'\]\.items\.1\.price: .*1\.005 is not an amount in whole cents"),
        (break_amount, r"orders\['#W7678072'\]\.payment_history\.0\.amount: .*must be a number"),
        (break_key, r"users\['somebody_1'\]\.user_id is 'noah_brown_6181', not its key"),
        (drop_email, r"users\['noah_brown_6181'\]\.email: Field required"),
        (drop_user, r"orders\['#W7678072'\]\.user_id 'noah_brown_6181' is no customer"),
        (drop_order, r"users\['noah_brown_6181'\]\.orders names '#W7678072'"),
        (swap_method, r"payment_history names 'paypal_1', which is no payment method of 'noah_brown_6181'"),
        (share_item, "is an item of product .* too"),
    ],
)
def test_a_broken_record_is_named_with_its_field(content: Json, damage: Callable[[Json], None], problem: str) -> None:
    damage(content)
    with pytest.raises(SnapshotError, match=f"^shop.json: .*{problem}"):
        parse_snapshot(content, source="shop.json")
