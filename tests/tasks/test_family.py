"""The drawn members: frozen as they lie in configs/replay, each with what its kind promises."""

import json
from typing import Any

import pytest

from tasks.core.config import ReplayConfig
from tasks.core.errors import DataError
from tasks.core.family import Member
from tasks.family import KINDS, draw_member, draw_pack, pack_lines
from tasks.replay_pack import read_pack, world_of
from tests.worlds import ROOT

FROZEN = ROOT / "configs" / "replay" / "noah_brown.jsonl"
SEEDS = range(1, 6)


def story(kind: str, seed: int) -> tuple[Member, dict[str, Any]]:
    """Return a member and the customer that it is about."""
    member = draw_member(kind, seed)
    assert member.goal is not None
    return member, member.world["users"][member.goal[0].arguments["user_id"]]


def differing(one: str, other: str) -> int:
    assert len(one) == len(other)
    return sum(a != b for a, b in zip(one, other, strict=True))


def test_the_frozen_pack_is_what_the_drawing_gives() -> None:
    assert FROZEN.read_bytes() == pack_lines(draw_pack(5))


@pytest.mark.parametrize("kind", KINDS)
def test_each_member_has_a_sound_world_and_the_first_is_about_noah_brown(kind: str) -> None:
    for seed in SEEDS:
        member, user = story(kind, seed)
        shop = world_of(member)
        assert len(shop.users) >= 2
        assert user["user_id"] in shop.users
    assert "Noah Brown" in draw_member(kind, 1).part.opening or kind == "renamed"


@pytest.mark.parametrize("seed", SEEDS)
def test_each_kind_holds_what_may_mislead(seed: int) -> None:
    _, user = story("id_like_zip", seed)
    suffix = user["user_id"].rpartition("_")[2]
    assert len(suffix) == 5
    assert suffix != user["address"]["zip"]

    _, user = story("id_near_zip", seed)
    assert differing(user["user_id"].rpartition("_")[2], user["address"]["zip"]) == 1

    member, user = story("id_near_birthday", seed)
    born = member.part.opening.partition("born on ")[2][:5].replace("/", "")
    assert differing(user["user_id"].rpartition("_")[2], born) == 1

    member, user = story("email", seed)
    assert user["email"] in member.part.opening
    assert user["address"]["zip"] not in member.part.opening

    _, user = story("renamed", seed)
    assert user["name"]["last_name"].lower() not in user["user_id"]

    member, user = story("namesakes", seed)
    same = [other for other in member.world["users"].values() if other["name"] == user["name"]]
    assert len(same) == 2
    assert (same[0]["address"]["zip"] == same[1]["address"]["zip"]) == (seed % 2 == 0)

    member, user = story("tool_error", seed)
    assert member.fails_once in {"find_user_id_by_name_zip", "get_user_details"}

    member, user = story("topic_change", seed)
    [order_id] = user["orders"]
    assert order_id in (member.part.detour or "")

    member, user = story("wrong_id", seed)
    said = member.part.opening.partition("My user id is ")[2].split(".")[0]
    assert said != user["user_id"]
    assert said not in member.world["users"]


def test_a_run_plays_the_first_seeds_of_each_kind() -> None:
    packs = [read_pack(ReplayConfig(folder=FROZEN.parent, seeds=seeds)) for seeds in (0, 1, 5)]
    assert [len(pack.members) for pack in packs] == [0, 10, 50]
    assert len({pack.sha256 for pack in packs}) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"noah.jsonl, line 1 is not JSON"),
        ("{}", r"noah.jsonl, line 1 is not a replay member"),
        (f"{draw_member('plain', 1).model_dump_json()}\n" * 2, r"line 2: there is a replay member 'plain/1' already"),
    ],
)
def test_a_broken_pack_is_named(tmp_path: Any, content: str, message: str) -> None:
    (tmp_path / "noah.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        read_pack(ReplayConfig(folder=tmp_path))


def test_a_world_that_is_no_shop_is_named() -> None:
    member = draw_member("plain", 1)
    broken = member.model_copy(update={"world": json.loads('{"users": {}}')})
    with pytest.raises(DataError, match="the world of 'plain/1': the section 'products' is missing"):
        world_of(broken)
