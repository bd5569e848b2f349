"""Replays the Noah Brown story with a model, on a private sandbox of the shop, and says whether it came out right."""

import time

from openai import AsyncOpenAI

from tasks import tracing
from tasks.conversing import Agent, Scripted, Watch, converse
from tasks.core.config import EvaluationConfig
from tasks.core.conversation import Message
from tasks.core.drawing import noah_brown_story
from tasks.core.errors import DataError
from tasks.core.record import Record
from tasks.core.scenario import Scenario
from tasks.core.story import PlayedCall, StoryCustomer, StoryVerdict, judge
from zava_mcp.entities import User
from zava_mcp.local import LocalShop
from zava_mcp.store import RetailStore

# The shortest way takes three customer turns; a model that asks for everything one by one needs five.
MOST_CUSTOMER_TURNS = 8


class ReplayResult(Record):
    """A played story: the model, the verdict, every call, and the whole conversation."""

    model_id: str
    scenario_id: str
    verdict: StoryVerdict
    calls: tuple[PlayedCall, ...]
    messages: tuple[Message, ...]
    seconds: float


async def replay(
    client: AsyncOpenAI,
    model: str,
    shop_base: RetailStore,
    system_prompt: str,
    config: EvaluationConfig,
    watch: Watch = lambda step: None,
) -> ReplayResult:
    """Play the story and judge it; `watch` sees the customer's words and each step of the model as they happen.

    Raises:
        DataError: The shop does not know the customer of the story.
        ProviderUnavailableError: Nothing answers at the provider's address.
        ProviderError: The provider refuses the model.
    """
    started = time.monotonic()
    scenario = noah_brown_story()
    if scenario.customer_id not in shop_base.users:
        raise DataError(f"The shop has no customer {scenario.customer_id!r}; replay on the generated shop.")
    messages = [Message(role="system", content=system_prompt)]
    async with LocalShop(shop_base) as shop:
        sandbox = shop.reset()
        customer = _customer(scenario, sandbox.user(scenario.customer_id))
        agent = Agent(client, model, await shop.tools(), config)
        with tracing.conversation("replay Noah Brown", scenario.id, model, messages) as span:
            came = await converse(agent, shop, Scripted(customer), messages, MOST_CUSTOMER_TURNS, watch)
            verdict = judge(
                came.calls,
                address_changed=_has_new_address(scenario, sandbox),
                nothing_else_changed=_with_new_address(scenario, sandbox) == _with_new_address(scenario, shop_base),
                stopped=came.stopped.reason if came.stopped else None,
            )
            tracing.judged(span, passed=verdict.passed, reasons=verdict.reasons)
    return ReplayResult(
        model_id=model,
        scenario_id=scenario.id,
        verdict=verdict,
        calls=came.calls,
        messages=tuple(messages),
        seconds=time.monotonic() - started,
    )


def _customer(scenario: Scenario, user: User) -> StoryCustomer:
    return StoryCustomer(scenario, f"{user.name.first_name} {user.name.last_name}", user.address.zip)


def _has_new_address(scenario: Scenario, shop: RetailStore) -> bool:
    address = shop.user(scenario.customer_id).address.to_json()
    wanted: dict[str, str] = scenario.requests[0].facts["address"]
    return address == wanted


def _with_new_address(scenario: Scenario, shop: RetailStore) -> str:
    """Return the digest of the shop as it is, but with the customer at the new address."""
    moved = shop.fork()
    moved.update_address(scenario.customer_id, **scenario.requests[0].facts["address"])
    return moved.digest()


def transcript(result: ReplayResult) -> str:
    """Return the conversation and its verdict in Markdown."""
    verdict = result.verdict
    lines = [
        f"# The Noah Brown story, played by `{result.model_id}`",
        "",
        f"**{'Passed' if verdict.passed else 'Failed'}** after {len(result.calls)} tool calls, {result.seconds:.1f} s.",
        "",
        *(f"- {reason}" for reason in verdict.reasons),
        "",
    ]
    calls = iter(result.calls)
    for message in result.messages:
        if message.role == "user":
            lines += [f"**Customer:** {message.content}", ""]
        elif message.role == "assistant":
            lines += [f"**Agent:** {message.content}", ""] if message.content else []
            for _ in message.tool_calls:
                lines += _call_lines(next(calls))
    return "\n".join(lines)


def _call_lines(played: PlayedCall) -> list[str]:
    arrow = "refused" if played.is_error else "returned"
    lines = [f"```\n{played.call.name} {played.call.arguments}\n{arrow}: {played.result}\n```"]
    return [*lines, *(f"Made up: {name}." for name in played.invented), ""]
