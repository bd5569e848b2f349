"""Any MCP server as a world: over stdio and HTTP, with each way to put it back to its start."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.core.config import WorldConfig, load_profile
from tasks.core.errors import ConfigError, ServiceError
from tasks.mcp_world import McpWorld, open_mcp_world
from tests.worlds import CLINIC, clinic_served, served, small_shop
from zava_mcp.http import build_app
from zava_mcp.sandboxes import Sandboxes

MORTAL = """
import os
from mcp.server.mcpserver import MCPServer

server = MCPServer("mortal")

@server.tool()
def die() -> str:
    os._exit(1)

server.run("stdio")
"""
BOOK = {"pet_id": "pet-6003", "slot_id": "slot-114", "reason": "limps"}
STDIO = (sys.executable, str(CLINIC / "server.py"))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with clinic_served() as (url, _):
        yield url


def config(**fields: Any) -> WorldConfig:
    return WorldConfig.model_validate({"policy": CLINIC / "policy.md", **fields})


def names(world: McpWorld) -> list[str]:
    return [tool["function"]["name"] for tool in world.tools]


async def booked_twice(world: McpWorld) -> list[tuple[str, bool]]:
    """Book the same slot in two conversations; only a world that was put back lets both through."""
    told = []
    async with world.sandbox() as sandbox:
        for _ in range(2):
            await sandbox.reset()
            told.append(await sandbox.call("book_visit", BOOK))
    return told


def test_a_server_by_command_starts_anew_for_each_conversation() -> None:
    world = open_mcp_world(config(command=STDIO))
    assert not world.is_shared
    assert world.policy.startswith("# Desk of the animal clinic")
    assert "book_visit" in names(world)
    first, second = asyncio.run(booked_twice(world))
    assert first == second
    assert not first[1]


def test_a_server_by_address_is_put_back_by_its_tool_which_the_agent_never_sees(address: str) -> None:
    world = open_mcp_world(config(url=address, reset_tool="reset_clinic"))
    assert world.is_shared
    assert "reset_clinic" not in names(world)
    first, second = asyncio.run(booked_twice(world))
    assert first == second
    assert not first[1]


def test_without_a_reset_only_tools_that_read_are_offered(address: str) -> None:
    world = open_mcp_world(config(url=address))
    assert names(world) == ["find_owner", "get_owner", "list_free_slots"]
    assert not world.is_shared
    assert names(open_mcp_world(config(url=address, read_only=["get_owner"]))) == ["get_owner"]


def test_the_state_is_what_was_changed_whatever_was_read_or_refused(address: str) -> None:
    world = open_mcp_world(config(url=address, reset_tool="reset_clinic"))
    other = BOOK | {"slot_id": "slot-115"}

    async def state_after(*calls: tuple[str, dict[str, Any]]) -> str:
        async with world.sandbox() as sandbox:
            await sandbox.reset()
            for call in calls:
                await sandbox.call(*call)
            return sandbox.state()

    async def compare() -> None:
        nothing = await state_after()
        assert await state_after(("find_owner", {"phone": "555-3120"}), ("cancel_visit", {"visit_id": "x"})) == nothing
        booked = await state_after(("book_visit", BOOK))
        assert booked != nothing
        assert await state_after(("find_owner", {"phone": "555-3120"}), ("book_visit", BOOK)) == booked
        both = await state_after(("book_visit", BOOK), ("book_visit", other))
        assert both == await state_after(("book_visit", other), ("book_visit", BOOK)) != booked

    asyncio.run(compare())


def test_a_server_that_asks_for_a_key_gets_it_and_no_digest_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(build_app(Sandboxes(small_shop().fork()), key="sk-shop")) as (url, _):
        with pytest.raises(ConfigError, match=r"needs a key: set the variable SHOP_KEY_HERE"):
            open_mcp_world(config(url=url, api_key_env="SHOP_KEY_HERE"))
        monkeypatch.setenv("SHOP_KEY_HERE", "sk-shop")
        monkeypatch.setenv("SHOP_KEY_THERE", "sk-shop")
        worlds = [open_mcp_world(config(url=url, api_key_env=f"SHOP_KEY_{where}")) for where in ("HERE", "THERE")]
    assert "list_products" in names(worlds[0])
    assert worlds[0].digest == worlds[1].digest


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"reset_tool": "reset_all"}, "no tool 'reset_all'; it has book_visit"),
        ({"read_only": ["look"]}, "no tool 'look'"),
        ({"read_only": []}, r"may be used.*Name world\.reset_tool, or list tools in world\.read_only"),
        ({"policy": "nowhere.md"}, r"Cannot read the policy 'nowhere\.md'"),
    ],
)
def test_a_profile_that_does_not_fit_the_server_is_told(address: str, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        open_mcp_world(config(url=address, **fields))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"command": ["no-such-program"]}, "by the command 'no-such-program'"),
        ({"command": [sys.executable, "-c", "raise SystemExit(3)"]}, "No MCP server by the command"),
        ({"url": "http://127.0.0.1:9/mcp"}, "No MCP server at 'http://127.0.0.1:9/mcp'"),
    ],
)
def test_a_server_that_is_not_there_is_told(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ServiceError, match=reason):
        open_mcp_world(config(**fields))


def test_a_server_by_address_that_dies_in_a_conversation_is_told() -> None:
    async def play(world: McpWorld, end: Callable[[], None]) -> None:
        async with world.sandbox() as sandbox:
            await sandbox.reset()
            await asyncio.to_thread(end)
            await sandbox.call("find_owner", {"phone": "555-3120"})

    with clinic_served() as (url, end):
        world = open_mcp_world(config(url=url, reset_tool="reset_clinic"))
        with pytest.raises(ServiceError, match="failed in find_owner"):
            asyncio.run(play(world, end))


def test_a_server_by_command_that_dies_in_a_conversation_is_told(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(MORTAL)
    world = open_mcp_world(config(command=[sys.executable, str(script)]))

    async def play() -> None:
        async with world.sandbox() as sandbox:
            await sandbox.reset()
            await sandbox.call("die", {})

    with pytest.raises(ServiceError, match="failed in die"):
        asyncio.run(play())


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        (("world.url=http://127.0.0.1:9/mcp",), "a server needs a policy"),
        (("world.url=http://x/mcp", "world.command=[x]", "world.policy=p.md"), "by command or by url"),
        (("world.url=http://x/mcp", "world.policy=p.md", "world.snapshot=s.json"), "a snapshot is of the shop"),
        (("world.policy=p.md",), "are of a server"),
        (
            ("world.url=http://x/mcp", "world.policy=p.md", "teacher.agent.model=m"),
            "synthesis.intents and coverage are of the shop",
        ),
    ],
)
def test_a_world_that_contradicts_itself_is_told(override: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_profile("local", override)
