"""The clinic as an MCP server of its own: `python tests/clinic/server.py [PORT]`, over stdio, or HTTP on a port."""

import json
import sys
from pathlib import Path
from typing import Any, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.clinic.records import Clinic, ClinicError

Day = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
READ = ToolAnnotations(read_only_hint=True)


def build_server() -> MCPServer:
    """Return a server on a clinic of its own."""
    server = MCPServer("clinic", log_level="ERROR")
    clinics = [Clinic()]

    @server.tool(annotations=READ, structured_output=False)
    def find_owner(phone: str) -> str:
        """Find the id of an owner by phone number."""
        return _told(lambda: clinics[0].owner_by_phone(phone))

    @server.tool(annotations=READ, structured_output=False)
    def get_owner(owner_id: str) -> str:
        """Get an owner with pets and visits."""
        return _told(lambda: clinics[0].owner(owner_id))

    @server.tool(annotations=READ, structured_output=False)
    def list_free_slots(day: Day) -> str:
        """List the free slots of a day."""
        return _told(lambda: clinics[0].free_slots(day))

    @server.tool(structured_output=False)
    def book_visit(pet_id: str, slot_id: str, reason: str) -> str:
        """Book a visit for a pet at a free slot."""
        return _told(lambda: clinics[0].book(pet_id, slot_id, reason))

    @server.tool(structured_output=False)
    def move_visit(visit_id: str, slot_id: str) -> str:
        """Move a visit to another free slot."""
        return _told(lambda: clinics[0].move(visit_id, slot_id))

    @server.tool(structured_output=False)
    def cancel_visit(visit_id: str) -> str:
        """Cancel a visit."""
        return _told(lambda: clinics[0].cancel(visit_id))

    @server.tool(structured_output=False)
    def reset_clinic() -> str:
        """Put the clinic back to its start."""
        clinics[0] = Clinic()
        return "ok"

    return server


def _told(act: Any) -> str:
    try:
        value = act()
    except ClinicError as error:
        raise ToolError(str(error)) from error
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    if sys.argv[1:]:
        build_server().run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        build_server().run("stdio")
