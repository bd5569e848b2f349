"""The shop over HTTP: a client on a private sandbox of the server."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

from tasks.core.change import Change
from tasks.core.errors import ServiceError, ZavaError
from tasks.mcp_tools import CALL_TIMEOUT_S, HTTP_TIMEOUT, called, in_openai_shape, served
from zava_mcp.tools import KEY_VARIABLE, SANDBOX_HEADER

ANSWER_TIMEOUT_S = 30.0  # of what is no call of a tool


class RemoteShop:
    """The tools of a shop server, on one sandbox."""

    def __init__(self, client: Client, http: httpx2.AsyncClient, sandbox: str) -> None:
        """Use a connected client; `sandbox` is the address of its sandbox."""
        self._client = client
        self._http = http
        self._sandbox = sandbox

    async def tools(self) -> list[dict[str, Any]]:
        """Return the tools as a chat completion request takes them."""
        return in_openai_shape([tool async for tool in served(self._client)])

    async def policy(self) -> str:
        """Return the shop's policy, which is the agent's system prompt."""
        prompt = await self._client.get_prompt("retail_agent")
        return "".join(m.content.text for m in prompt.messages if isinstance(m.content, TextContent))

    async def call(self, name: str, arguments: dict[str, Any], /) -> tuple[str, bool]:
        """Call a tool and return its text, and whether that is a refusal."""
        return await called(self._client, name, arguments)

    async def changes(self) -> tuple[Change, ...]:
        """Return every field of the sandbox that is another than at the start.

        Raises:
            ServiceError: The shop does not answer.
        """
        try:
            answer = await self._http.get(f"{self._sandbox}/changes", timeout=ANSWER_TIMEOUT_S)
            return tuple(Change(**change) for change in answer.raise_for_status().json())
        except (httpx2.HTTPError, ValueError, TypeError) as error:
            raise ServiceError(f"The shop does not tell its changes: {error!r}. Start it anew: zava up.") from error


def new_sandbox() -> str:
    """Return a name for a sandbox that nobody else has."""
    return f"chat-{secrets.token_hex(6)}"


async def drop_sandbox(address: str, sandbox: str) -> None:
    """Forget a sandbox of the shop server; where no server answers there is none either."""
    async with httpx2.AsyncClient(headers=_key(), timeout=ANSWER_TIMEOUT_S, trust_env=False) as http:
        with suppress(httpx2.HTTPError):
            await http.delete(f"{address.removesuffix('/mcp')}/sandboxes/{sandbox}")


def _key() -> dict[str, str]:
    key = os.environ.get(KEY_VARIABLE)
    return {"Authorization": f"Bearer {key}"} if key else {}


@asynccontextmanager
async def open_remote_shop(address: str, sandbox: str) -> AsyncIterator[RemoteShop]:
    """Connect to the shop server on a sandbox, made on its first use.

    The key, where the server asks for one, is that of the variable ZAVA_SHOP_KEY.

    Raises:
        ServiceError: No shop answers there.
    """
    root = address.removesuffix("/mcp")
    headers = {SANDBOX_HEADER: sandbox, **_key()}
    async with httpx2.AsyncClient(headers=headers, timeout=HTTP_TIMEOUT, trust_env=False) as http:
        try:
            (await http.get(f"{root}/healthz", timeout=ANSWER_TIMEOUT_S)).raise_for_status()
        except httpx2.HTTPError as error:
            raise ServiceError(f"No shop answers at {address}: {error!r}. Start it: zava up.") from error
        failure: ZavaError | MCPError | None = None
        transport = streamable_http_client(address, http_client=http)
        async with Client(transport, read_timeout_seconds=CALL_TIMEOUT_S) as client:
            # An error that left this block would come out wrapped in groups, one for each layer of the client.
            try:
                yield RemoteShop(client, http, f"{root}/sandboxes/{sandbox}")
            except (ZavaError, MCPError) as error:
                failure = error
        if isinstance(failure, MCPError):
            raise ServiceError(f"The shop at {address} failed: {failure}. `zava status` tells how it is.") from failure
        if failure:
            raise failure
