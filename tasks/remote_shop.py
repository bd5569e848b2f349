"""The shop over HTTP: a client on a private sandbox of the server."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

from tasks.core.errors import ServiceError, ZavaError
from tasks.mcp_tools import CALL_TIMEOUT_S, HTTP_TIMEOUT, called, in_openai_shape, served
from zava_mcp.tools import KEY_VARIABLE, SANDBOX_HEADER

ANSWER_TIMEOUT_S = 30.0  # of what is no call of a tool


class RemoteShop:
    """The tools of a shop server, on one sandbox."""

    def __init__(self, client: Client) -> None:
        """Use a connected client."""
        self._client = client

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


@asynccontextmanager
async def open_remote_shop(address: str) -> AsyncIterator[RemoteShop]:
    """Connect to the shop server on a fresh sandbox of its own, which is dropped at the end.

    The key, where the server asks for one, is that of the variable ZAVA_SHOP_KEY.

    Raises:
        ServiceError: No shop answers there.
    """
    sandbox = f"chat-{secrets.token_hex(6)}"
    root = address.removesuffix("/mcp")
    headers = {SANDBOX_HEADER: sandbox}
    if key := os.environ.get(KEY_VARIABLE):
        headers["Authorization"] = f"Bearer {key}"
    async with httpx2.AsyncClient(headers=headers, timeout=HTTP_TIMEOUT, trust_env=False) as http:
        try:
            (await http.get(f"{root}/healthz", timeout=ANSWER_TIMEOUT_S)).raise_for_status()
        except httpx2.HTTPError as error:
            raise ServiceError(f"No shop answers at {address}: {error!r}. Start it: zava up.") from error
        failure: ZavaError | MCPError | None = None
        try:
            transport = streamable_http_client(address, http_client=http)
            async with Client(transport, read_timeout_seconds=CALL_TIMEOUT_S) as client:
                # An error that left this block would come out wrapped in groups, one for each layer of the client.
                try:
                    yield RemoteShop(client)
                except (ZavaError, MCPError) as error:
                    failure = error
        finally:
            await http.delete(f"{root}/sandboxes/{sandbox}", timeout=ANSWER_TIMEOUT_S)
        if isinstance(failure, MCPError):
            raise ServiceError(f"The shop at {address} failed: {failure}. `zava status` tells how it is.") from failure
        if failure:
            raise failure
