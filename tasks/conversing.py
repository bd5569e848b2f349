"""Lets a customer and a model that works in the shop take turns, and keeps what the model did."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from openai import AsyncOpenAI

from tasks.core.config import EvaluationConfig
from tasks.core.conversation import Message
from tasks.core.score import invented_values
from tasks.core.story import PlayedCall
from tasks.episode import Called, Shop, Spoke, Step, Stopped, run_turns

Watch = Callable[[str | Step], None]


class Customer(Protocol):
    """Whoever speaks for the customer: a script, or a model."""

    async def opening(self) -> str:
        """Return the first words."""
        ...

    async def answer(self, agent: str) -> str | None:
        """Return what the customer says to the agent's words, or None when there is nothing more to say."""
        ...


class Speaker(Protocol):
    """A customer whose words need no waiting."""

    def opening(self) -> str:
        """Return the first words."""
        ...

    def answer(self, agent: str) -> str | None:
        """Return what the customer says to the agent's words, or None when there is nothing more to say."""
        ...


class Scripted:
    """A speaker as a customer."""

    def __init__(self, speaker: Speaker) -> None:
        """Speak by this script."""
        self._speaker = speaker

    async def opening(self) -> str:
        """Return the first words."""
        return self._speaker.opening()

    async def answer(self, agent: str) -> str | None:
        """Return what the script says to the agent's words."""
        return self._speaker.answer(agent)


class Conversed(NamedTuple):
    """What came of a conversation: the model's calls, why it was stopped if so, and whether the customer ended it."""

    calls: tuple[PlayedCall, ...]
    stopped: Stopped | None
    ended: bool


class Agent(NamedTuple):
    """The model at work: where it is asked, how, and with which tools."""

    client: AsyncOpenAI
    model: str
    tools: Sequence[Mapping[str, Any]]
    config: EvaluationConfig


async def converse(
    agent: Agent,
    shop: Shop,
    customer: Customer,
    messages: list[Message],
    most_turns: int,
    watch: Watch = lambda step: None,
) -> Conversed:
    """Let customer and model take turns, appending to `messages`, until the customer has nothing more to say.

    Raises:
        ProviderUnavailableError: Nothing answers at the provider's address.
        ProviderError: The provider refuses the model.
    """
    played: list[PlayedCall] = []
    words: str | None = await customer.opening()
    for turn in range(1, most_turns + 1):
        if words is None:
            break
        watch(words)
        messages.append(Message(role="user", content=words))
        words = None
        async for step in run_turns(agent.client, agent.model, messages, shop, agent.tools, agent.config):
            watch(step)
            if isinstance(step, Called):
                played.append(_played(turn, step, messages, agent.tools))
            elif isinstance(step, Spoke):
                words = await customer.answer(step.text)
            else:
                return Conversed(tuple(played), step, ended=False)
    return Conversed(tuple(played), None, ended=words is None)


def _played(turn: int, step: Called, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> PlayedCall:
    """Return the call as the verdict needs it; its values may come from all that was said and told before it."""
    position = next(place for place, message in enumerate(messages) if step.call in message.tool_calls)
    before = [message.to_openai() for message in messages[:position]]
    return PlayedCall(
        turn=turn,
        call=step.call,
        result=step.result,
        is_error=step.is_error,
        invented=tuple(invented_values(step.call, before, tools)),
    )
