import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from zava_mcp.errors import GenerateError
from zava_mcp.seed import generate_shop
from zava_mcp.snapshot import dump_snapshot
from zava_mcp.store import RetailStore

# Of the default shop; a change of it changes every data set and score built on it.
DEFAULT_DIGEST = "476f09201e0617096e20cf56367f81c0f0522d0892b9583a19dba25cd632d45b"


@pytest.fixture(scope="module")
def generated() -> RetailStore:
    return generate_shop()


def test_the_default_shop_is_the_same_on_every_machine(generated: RetailStore) -> None:
    assert generated.digest() == DEFAULT_DIGEST


def test_another_process_with_other_hashing_makes_the_same_bytes() -> None:
    program = (
        "import json; from zava_mcp.seed import generate_shop; from zava_mcp.snapshot import dump_snapshot;"
        "print(json.dumps(dump_snapshot(generate_shop(3, customers=20, products=10, orders=30))))"
    )
    env = dict(os.environ, PYTHONHASHSEED="12345")
    told = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True).stdout
    here = generate_shop(3, customers=20, products=10, orders=30)
    assert told == json.dumps(dump_snapshot(here)) + "\n"


def test_seeds_make_different_shops() -> None:
    shops = [generate_shop(seed, customers=10, products=5, orders=15) for seed in (1, 2)]
    assert shops[0].digest() != shops[1].digest()


def test_the_sizes_are_as_asked(generated: RetailStore) -> None:
    assert (len(generated.users), len(generated.products), len(generated.orders)) == (500, 50, 1000)
    assert {len(product.variants) for product in generated.products.values()} <= {4, 5, 6, 7}
    assert {len(user.orders) for user in generated.users.values()} <= {1, 2, 3, 4}
    assert {len(user.payment_methods) for user in generated.users.values()} == {1, 2, 3}
    assert {len(order.items) for order in generated.orders.values()} == {1, 2, 3}


def test_noah_brown_is_there_with_a_pending_and_a_delivered_order(generated: RetailStore) -> None:
    assert generated.find_user_id_by_name_zip("Noah", "Brown", "80279") == "noah_brown_6181"
    statuses = [generated.orders[order_id].status for order_id in generated.users["noah_brown_6181"].orders]
    assert {"pending", "delivered"} <= set(statuses)


def test_the_statuses_are_shared_out_as_promised(generated: RetailStore) -> None:
    counts = Counter(order.status for order in generated.orders.values())
    for status, share in {"pending": 400, "delivered": 400, "processed": 120, "cancelled": 80}.items():
        assert abs(counts[status] - share) < 60


def test_names_and_emails_name_one_customer_and_are_diverse(generated: RetailStore) -> None:
    users = generated.users.values()
    assert len({user.email for user in users}) == 500
    assert len({(user.name.first_name, user.name.last_name) for user in users}) == 500
    assert len({user.name.first_name for user in users}) > 300


def test_amounts_add_up(generated: RetailStore) -> None:
    for order in generated.orders.values():
        assert order.payment_history[0].amount == sum(item.price for item in order.items)


def test_every_product_leaves_a_choice(generated: RetailStore) -> None:
    for product in generated.products.values():
        assert sum(variant.available for variant in product.variants.values()) >= 2


def test_records_are_lean(generated: RetailStore) -> None:
    order = next(order for order in generated.orders.values() if order.status == "pending")
    assert list(order.to_json()) == ["order_id", "user_id", "address", "items", "status", "payment_history"]
    assert max(len(each.compact()) for each in generated.products.values()) < 1000


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        ({"products": 66}, "products is 66"),
        ({"products": 0}, "products is 0"),
        ({"customers": 0}, "customers is 0"),
        ({"customers": 5, "orders": 21}, "orders is 21; 5 customers have 2 to 20"),
        ({"orders": 1}, "orders is 1"),
    ],
)
def test_an_impossible_size_is_refused(sizes: dict[str, int], problem: str) -> None:
    with pytest.raises(GenerateError, match=problem):
        generate_shop(7, **sizes)


def test_the_smallest_and_the_fullest_shop_can_be_made() -> None:
    assert len(generate_shop(1, customers=1, products=1, orders=2).orders) == 2
    assert len(generate_shop(1, customers=20, products=65, orders=80).orders) == 80
