"""The tools of any MCP server, listed and called the way an agent sees them."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx2
from mcp import Client
from mcp_types import TextContent, Tool

from tasks.core.record import canonical_json
from zava_mcp.local import ToolReply, unsendable

# Twice what the agent loop gives a tool: of one that hangs the model is told, and the conversation goes on.
CALL_TIMEOUT_S = 60.0
# Reading may take as long as it takes: a stream that a server keeps open is silent between calls, and each call has
# its own limit.
HTTP_TIMEOUT = httpx2.Timeout(30.0, read=None)


async def served(client: Client) -> AsyncIterator[Tool]:
    """Yield the tools of a server, page after page."""
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            yield tool
        if not (cursor := page.next_cursor):
            return


def in_openai_shape(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Return tools as a chat completion request takes them."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description or "", "parameters": tool.input_schema},
        }
        for tool in tools
    ]


async def called(client: Client, name: str, arguments: dict[str, Any]) -> ToolReply:
    """Call a tool; where it returns no text, its structured content is the text."""
    if refusal := unsendable(arguments):
        return refusal
    result = await client.call_tool(name, arguments)
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    if not texts and result.structured_content is not None:
        texts = [canonical_json(result.structured_content)]
    return ToolReply("".join(texts), bool(result.is_error))
