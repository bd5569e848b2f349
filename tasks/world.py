"""The world that conversations happen in: the shop of a profile, its records, its tools and its policy."""

import asyncio
from typing import Any

from tasks.core.config import WorldConfig
from tasks.core.errors import DataError
from tasks.core.scenario import ShopView
from zava_mcp.errors import SnapshotError
from zava_mcp.local import LocalShop
from zava_mcp.seed import generate_shop
from zava_mcp.snapshot import load_snapshot
from zava_mcp.store import RetailStore


def open_shop(world: WorldConfig) -> RetailStore:
    """Return the shop of a profile: imported from its snapshot, or generated from its seed.

    Raises:
        DataError: The snapshot is missing or broken.
    """
    if world.snapshot is None:
        return generate_shop(world.shop_seed)
    try:
        return load_snapshot(world.snapshot)
    except SnapshotError as error:
        raise DataError(str(error)) from error


def shop_view(store: RetailStore) -> ShopView:
    """Return the shop's records as plain JSON values."""
    return ShopView(
        users={key: user.to_json() for key, user in store.users.items()},
        orders={key: order.to_json() for key, order in store.orders.items()},
        products={key: product.to_json() for key, product in store.products.items()},
    )


def served_tools(store: RetailStore) -> list[dict[str, Any]]:
    """Return the tools as the shop serves them, in the OpenAI shape."""

    async def ask() -> list[dict[str, Any]]:
        async with LocalShop(store) as shop:
            return await shop.tools()

    return asyncio.run(ask())
