"""The gates that need the shop: the calls give the same results again, and the scenario's end is reached."""

from collections.abc import Sequence

from tasks.core.conversation import Conversation, GateVerdict, Goal, Message
from tasks.core.coverage import needed_tools
from tasks.core.policy import RETAIL
from zava_mcp.local import LocalShop


async def execution_verdict(conversation: Conversation, shop: LocalShop) -> GateVerdict:
    """Say whether every call gives the same result on a fresh sandbox, and the shop ends in the same state."""
    if differing := await differing_result(conversation.messages, shop):
        turn, text = differing
        return GateVerdict(gate="execution", passed=False, reason=f"another result: {text}", turn=turn)
    digest = shop.store.digest()
    if digest != conversation.final_state:
        reason = f"another final state: {digest[:12]}, not {conversation.final_state[:12]}"
        return GateVerdict(gate="execution", passed=False, reason=reason)
    return GateVerdict(gate="execution", passed=True)


async def differing_result(messages: Sequence[Message], shop: LocalShop) -> tuple[int, str] | None:
    """Make the calls again on a fresh sandbox; return the turn of the first other result and what it is, or None."""
    shop.reset()
    results = {message.tool_call_id: message.content for message in messages if message.role == "tool"}
    for turn, message in enumerate(messages):
        for call in message.tool_calls:
            text, _ = await shop.call(call.name, call.parsed() or {})
            if text != results.get(call.id, text):
                return turn, f"{call.name}{call.arguments} now gives {text[:200]!r}"
    return None


async def goal_verdict(conversation: Conversation, shop: LocalShop) -> GateVerdict:
    """Say whether the conversation ended as its scenario asks: the shop's state, the outcome, and the hand-over."""
    goal = conversation.goal
    reason = "" if goal is None else await _missed(conversation, goal, shop)
    return GateVerdict(gate="goal", passed=not reason, reason=reason)


async def _missed(conversation: Conversation, goal: Goal, shop: LocalShop) -> str:
    store = shop.reset()
    for write in goal.writes:
        text, is_error = await shop.call(write.name, dict(write.arguments))
        if is_error:
            return f"the goal cannot be reached: {write.name} is refused: {text[:200]!r}"
    if store.digest() != conversation.final_state:
        return "another end state than the scenario's"
    if conversation.outcome != goal.outcome:
        return f"another outcome: {conversation.outcome!r}, not {goal.outcome!r}"
    called = {call.name for message in conversation.messages for call in message.tool_calls}
    needed = needed_tools(goal.outcome)
    if missing := [tool for tool in needed if tool not in called]:
        return f"the customer was served without a call that it takes: {', '.join(missing)}"
    if RETAIL.hand_over in called and RETAIL.hand_over not in needed:
        return "the customer was handed over, against the scenario"
    return ""
