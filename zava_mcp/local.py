"""The shop in this process: one MCP client and server over memory, for loops that play many conversations."""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, NamedTuple, Self

from mcp import Client
from mcp_types import TextContent

from zava_mcp.sandboxes import Sandboxes
from zava_mcp.server import build_server
from zava_mcp.store import RetailStore


class ToolReply(NamedTuple):
    """What a tool call gave: its text, and whether that is a refusal."""

    text: str
    is_error: bool


# Pydantic writes some 250 levels into a message; no tool takes ten, but a model may write brackets without end.
MAX_NESTING = 100


def unsendable(arguments: dict[str, Any]) -> ToolReply | None:
    """Return the refusal of arguments that no message can hold, or None where one can."""
    level: list[Any] = [arguments]
    for _ in range(MAX_NESTING):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return None
    return ToolReply(f"The arguments are nested more than {MAX_NESTING} levels deep.", is_error=True)


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


class LocalShop:
    """One client-server pair over one shop; play one conversation at a time, each on a fresh sandbox."""

    def __init__(self, base: RetailStore) -> None:
        """Open on a fork of `base`, which itself is never changed."""
        self._base = base
        self._sandboxes = Sandboxes(base.fork())
        self._stack = AsyncExitStack()
        self._client: Client

    async def __aenter__(self) -> Self:
        """Connect; the handshake protocol is the faster of the two in memory."""
        self._client = await self._stack.enter_async_context(Client(build_server(self._sandboxes), mode="legacy"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self._stack.aclose()

    def reset(self, start: RetailStore | None = None) -> RetailStore:
        """Put a fresh private fork of the shop, or of a state of it, behind the tools and return it."""
        self._sandboxes.shared = (self._base if start is None else start).fork()
        return self._sandboxes.shared

    @property
    def store(self) -> RetailStore:
        """The sandbox behind the tools now."""
        return self._sandboxes.shared

    async def tools(self) -> list[dict[str, Any]]:
        """Return the tools as a chat completion request takes them."""
        listed = (await self._client.list_tools()).tools
        return [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description or "", "parameters": tool.input_schema},
            }
            for tool in listed
        ]

    async def writing_tools(self) -> frozenset[str]:
        """Return the names of the tools that change the shop."""
        listed = (await self._client.list_tools()).tools
        return frozenset(tool.name for tool in listed if tool.annotations and tool.annotations.read_only_hint is False)

    async def call(self, name: str, arguments: dict[str, Any]) -> ToolReply:
        """Call a tool over MCP; an unknown tool or wrong arguments are refusals like any other."""
        if refusal := unsendable(arguments):
            return refusal
        result = await self._client.call_tool(name, arguments)
        text = "".join(block.text for block in result.content if isinstance(block, TextContent))
        return ToolReply(text, bool(result.is_error))
