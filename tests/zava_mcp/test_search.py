import pytest

from zava_mcp.errors import ArgumentError
from zava_mcp.store import RetailStore


def test_the_product_s_name_counts_more_than_an_option(shop: RetailStore) -> None:
    name = next(iter(shop.products.values())).name
    assert {hit["name"] for hit in shop.search_products(name, 3)} == {name}


def test_options_rank_the_items_of_a_product_and_plurals_are_found(shop: RetailStore) -> None:
    product = next(product for product in shop.products.values() if product.name == "Backpack")
    wanted = next(iter(product.variants.values())).options["color"]
    hits = shop.search_products(f"{wanted} BACKPACKS", 2)
    assert all(hit["name"] == "Backpack" and hit["options"]["color"] == wanted for hit in hits)
    assert list(hits[0]) == ["item_id", "name", "product_id", "options", "price", "available"]


def test_available_items_come_before_others_that_match_as_well(shop: RetailStore) -> None:
    available = [hit["available"] for hit in shop.search_products("backpack", 20)]
    assert available == sorted(available, reverse=True)


def test_nothing_is_found_for_words_that_occur_nowhere(shop: RetailStore) -> None:
    assert shop.search_products("xyzzy", 5) == []


@pytest.mark.parametrize("limit", [0, 21])
def test_the_limit_is_bounded(shop: RetailStore, limit: int) -> None:
    with pytest.raises(ArgumentError, match=f"limit is {limit}; it must be from 1 to 20"):
        shop.search_products("lamp", limit)
