"""The world that conversations happen in: the shop of a profile, or any MCP server; its tools and its policy."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from tasks.core.config import WorldConfig
from tasks.core.errors import ConfigError, DataError
from tasks.core.policy import RETAIL, Procedure
from tasks.core.scenario import ShopView
from tasks.mcp_world import open_mcp_world
from zava_mcp import policy
from zava_mcp.errors import SnapshotError
from zava_mcp.local import LocalShop
from zava_mcp.seed import generate_shop
from zava_mcp.snapshot import load_snapshot
from zava_mcp.store import RetailStore


class Sandbox(Protocol):
    """A private copy of a world, for one conversation after another."""

    async def reset(self) -> None:
        """Put the copy back to how the world starts."""
        ...

    async def call(self, name: str, arguments: dict[str, Any], /) -> tuple[str, bool]:
        """Call a tool and return its text, and whether that is a refusal."""
        ...

    def state(self) -> str:
        """Return the digest of what the calls since the reset have made of the world."""
        ...


class World(Protocol):
    """What agents work in: tools in the OpenAI shape, the policy, and as many sandboxes as there can be at once."""

    @property
    def tools(self) -> Sequence[dict[str, Any]]:
        """The tools that the agent is offered."""
        ...

    @property
    def policy(self) -> str:
        """The agent's system prompt."""
        ...

    @property
    def procedure(self) -> Procedure | None:
        """The policy as rules that a program can check; None where it is there as text alone."""
        ...

    @property
    def digest(self) -> str:
        """The digest of where every sandbox starts, as far as it is known."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether all sandboxes are the same server, so that only one conversation can be played at a time."""
        ...

    def sandbox(self) -> AbstractAsyncContextManager[Sandbox]:
        """Open a sandbox; reset it before each conversation, in the task that opened it."""
        ...


class RetailWorld:
    """The shop of this project: every sandbox is a fork of one store in this process."""

    is_shared = False
    procedure = RETAIL

    def __init__(self, store: RetailStore) -> None:
        """Serve forks of `store`, which itself is never changed."""
        self._store = store
        self.policy = policy.text()
        self.tools = served_tools(store)
        self.digest = store.digest()

    @asynccontextmanager
    async def sandbox(self) -> AsyncIterator[Sandbox]:
        """Open a client and a server over memory."""
        async with LocalShop(self._store) as shop:
            yield _RetailSandbox(shop)


class _RetailSandbox:
    def __init__(self, shop: LocalShop) -> None:
        self._shop = shop

    async def reset(self) -> None:
        self._shop.reset()

    async def call(self, name: str, arguments: dict[str, Any], /) -> tuple[str, bool]:
        return await self._shop.call(name, arguments)

    def state(self) -> str:
        return self._shop.store.digest()


def open_world(world: WorldConfig) -> World:
    """Return the world of a profile; a server is asked for its tools once.

    Raises:
        ConfigError: The policy cannot be read, or the server offers no tool that may be used.
        DataError: The snapshot is missing or broken.
        ServiceError: The server does not start or answer.
    """
    return open_mcp_world(world) if world.has_server else RetailWorld(open_shop(world))


def open_shop(world: WorldConfig) -> RetailStore:
    """Return the shop of a profile: imported from its snapshot, or generated from its seed.

    Raises:
        ConfigError: The world of the profile is a server.
        DataError: The snapshot is missing or broken.
    """
    if world.has_server:
        raise ConfigError(
            "This needs the shop's own records, but the world of the profile is a server. Name a profile without one."
        )
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
