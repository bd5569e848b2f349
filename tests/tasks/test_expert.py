import asyncio
import json
from functools import cache

import pytest

from tasks.core.conversation import Conversation
from tasks.core.dataset import row_of
from tasks.core.drawing import draw_scenarios, noah_brown_story
from tasks.core.errors import SynthesisError
from tasks.core.gates import ToolShelf, format_gate, policy_gate, provenance_gate
from tasks.core.scenario import Request, Scenario
from tasks.expert import play
from tests.worlds import phrases, shop_tools, small_shop, small_view, synthesis
from zava_mcp import policy
from zava_mcp.local import LocalShop

WRITES = ("cancel", "modify", "return_", "exchange", "update_")


async def play_all(scenarios: list[Scenario]) -> list[Conversation]:
    async with LocalShop(small_shop()) as shop:
        return [await play(scenario, shop, phrases(), policy.text()) for scenario in scenarios]


@cache
def played() -> list[tuple[Scenario, Conversation]]:
    scenarios = draw_scenarios(small_view(), synthesis(trap_rate=0.3), "train", 120, 5)
    return list(zip(scenarios, asyncio.run(play_all(scenarios)), strict=True))


def calls_of(conversation: Conversation) -> list[tuple[str, dict[str, object]]]:
    return [(call.name, call.parsed() or {}) for message in conversation.messages for call in message.tool_calls]


def test_every_scenario_ends_as_it_should_with_exactly_its_writes() -> None:
    for scenario, conversation in played():
        writes = [call for call in calls_of(conversation) if call[0].startswith(WRITES)]
        assert writes == [(gold.name, gold.arguments) for gold in scenario.gold_writes]
        assert conversation.outcome == scenario.gold_outcome


def test_the_final_state_is_that_of_the_gold_writes() -> None:
    for scenario, conversation in played():
        shop = small_shop().fork()
        for call in scenario.gold_writes:
            getattr(shop, call.name)(**call.arguments)
        assert conversation.final_state == shop.digest()


def test_every_conversation_passes_the_gates() -> None:
    shelf = ToolShelf()
    for _, conversation in played():
        row = row_of(conversation, shop_tools())
        verdicts = [format_gate(row, shelf), provenance_gate(row, shelf)]
        for verdict in (*verdicts, policy_gate(row, customer_id=conversation.customer_id)):
            assert verdict.passed, (conversation.id, verdict)


def test_the_profile_is_read_right_after_the_lookup_with_the_id_that_it_returned() -> None:
    for scenario, conversation in played():
        lookup, details, *_ = calls_of(conversation)
        assert lookup[0].startswith("find_user_id_by_")
        assert details == ("get_user_details", {"user_id": scenario.customer_id})


def test_every_write_follows_an_explicit_yes() -> None:
    for _, conversation in played():
        for place, message in enumerate(conversation.messages):
            if message.tool_calls and message.tool_calls[0].name.startswith(WRITES):
                asked, answered = conversation.messages[place - 2 : place]
                assert "(yes/no)?" in str(asked.content)
                assert answered.role == "user"


def test_nothing_is_read_twice_and_no_order_of_another_customer_at_all() -> None:
    for _, conversation in played():
        reads = [(name, str(args)) for name, args in calls_of(conversation) if name.startswith(("get_", "list_"))]
        assert len(reads) == len(set(reads))
        for name, arguments in calls_of(conversation):
            if name == "get_order_details":
                order_id = str(arguments["order_id"])
                assert small_view().orders[order_id]["user_id"] == conversation.customer_id


def test_arguments_are_compact_and_in_the_order_of_the_schema_and_ids_count_up() -> None:
    order = {t["function"]["name"]: list(t["function"]["parameters"]["properties"]) for t in shop_tools()}
    for _, conversation in played():
        calls = [call for message in conversation.messages for call in message.tool_calls]
        assert [call.id for call in calls] == [f"call_{n}" for n in range(1, len(calls) + 1)]
        for call in calls:
            arguments = json.loads(call.arguments)
            assert call.arguments == json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)
            assert list(arguments) == [name for name in order[call.name] if name in arguments]


def test_the_same_scenario_is_played_the_same_way() -> None:
    scenarios = [scenario for scenario, _ in played()[:10]]
    assert asyncio.run(play_all(scenarios)) == [conversation for _, conversation in played()[:10]]


def test_another_wording_leads_to_the_same_calls() -> None:
    scenarios = [scenario for scenario, _ in played()]
    reworded = asyncio.run(play_all([s.model_copy(update={"seed": s.seed + 1}) for s in scenarios]))
    for (_, first), second in zip(played(), reworded, strict=True):
        assert calls_of(first) == calls_of(second)


def test_the_story_changes_noah_browns_address() -> None:
    [conversation] = asyncio.run(play_all([noah_brown_story()]))
    names = [name for name, _ in calls_of(conversation)]
    assert names == ["find_user_id_by_name_zip", "get_user_details", "update_address"]
    assert conversation.outcome == "update_address: done"


def test_a_customer_who_is_not_in_the_shop_is_named() -> None:
    stranger = noah_brown_story().model_copy(update={"customer_id": "eve_1"})
    with pytest.raises(SynthesisError, match="no customer 'eve_1'"):
        asyncio.run(play_all([stranger]))


def test_an_item_that_nobody_ordered_stops_the_play() -> None:
    request = Request(intent="order_status_by_item", facts={"item": "Moon"})
    with pytest.raises(SynthesisError, match="has no order with 'Moon'"):
        asyncio.run(play_all([noah_brown_story().model_copy(update={"requests": (request,)})]))
