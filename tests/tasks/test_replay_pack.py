"""The replay pack played over HTTP by agents whose flaw is known."""

import asyncio
import json
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from tasks import measure_family
from tasks.core.config import EvaluationConfig, load_profile
from tasks.core.errors import DataError, ProviderUnavailableError
from tasks.core.family import RECORDED, FamilyReport, Member
from tasks.core.record import sha256_of
from tasks.family import KINDS, draw_member
from tasks.replay_add import add_member
from tasks.replay_pack import Pack, play_pack
from tests.agents import UserId, agent
from tests.fake_finetuning import FakeFinetuning
from tests.fake_provider import FakeProvider, say
from zava_mcp import policy
from zava_mcp.seed import generate_shop
from zava_mcp.store import RetailStore

pytestmark = pytest.mark.anyio
CONFIG = EvaluationConfig(timeout_s=240, concurrency=4)
# An even and an odd seed of each kind: some kinds take turns.
MEMBERS = tuple(draw_member(kind, seed) for seed in (1, 2) for kind in KINDS)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def shop() -> RetailStore:
    return generate_shop(7, customers=5, products=4, orders=6)


async def play(user_id: UserId, members: tuple[Member, ...] = MEMBERS) -> FamilyReport:
    pack = Pack(members, sha256_of([member.digest() for member in members]))
    with FakeProvider(agent(user_id)) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            return await play_pack(client, "m", "tuned", pack, policy.text(), CONFIG)


async def test_a_careful_agent_gets_every_story_right() -> None:
    report = await play(lambda found, heard: found)
    assert [(r.member_id, r.reasons) for r in report.results if not r.passed] == []
    assert [r.member_id for r in report.results] == [member.id for member in MEMBERS]


async def test_an_agent_that_makes_ids_up_gets_every_story_wrong() -> None:
    report = await play(lambda found, heard: found.rpartition("_")[0] + "_00000")
    assert report.passed == 0
    assert all("but the lookup had returned" in " ".join(result.reasons) for result in report.results)


async def test_an_agent_that_believes_a_stated_id_fails_just_there() -> None:
    def trusting(found: str, heard: str) -> str:
        said = heard.partition("My user id is ")[2].split(".")[0]
        return said or found

    report = await play(trusting)
    assert {result.kind for result in report.results if not result.passed} == {"wrong_id"}


async def test_an_agent_that_never_looks_anybody_up_comes_to_an_end() -> None:
    pack = Pack(MEMBERS[:1], "p")
    with FakeProvider(lambda request: say("How are you?")) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            report = await play_pack(client, "m", "base", pack, policy.text(), CONFIG)
    reasons = report.results[0].reasons
    assert reasons[0] == "the customer was not looked up"
    assert any(reason.startswith("users['noah_brown_") and ".address is" in reason for reason in reasons)


async def test_a_provider_that_is_gone_ends_the_play_with_one_error() -> None:
    async with AsyncOpenAI(base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0) as client:
        with pytest.raises(ProviderUnavailableError):
            await play_pack(client, "m", "base", Pack(MEMBERS[:3], "p"), policy.text(), CONFIG)


def test_what_was_played_is_not_played_again(tmp_path: Path) -> None:
    with FakeFinetuning() as provider:
        profile = load_profile("local", (f"workspace={tmp_path}", f"provider.base_url={provider.base_url}"))
        provider.models.add("m")
        first = measure_family.family(profile, "base", "m")
        asked = provider.count("POST /chat/completions")
        again = measure_family.family(profile, "tuned", "m")
        assert provider.count("POST /chat/completions") == asked > 0
    assert again == first.model_copy(update={"arm": "tuned"})
    assert len(first.results) == len(KINDS)


NOAH = "noah_brown_6181"
ADDRESS = {"address1": "1 Oak Road", "address2": "", "city": "Denver", "state": "CO", "country": "USA", "zip": "80202"}
LOOKUP = {"first_name": "Noah", "last_name": "Brown", "zip": "80279"}


