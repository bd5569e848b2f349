"""How a shop tool is called: arguments checked strictly, refusals told in one short sentence."""

from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from zava_mcp.entities import Record, compact_json
from zava_mcp.errors import RetailError

READ = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
WRITE = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False)
HAND_OFF = ToolAnnotations(read_only_hint=True, idempotent_hint=False, open_world_hint=True)


def told(value: object) -> CallToolResult:
    """Return a result of one text: a bare id or word as it is, everything else as compact JSON."""
    if isinstance(value, Record):
        value = value.to_json()
    text = value if isinstance(value, str) else compact_json(value)
    return CallToolResult(content=[TextContent(type="text", text=text)])


def refused(message: str) -> CallToolResult:
    """Return a refusal: the message itself, for the model to read."""
    return CallToolResult(content=[TextContent(type="text", text=message)], is_error=True)


class ShopTool(Tool):
    """A tool that takes exactly its arguments; the SDK alone would drop unknown ones and convert wrong types."""

    strict_model: type[BaseModel]

    @classmethod
    def strict(cls, tool: Tool) -> "ShopTool":
        """Return the tool with strict arguments and a lean schema that says so."""
        arguments: dict[str, Any] = {
            name: (field.annotation, field) for name, field in tool.fn_metadata.arg_model.model_fields.items()
        }
        config = ConfigDict(extra="forbid", strict=True)
        strict_model = create_model(f"{tool.name}_arguments", __config__=config, **arguments)
        fields = {name: getattr(tool, name) for name in Tool.model_fields}
        fields["parameters"] = _lean(tool.parameters) | {"additionalProperties": False}
        return cls(**fields, strict_model=strict_model)

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Refuse arguments that do not fit; run the tool with those that do and tell what it returned."""
        try:
            self.strict_model.model_validate(arguments)
        except ValidationError as error:
            return refused(_explained(self, error))
        try:
            return told(await super().run(arguments, context))
        except UnexpectedToolError as error:
            # The SDK hides what it does not know; a refusal of the shop is meant to be read.
            if isinstance(error.__cause__, RetailError):
                return refused(str(error.__cause__))
            raise


def _lean(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without the titles that only repeat the names: a small model pays for every token."""
    properties = {
        name: {key: value for key, value in field.items() if key != "title"}
        for name, field in schema.get("properties", {}).items()
    }
    return {key: value for key, value in schema.items() if key != "title"} | {"properties": properties}


def _explained(tool: ShopTool, error: ValidationError) -> str:
    """Return what is wrong with the arguments of a call, each fault with its value."""
    faults = [_fault(fault) for fault in error.errors(include_url=False)]
    takes = ", ".join(tool.strict_model.model_fields) or "no arguments"
    return f"{tool.name}: {'; '.join(faults)}. It takes {takes}."


def _fault(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"argument {place!r} is missing"
    if fault["type"] == "extra_forbidden":
        return f"there is no argument {place!r}"
    shown = repr(fault["input"])
    return f"argument {place!r} is {shown if len(shown) <= 80 else shown[:77] + '...'}: {fault['msg']}"
