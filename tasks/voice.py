"""A model that plays a part in synthesis: every answer is kept and paid for once, within one budget."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from openai import AsyncOpenAI

from tasks.ask import AnswerCache, Request, ask
from tasks.core.blueprint import Usage
from tasks.core.endpoints import BudgetConfig, ChatConfig
from tasks.core.errors import BudgetSpentError, ProviderUnavailableError
from tasks.core.evaluation import Answer
from tasks.core.record import sha256_of

# Asked again, these may be answered; the client's own retries are behind them.
_PASSING = frozenset({"timeout", "unreachable", "provider"})

Tools = Sequence[Mapping[str, Any]]


class Purse:
    """What may be spent in all, and what was. A request is let go only while something is left of everything."""

    def __init__(self, budget: BudgetConfig) -> None:
        """Start with nothing spent."""
        self._budget = budget
        self._in_flight = 0
        self.spent = Usage()

    def pay(self, usage: Usage) -> None:
        """Note what an answer cost, now or in an earlier run."""
        self.spent = self.spent.plus(usage)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Let one request go.

        Raises:
            BudgetSpentError: The budget is used up.
        """
        if reason := self._empty():
            raise BudgetSpentError(reason)
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    def _empty(self) -> str | None:
        budget, spent = self._budget, self.spent
        if budget.calls is not None and spent.calls + self._in_flight >= budget.calls:
            return f"{spent.calls + self._in_flight:,} of {budget.calls:,} calls (teacher.budget.calls)"
        if budget.tokens is not None and spent.tokens >= budget.tokens:
            return f"{spent.tokens:,} of {budget.tokens:,} tokens (teacher.budget.tokens)"
        if budget.money is not None and (spent.cost or 0.0) >= budget.money:
            return f"{spent.cost:.4f} of {budget.money:g} USD (teacher.budget.money)"
        return None


class Voice:
    """One model: where it is asked, and where its answers are kept."""

    def __init__(
        self, client: AsyncOpenAI, config: ChatConfig, cache: AnswerCache, purse: Purse, timeout_s: float
    ) -> None:
        """Pay first for what the cache holds: that was spent before."""
        self._client = client
        self._config = config
        self._cache = cache
        self._purse = purse
        self._timeout_s = timeout_s
        for answer in cache.kept():
            purse.pay(self.usage_of(answer))

    async def answer(self, scenario: str, messages: Sequence[Mapping[str, Any]], tools: Tools = ()) -> Answer:
        """Return what the model says, from disk if the very same was asked for the same scenario before.

        Raises:
            BudgetSpentError: The budget is used up.
            ProviderUnavailableError: There was no answer; a later try may get one.
            ProviderError: The provider refuses the model.
        """
        request = self._request(messages, tools)
        key = sha256_of([str(self._client.base_url), request, scenario])
        if (kept := self._cache.get(key)) is not None:
            return kept
        with self._purse.request():
            answer = await ask(self._client, request, self._timeout_s)
            if answer.error is None:
                self._cache.keep(key, answer)
                self._purse.pay(self.usage_of(answer))
        if answer.error in _PASSING:
            raise ProviderUnavailableError(
                f"{self._client.base_url} did not answer for {self._config.model!r} ({answer.error}): "
                f"{answer.error_message}"
            )
        return answer

    def usage_of(self, answer: Answer) -> Usage:
        """Return what an answer cost."""
        price = self._config.price
        cost = None
        if price is not None:
            cost = (answer.prompt_tokens * price.prompt + answer.completion_tokens * price.completion) / 1e6
        return Usage(calls=1, prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens, cost=cost)

    def _request(self, messages: Sequence[Mapping[str, Any]], tools: Tools) -> Request:
        request: Request = {
            "model": self._config.model,
            "messages": list(messages),
            "max_completion_tokens": self._config.max_completion_tokens,
        }
        if self._config.temperature is not None:
            request["temperature"] = self._config.temperature
        if tools:
            request |= {"tools": list(tools), "parallel_tool_calls": False}
        return request


class Part:
    """A voice in one scenario; it adds up what the scenario costs."""

    def __init__(self, voice: Voice, scenario: str, tools: Tools = ()) -> None:
        """Speak in `scenario`, with these tools."""
        self._voice = voice
        self._scenario = scenario
        self._tools = tools
        self.usage = Usage()

    async def answer(self, messages: list[dict[str, Any]]) -> Answer:
        """Answer with text or with one call, never with both: that is what training rows hold.

        Raises:
            BudgetSpentError: The budget is used up.
            ProviderError: There is no answer, and no other for now.
        """
        given = await self._voice.answer(self._scenario, messages, self._tools)
        if given.error is None:
            self.usage = self.usage.plus(self._voice.usage_of(given))
        if not given.tool_calls:
            return given
        return given.model_copy(update={"content": None, "tool_calls": given.tool_calls[:1]})
