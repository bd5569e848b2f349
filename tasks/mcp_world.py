"""Any MCP server as a world to play in: its tools, and sandboxes by restart, by reset or by reading alone."""

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Tool

from tasks.clients import is_local
from tasks.core.config import WorldConfig
from tasks.core.errors import ConfigError, ServiceError
from tasks.core.record import canonical_json, sha256_of
from tasks.mcp_tools import CALL_TIMEOUT_S, HTTP_TIMEOUT, called, in_openai_shape, served

START_TIMEOUT_S = 60.0
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

log = logging.getLogger(__name__)


class McpWorld:
    """A server of the user's own, by command or address; of its policy there is only the text."""

    procedure = None

    def __init__(self, config: WorldConfig, tools: Sequence[Tool], policy: str) -> None:
        """Offer the tools that may be used.

        Raises:
            ConfigError: The profile names a tool that is not there, or none may be used, or one has a strange name.
        """
        names = {tool.name for tool in tools}
        for named in filter(None, (config.reset_tool, *(config.read_only or ()))):
            if named not in names:
                raise ConfigError(f"The server has no tool {named!r}; it has {', '.join(sorted(names)) or 'none'}.")
        self._config = config
        self._reads = frozenset(tool.name for tool in tools if _is_read_only(tool, config))
        can_reset = bool(config.command or config.reset_tool)
        offered = [t for t in tools if t.name != config.reset_tool and (can_reset or t.name in self._reads)]
        _check_offer(offered, config)
        self.policy = policy
        self.tools = in_openai_shape(offered)
        self.digest = sha256_of(
            [config.model_dump(mode="json", exclude={"policy", "hints", "retrain", "api_key_env"}), policy, self.tools]
        )
        self.is_shared = bool(config.url and config.reset_tool)

    @asynccontextmanager
    async def sandbox(self) -> AsyncIterator["McpSandbox"]:
        """Connect to a server of its own, or to the shared one.

        Raises:
            ServiceError: The server does not start or answer.
        """
        async with AsyncExitStack() as stack:
            sandbox = McpSandbox(self._config, self._reads, stack)
            await sandbox.connect()
            yield sandbox


class McpSandbox:
    """A connection to the server, and what was changed over it since the last reset."""

    def __init__(self, config: WorldConfig, reads: frozenset[str], stack: AsyncExitStack) -> None:
        """Keep the connection on `stack`."""
        self._config = config
        self._reads = reads
        self._stack = stack
        self._client: Client
        self._is_fresh = False
        self._changes: list[str] = []

    async def connect(self) -> None:
        """Start the server, or find it."""
        self._client = await self._stack.enter_async_context(_connected(self._config))
        self._is_fresh = True

    async def reset(self) -> None:
        """Put the server back to its start: by its tool, or by starting it again; one that is only read stays.

        Raises:
            ServiceError: The server does not start or answer, or its tool refuses.
        """
        self._changes = []
        if tool := self._config.reset_tool:
            text, is_error = await self._called(tool, {})
            if is_error:
                raise ServiceError(f"The server refuses to reset: {tool} says {text!r}.")
        elif self._config.command and not self._is_fresh:
            await self._stack.aclose()
            await self.connect()

    async def call(self, name: str, arguments: dict[str, Any], /) -> tuple[str, bool]:
        """Call a tool and return its text, and whether that is a refusal.

        Raises:
            ServiceError: The server is gone.
        """
        text, is_error = await self._called(name, arguments)
        if name not in self._reads:
            self._is_fresh = False
            if not is_error:
                self._changes.append(canonical_json([name, arguments]))
        return text, is_error

    def state(self) -> str:
        """Return the digest of the changes made, in any order: a server shows no state of its own."""
        return sha256_of(sorted(self._changes))

    async def _called(self, name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        try:
            return await called(self._client, name, arguments)
        except (MCPError, OSError, httpx2.HTTPError, anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise ServiceError(f"The server {_named(self._config)} failed in {name}: {_reason(error)}.") from error


def open_mcp_world(config: WorldConfig) -> McpWorld:
    """Read the policy of a world, and ask its server for the tools.

    Raises:
        ConfigError: The policy cannot be read, the key is missing, or the server offers no tool that may be used.
        ServiceError: The server does not start or answer.
    """

    async def ask() -> list[Tool]:
        async with _connected(config) as client:
            return [tool async for tool in served(client)]

    return McpWorld(config, asyncio.run(ask()), _policy(config))


def _policy(config: WorldConfig) -> str:
    path = config.policy or Path()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read the policy {str(path)!r}: {error}.") from error


@asynccontextmanager
async def _connected(config: WorldConfig) -> AsyncIterator[Client]:
    """Connect in a task of its own, so that errors of the caller do not come out wrapped by the layers of the client.

    It also lets a caller leave in another task than it came in.
    """
    opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()
    headers = _key(config)

    async def hold() -> None:
        async with AsyncExitStack() as stack:
            opened.set_result(await stack.enter_async_context(await _client_of(config, headers, stack)))
            await done.wait()

    task = asyncio.create_task(hold())
    first: set[asyncio.Future[Any]] = {task, opened}
    try:
        await asyncio.wait(first, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            reason = _reason(task.exception()) if task.done() else f"no answer within {START_TIMEOUT_S:g} s"
            raise ServiceError(f"No MCP server {_named(config)}: {reason}.")
        yield opened.result()
    finally:
        done.set()
        if not opened.done():
            task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and (failure := task.exception()):
            log.debug("The connection to the server %s ended badly: %s.", _named(config), _reason(failure))


async def _client_of(config: WorldConfig, headers: dict[str, str], stack: AsyncExitStack) -> Client:
    if config.command:
        command, *arguments = config.command
        return Client(StdioServerParameters(command=command, args=arguments), read_timeout_seconds=CALL_TIMEOUT_S)
    opened = httpx2.AsyncClient(timeout=HTTP_TIMEOUT, headers=headers, trust_env=not is_local(config.url))
    http = await stack.enter_async_context(opened)
    transport = streamable_http_client(config.url or "", http_client=http)
    return Client(transport, read_timeout_seconds=CALL_TIMEOUT_S)


def _key(config: WorldConfig) -> dict[str, str]:
    if config.api_key_env is None:
        return {}
    if not (key := os.environ.get(config.api_key_env)):
        raise ConfigError(f"The server {_named(config)} needs a key: set the variable {config.api_key_env}.")
    return {"Authorization": f"Bearer {key}"}


def _named(config: WorldConfig) -> str:
    return f"at {config.url!r}" if config.url else f"by the command {' '.join(config.command)!r}"


def _reason(error: BaseException | None) -> str:
    """Return what went wrong at the bottom of the layers of a client."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{error}" or repr(error)


def _is_read_only(tool: Tool, config: WorldConfig) -> bool:
    if config.read_only is not None:
        return tool.name in config.read_only
    return bool(tool.annotations and tool.annotations.read_only_hint)


def _check_offer(offered: Sequence[Tool], config: WorldConfig) -> None:
    if not offered:
        raise ConfigError(
            f"No tool of the server {_named(config)} may be used: it cannot be put back to its start, and none of its "
            "tools is known to change nothing. Name world.reset_tool, or list tools in world.read_only."
        )
    for tool in offered:
        if not _TOOL_NAME.fullmatch(tool.name):
            raise ConfigError(f"Tool {tool.name!r} has a name that the OpenAI API refuses; it takes A-Z a-z 0-9 _ -.")
