"""The MCP server of the shop: 18 tools, the policy as a resource and as a prompt."""

from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations

from zava_mcp import policy
from zava_mcp.sandboxes import Sandboxes
from zava_mcp.store import RetailStore
from zava_mcp.tooling import HAND_OFF, READ, WRITE, ShopTool
from zava_mcp.tools import ShopTools

POLICY_URI = "policy://retail"


def build_server(shop: Sandboxes | RetailStore) -> MCPServer[Any]:
    """Return a server whose tools act on this shop."""
    tools = ShopTools(shop if isinstance(shop, Sandboxes) else Sandboxes(shop))
    server: MCPServer[Any] = MCPServer(
        "zava-retail",
        version="0.1.0",
        instructions=f"Tools of the Zava shop. Follow the policy in the resource {POLICY_URI}.",
        tools=[_shop_tool(function, hints) for function, hints in _registered(tools)],
        log_level="WARNING",
    )
    server.resource(POLICY_URI, name="policy", description="The policy of the agent.", mime_type="text/markdown")(
        policy.text
    )
    server.prompt(name="retail_agent", description="The policy as the agent's system prompt.")(policy.text)
    return server


def _registered(tools: ShopTools) -> list[tuple[Callable[..., Any], ToolAnnotations]]:
    return [
        (tools.find_user_id_by_email, READ),
        (tools.find_user_id_by_name_zip, READ),
        (tools.get_user_details, READ),
        (tools.update_address, WRITE),
        (tools.list_products, READ),
        (tools.search_products, READ),
        (tools.get_product_details, READ),
        (tools.get_item_details, READ),
        (tools.list_user_orders, READ),
        (tools.get_order_details, READ),
        (tools.cancel_pending_order, WRITE),
        (tools.modify_pending_order_address, WRITE),
        (tools.modify_pending_order_items, WRITE),
        (tools.modify_pending_order_payment, WRITE),
        (tools.return_delivered_order_items, WRITE),
        (tools.exchange_delivered_order_items, WRITE),
        (tools.calculate, READ),
        (tools.transfer_to_human_agents, HAND_OFF),
    ]


def _shop_tool(function: Callable[..., Any], hints: ToolAnnotations) -> ShopTool:
    return ShopTool.strict(Tool.from_function(function, annotations=hints, structured_output=False))
