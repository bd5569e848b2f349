"""The one agent loop: a model and the shop's tools take turns until the model answers in text."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from openai import AsyncOpenAI

from tasks import tracing
from tasks.ask import Sending, attempt, in_one_piece, request_for
from tasks.core.config import EvaluationConfig
from tasks.core.conversation import Message, ToolCall
from tasks.core.errors import ProviderUnavailableError
from tasks.core.evaluation import Answer, ErrorKind
from tasks.core.grader import read_arguments
from tasks.core.record import Record
from tasks.core.score import invented_values

# What happens to a call with an argument value that comes from nowhere: it is run, run and told to whoever watches,
# or not run and told to the model.
Guard = Literal["off", "warn", "block"]


class Shop(Protocol):
    """Whatever runs the tools: the shop in this process, or one over HTTP."""

    async def call(self, name: str, arguments: dict[str, Any], /) -> tuple[str, bool]:
        """Call a tool and return its text, and whether that is a refusal."""
        ...


class Limits(Record):
    """How far a model may go before it must answer."""

    calls_per_turn: int = 12
    calls_per_episode: int = 40
    tool_timeout_s: float = 30.0


LIMITS = Limits()
# In what the model is told of a tool that hangs; who looks for the fault of an episode finds it by this.
NO_RESULT = "no result"


class Called(Record):
    """The model called a tool, and this is what it was told; `invented` is what the guard found made up."""

    call: ToolCall
    result: str
    is_error: bool
    invented: tuple[str, ...] = ()


class Spoke(Record):
    """The model answered in text; the turn is the customer's again."""

    text: str


class Stopped(Record):
    """The model did not get to an answer; `error` says so where its provider gave none."""

    reason: str
    error: ErrorKind | None = None


Step = Called | Spoke | Stopped
# Answers a conversation in the OpenAI shape.
Answering = Callable[[list[dict[str, Any]]], Awaitable[Answer]]


async def run_turns(
    client: AsyncOpenAI,
    model: str,
    messages: list[Message],
    shop: Shop,
    tools: Sequence[Mapping[str, Any]],
    config: EvaluationConfig,
    limits: Limits = LIMITS,
    guard: Guard = "off",
    send: Sending = in_one_piece,
) -> AsyncIterator[Step]:
    """Let the model work until it answers in text, and yield each step as it happens.

    `messages` is the conversation so far, with the customer's words last; every message of the model and of the tools
    is appended to it, also those of calls that were not run. A call with malformed arguments or of an unknown tool is
    answered with an error that the model can read. The last step is a `Spoke` or a `Stopped`.

    Raises:
        ProviderUnavailableError: Nothing answers at the provider's address.
        ProviderError: The provider refuses the model.
    """

    async def answer(wire: list[dict[str, Any]]) -> Answer:
        with tracing.chat(model, messages, config.max_completion_tokens) as told:
            given = (await attempt(client, request_for(model, wire, tools, config), config.timeout_s, send)).answer
            told(given)
        if given.error == "unreachable":
            raise ProviderUnavailableError(f"Nothing answers at {client.base_url}: {given.error_message}.")
        return given

    async for step in take_turns(answer, messages, shop, limits, guard, tools):
        yield step


async def take_turns(
    answer: Answering,
    messages: list[Message],
    shop: Shop,
    limits: Limits = LIMITS,
    guard: Guard = "off",
    tools: Sequence[Mapping[str, Any]] = (),
) -> AsyncIterator[Step]:
    """Let whoever answers work until it does so in text, as `run_turns` does; only a guard needs the tools."""
    budget = min(limits.calls_per_turn, limits.calls_per_episode - sum(m.role == "tool" for m in messages))
    while True:
        wire = [message.to_openai() for message in messages]
        given = await answer(wire)
        if given.error is not None:
            yield Stopped(reason=f"no answer ({given.error}): {given.error_message}", error=given.error)
            return
        calls = _with_ids(given.tool_calls, messages)
        messages.append(Message(role="assistant", content=given.content, tool_calls=calls))
        if not calls:
            yield Spoke(text=given.content or "")
            return
        for call in calls:
            invented = [] if guard == "off" else invented_values(call, wire, tools)
            with tracing.tool(call) as told:
                step = _blocked(call, invented) if invented and guard == "block" else None
                step = step or await _run(shop, call, limits, within_budget=budget > 0)
                told(step.result, step.is_error)
            step = step.model_copy(update={"invented": tuple(invented)})
            budget -= 1
            messages.append(Message(role="tool", content=step.result, tool_call_id=call.id))
            yield step
        if budget < 0:
            yield Stopped(
                reason=f"more than {limits.calls_per_turn} calls in a turn or {limits.calls_per_episode} in all"
            )
            return


def _blocked(call: ToolCall, invented: Sequence[str]) -> Called:
    """Return a call that is not run, since values of it come from nowhere, with what the model is told."""
    result = (
        f"{call.name} was not run: nobody gave {', '.join(invented)}. Use exactly what the customer or a tool said, "
        "look it up, or ask the customer."
    )
    return Called(call=call, result=result, is_error=True)


async def _run(shop: Shop, call: ToolCall, limits: Limits, *, within_budget: bool) -> Called:
    """Run one call and return it with what the model is told."""
    arguments = read_arguments(call.arguments)
    if not within_budget:
        return Called(call=call, result="Not run: too many calls without an answer to the customer.", is_error=True)
    if arguments is None:
        shown = call.arguments if len(call.arguments) <= 80 else f"{call.arguments[:77]}..."
        result = f"{call.name}: the arguments are not a JSON object: {shown!r}."
        return Called(call=call, result=result, is_error=True)
    try:
        async with asyncio.timeout(limits.tool_timeout_s):
            result, is_error = await shop.call(call.name, arguments)
    except TimeoutError:
        result, is_error = f"{call.name}: {NO_RESULT} within {limits.tool_timeout_s:g} s. Try again later.", True
    return Called(call=call, result=result, is_error=is_error)


def _with_ids(calls: Sequence[ToolCall], messages: Sequence[Message]) -> tuple[ToolCall, ...]:
    """Return the calls with an id each, unlike any in the conversation: the id alone ties a result to its call."""
    taken = {call.id for message in messages for call in message.tool_calls}
    ids = [call.id for call in calls]
    if all(ids) and len({*taken, *ids}) == len(taken) + len(ids):
        return tuple(calls)
    return tuple(
        call.model_copy(update={"id": f"call_{len(messages)}_{place}"}) for place, call in enumerate(calls, start=1)
    )