def transcript(path: Path, user_id: str, *, lines: bool = False) -> Path:
    """Write how a model served Noah Brown, with this id after the lookup."""

    def made(name: str, arguments: dict[str, str], result: str) -> list[dict[str, object]]:
        function = {"name": name, "arguments": json.dumps(arguments)}
        calls = [{"id": name, "type": "function", "function": function}]
        asked = {"role": "assistant", "content": None, "tool_calls": calls}
        return [asked, {"role": "tool", "content": result, "tool_call_id": name}]

    address = "1 Oak Road, Denver, CO 80202, USA"
    messages = [
        {"role": "system", "content": "Help."},
        {"role": "user", "content": f"I am Noah Brown, my zip is 80279. I want to update my address to {address}."},
        *made("find_user_id_by_name_zip", LOOKUP, NOAH),
        *made("get_user_details", {"user_id": user_id}, "{}"),
        {"role": "assistant", "content": "Do you confirm (yes/no)?"},
        {"role": "user", "content": "Yes, do it."},
        *made("update_address", {"user_id": user_id, **ADDRESS}, "{}"),
        {"role": "assistant", "content": "Done. Anything else?"},
    ]
    text = "".join(json.dumps(m) + "\n" for m in messages) if lines else json.dumps({"messages": messages})
    path.write_text(text)
    return path


async def test_a_good_transcript_becomes_a_member_with_its_own_end(tmp_path: Path, shop: RetailStore) -> None:
    path = transcript(tmp_path / "noah.transcript.jsonl", NOAH, lines=True)
    member = await asyncio.to_thread(add_member, path, shop, tmp_path / "pack")
    assert (member.id, member.kind) == ("recorded/noah", RECORDED)
    assert [(call.name, call.arguments["zip"]) for call in member.goal or ()] == [("update_address", "80202")]
    assert list(member.world["users"]) == [NOAH]
    assert set(member.world["orders"]) == set(shop.user(NOAH).orders)
    assert (await play(lambda found, heard: found, (member,))).passed == 1
    assert (await play(lambda found, heard: "noah_brown_80279", (member,))).passed == 0


def test_of_a_transcript_with_a_made_up_id_only_the_ids_are_judged(tmp_path: Path, shop: RetailStore) -> None:
    path = transcript(tmp_path / "bad.json", "noah_brown_80279")
    assert add_member(path, shop, tmp_path / "pack").goal is None
    goal = tmp_path / "goal.json"
    goal.write_text(json.dumps([{"name": "update_address", "arguments": {"user_id": NOAH, **ADDRESS}}]))
    with pytest.raises(DataError, match="There is another replay member"):
        add_member(path, shop, tmp_path / "pack", goal)
    assert len(add_member(path, shop, tmp_path / "other", goal).goal or ()) == 1


def test_a_goal_that_the_shop_refuses_is_named(tmp_path: Path, shop: RetailStore) -> None:
    goal = tmp_path / "goal.json"
    goal.write_text(json.dumps([{"name": "update_address", "arguments": {"user_id": "nobody", **ADDRESS}}]))
    with pytest.raises(DataError, match="The goal cannot be reached: update_address"):
        add_member(transcript(tmp_path / "t.json", NOAH), shop, tmp_path / "pack", goal)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("3", "holds no list of messages"),
        ('[{"role": "robot"}]', "no OpenAI message"),
        ("[1]", "holds no list of messages"),
        ('[{"role": "assistant", "tool_calls": [1]}]', "no OpenAI message"),
        ("[]", "has no words of a customer"),
        ('[{"role": "user", "content": "Hi"}]', "names no customer of the shop"),
    ],
)
def test_a_transcript_that_makes_no_member_is_named(
    tmp_path: Path, shop: RetailStore, content: str, message: str
) -> None:
    path = tmp_path / "t.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        add_member(path, shop, tmp_path / "pack")
