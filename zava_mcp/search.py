"""Ranked search over product names and the options of their variants."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from zava_mcp.entities import Product, Variant

NAME_WEIGHT, VALUE_WEIGHT, KEY_WEIGHT = 4, 2, 1


def search(products: Iterable[Product], query: str, limit: int) -> list[dict[str, Any]]:
    """Return the best matching items, each with its product's name and id; available ones come first in a tie."""
    wanted = set(_words(query))
    ranked = [
        (-score, not variant.available, product.name, variant.price, variant.item_id, product, variant)
        for product in products
        for score, variant in _scored(product, wanted)
    ]
    ranked.sort(key=lambda entry: entry[:5])
    return [_hit(product, variant) for *_, product, variant in ranked[:limit]]


def _scored(product: Product, wanted: set[str]) -> Iterator[tuple[int, Variant]]:
    name_score = NAME_WEIGHT * len(wanted & set(_words(product.name)))
    for variant in product.variants.values():
        values = set(_words(" ".join(variant.options.values())))
        keys = set(_words(" ".join(variant.options)))
        score = name_score + VALUE_WEIGHT * len(wanted & values) + KEY_WEIGHT * len(wanted & (keys - values))
        if score:
            yield score, variant


def _words(text: str) -> list[str]:
    """Return the words of a text in lower case, a plural s cut so that 'lamps' finds 'Lamp'."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return [word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in words]


def _hit(product: Product, variant: Variant) -> dict[str, Any]:
    item = variant.to_json()
    return {
        "item_id": variant.item_id,
        "name": product.name,
        "product_id": product.product_id,
        "options": item["options"],
        "price": item["price"],
        "available": variant.available,
    }
