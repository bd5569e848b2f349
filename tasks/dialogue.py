"""One try at a conversation: a model that plays the customer and one that plays the agent, with real tools."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tasks.core.attribution import CustomerWatch, goal_fault
from tasks.core.blueprint import Blame, Blueprint
from tasks.core.conversation import Message
from tasks.core.evaluation import Answer
from tasks.core.prompts import END, OPENING, customer_prompt, second_try
from tasks.episode import Answering, Spoke, Stopped, take_turns
from tasks.world import Sandbox


class Dialogue(NamedTuple):
    """What was said and done, how the world is now, what broke the conversation off, and what it falls short of."""

    messages: tuple[Message, ...]
    state: str
    blame: Blame | None
    shortfall: Blame | None


class Players(NamedTuple):
    """Who speaks, and what each was told of the fault of a first try."""

    agent: Answering
    customer: Answering
    notes: dict[str, str]


async def hold(blueprint: Blueprint, players: Players, policy: str, sandbox: Sandbox, max_turns: int) -> Dialogue:
    """Play a blueprint on the sandbox, put back to its start, until the customer ends it or somebody fails.

    Raises:
        BudgetSpentError: The budget is used up.
        ProviderError: A model does not answer.
        ServiceError: The world is gone.
    """
    await sandbox.reset()
    messages = [Message(role="system", content=policy)]
    watch = CustomerWatch(blueprint)
    blame: Blame | None = None
    for _ in range(max_turns):
        words = await _customer_says(blueprint, players, messages)
        if END in words:
            blame = _fault_of_ending(blueprint, messages, watch, sandbox.state())
            break
        messages.append(Message(role="user", content=words))
        blame = watch.fault(words) or await _agent_works(players, messages, sandbox, watch)
        if blame is not None:
            break
    else:
        if goal_fault(blueprint, sandbox.state(), messages) is None:
            blame = Blame(
                side="customer", kind="does not end", detail=f"all is served, but not after {max_turns} turns"
            )
    state = sandbox.state()
    return Dialogue(tuple(messages), state, blame, goal_fault(blueprint, state, messages))


async def _customer_says(blueprint: Blueprint, players: Players, messages: Sequence[Message]) -> str:
    """Ask the customer's model, which sees the words of both sides from the other side, and no tools."""
    prompt = customer_prompt(blueprint)
    if note := players.notes.get("customer"):
        prompt = second_try(prompt, note)
    wire: list[dict[str, Any]] = [{"role": "system", "content": prompt}, {"role": "user", "content": OPENING}]
    for message in messages:
        if message.role == "user":
            wire.append({"role": "assistant", "content": message.content})
        elif message.role == "assistant" and message.content:
            wire.append({"role": "user", "content": message.content})
    return (await players.customer(wire)).content or ""


async def _agent_works(
    players: Players, messages: list[Message], sandbox: Sandbox, watch: CustomerWatch
) -> Blame | None:
    """Let the agent work until it answers; a note on a first try goes to it alone, not into the conversation."""

    async def answer(wire: list[dict[str, Any]]) -> Answer:
        if note := players.notes.get("agent"):
            wire[0] = {**wire[0], "content": second_try(wire[0]["content"], note)}
        return await players.agent(wire)

    async for step in take_turns(answer, messages, sandbox):
        if isinstance(step, Stopped):
            return Blame(side="agent", kind="gives no answer", detail=step.reason)
        if isinstance(step, Spoke):
            if not step.text.strip():
                return Blame(side="agent", kind="says nothing")
            watch.hears(step.text)
    return None


def _fault_of_ending(
    blueprint: Blueprint, messages: Sequence[Message], watch: CustomerWatch, state: str
) -> Blame | None:
    """Return why the customer must not go yet; one who is served may always go."""
    if len(messages) == 1:
        return Blame(side="customer", kind="ends early", detail="said nothing at all")
    if goal_fault(blueprint, state, messages) is None:
        return None
    return watch.fault_of_ending(messages[-1].content or "")
