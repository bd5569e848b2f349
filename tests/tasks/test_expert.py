import asyncio
import json
import re
from functools import cache
from typing import get_args

import pytest

from tasks.core.conversation import Conversation
from tasks.core.dataset import row_of
from tasks.core.drawing import draw_scenarios, noah_brown_story
from tasks.core.errors import SynthesisError
from tasks.core.gates import ToolShelf, format_gate, policy_gate, provenance_gate
from tasks.core.policy import RETAIL
from tasks.core.scenario import Hurdle, Request, Scenario, Trap
from tasks.expert import play
from tests.worlds import phrases, shop_tools, small_shop, small_view, synthesis
from zava_mcp import policy
from zava_mcp.local import LocalShop

# Everything that can make a conversation difficult, often.
HARD = synthesis(trap_rate=0.6, traps=get_args(Trap), hurdles=dict.fromkeys(get_args(Hurdle), 0.6))
WRITES = ("cancel", "modify", "return_", "exchange", "update_")


async def play_all(scenarios: list[Scenario]) -> list[Conversation]:
    async with LocalShop(small_shop()) as shop:
        return [await play(scenario, shop, phrases(), policy.text()) for scenario in scenarios]


@cache
def played() -> list[tuple[Scenario, Conversation]]:
    scenarios = draw_scenarios(small_view(), synthesis(trap_rate=0.3), "train", 120, 5)
    scenarios += draw_scenarios(small_view(), HARD, "train", 150, 5)
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
        for verdict in (*verdicts, policy_gate(row, RETAIL, conversation.customer_id)):
            assert verdict.passed, (conversation.id, verdict)


def test_the_profile_is_read_right_after_the_lookup_with_the_id_that_it_returned() -> None:
    for scenario, conversation in played():
        calls = calls_of(conversation)
        lookup, details = calls[1:3] if "wrong_zip" in scenario.hurdles else calls[:2]
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


def test_every_trap_and_every_hurdle_is_played() -> None:
    scenarios = [scenario for scenario, _ in played()]
    assert {request.trap for s in scenarios for request in s.requests} == {None, *get_args(Trap)}
    assert {hurdle for s in scenarios for hurdle in s.hurdles} == set(get_args(Hurdle))


def words_of(hurdle: str) -> list[str]:
    """Return the conversations with a hurdle, each as its words, calls and results in order."""
    with_it = [conversation for scenario, conversation in played() if hurdle in scenario.hurdles]
    assert with_it
    return [
        "\n".join(
            f"{m.role}: {m.content or [(c.name, c.arguments) for c in m.tool_calls]}" for m in conversation.messages
        )
        for conversation in with_it
    ]


def test_a_wrong_zip_code_is_an_error_of_the_shop_that_the_right_one_mends() -> None:
    for words in words_of("wrong_zip"):
        assert re.search(r"tool: No customer .*\nassistant: .*zip code.*\nuser: .*\nassistant: \[\('find_user", words)


def test_without_an_email_the_name_and_the_zip_code_are_asked_for() -> None:
    agent = phrases().agent["ask_name_zip"]
    for words in words_of("no_email"):
        assert any(f"assistant: {asked}" in words for asked in agent)
        assert "find_user_id_by_email" not in words


def test_an_order_that_was_not_named_is_asked_for_and_one_named_by_mistake_is_left_alone() -> None:
    for words in words_of("unnamed_order"):
        assert any(f"assistant: {asked}" in words for asked in phrases().agent["ask_order"])
    for scenario, conversation in played():
        wrong = [request.first_named for request in scenario.requests if request.first_named]
        if "wrong_order" in scenario.hurdles:
            assert wrong[0] in conversation.model_dump_json()
            writes = [arguments for name, arguments in calls_of(conversation) if name.startswith(WRITES)]
            assert wrong[0] not in [arguments.get("order_id") for arguments in writes]


def test_a_refusal_stands_when_the_customer_insists() -> None:
    for words in words_of("persists"):
        assert any(f"assistant: {stands}" in words for stands in phrases().agent["refuse.again"])


def test_what_was_changed_once_is_not_changed_again() -> None:
    again = [c for s, c in played() if any(request.trap == "second_change" for request in s.requests)]
    for conversation in again:
        assert conversation.outcome.endswith("refused second_change")
        writes = [
            arguments["order_id"]
            for name, arguments in calls_of(conversation)
            if "order_id" in arguments and name.startswith(WRITES)
        ]
        assert len(writes) == len(set(writes)) > 0


def test_a_hasty_customer_misspells_words_but_no_value() -> None:
    hasty = [c for s, c in played() if s.hurdles == ("typos",) or s.hurdles == ("impatient", "typos")]
    said = {
        word for c in hasty for m in c.messages if m.role == "user" for word in re.findall("[a-z]{5,}", m.content or "")
    }
    known = {word for c in phrases().customer.values() for t in c for word in re.findall("[a-z]{5,}", t)}
    assert len(said - known) > 5
    for conversation in hasty:
        assert provenance_gate(row_of(conversation, shop_tools()), ToolShelf()).passed


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
