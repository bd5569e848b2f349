"""Keeps to the pace that a provider can bear: fewer requests in flight when it says 429, more again when it answers.

The client's own retries see one request at a time, so with many in flight each would run into the limit by itself.
Here a refusal slows all of them down at once (halved, and a pause), and the refused request is asked again: a
provider's limit is no failure of the model.
"""

import asyncio
from types import TracebackType
from typing import Self

from openai import AsyncOpenAI

from tasks.ask import Request, attempt
from tasks.core.errors import ProviderUnavailableError
from tasks.core.evaluation import Answer

# So many slow-downs without an answer in between end the evaluation; the pauses before then add up to minutes.
PATIENCE = 8
LONGEST_PAUSE_S = 60.0
_FIRST_PAUSE_S = 0.5
_LONGEST_BACKOFF_S = 8.0


class Pace:
    """How many requests may be in flight: at most `most`, halved at a refusal, one more after as many answers."""

    def __init__(self, most: int) -> None:
        """Start with the most."""
        self.limit = float(most)
        self.slow_downs = 0
        self._most = most
        self._in_flight = 0
        self._slowed_at = float("-inf")
        self._resume_at = float("-inf")
        self._in_vain = 0
        self._freed = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Wait for a turn."""
        while True:
            pause = self._resume_at - _now()
            if pause > 0:
                await asyncio.sleep(pause)
            elif self._in_flight < int(self.limit):
                break
            else:
                self._freed.clear()
                await self._freed.wait()
        self._in_flight += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Make room for the next."""
        self._in_flight -= 1
        self._freed.set()

    def answered(self) -> None:
        """Take note of an answer: the provider can bear this much."""
        self._in_vain = 0
        self.limit = min(float(self._most), self.limit + 1 / self.limit)

    def refused(self, asked_at: float, retry_after_s: float) -> None:
        """Take note of a refusal: pause, and slow down once for all requests that were under way together.

        Raises:
            ProviderUnavailableError: Slowing down has been in vain for too long.
        """
        if asked_at >= self._slowed_at:
            self.slow_downs += 1
            self._in_vain += 1
            self._slowed_at = _now()
            self.limit = max(1.0, self.limit / 2)
        if self._in_vain > PATIENCE:
            raise ProviderUnavailableError(
                f"The provider is busy: it refused {PATIENCE} times in a row (429), at last with one request at a "
                f"time. Run the evaluation again later; the answers so far are kept."
            )
        pause = min(LONGEST_PAUSE_S, retry_after_s or _FIRST_PAUSE_S * 2 ** (self._in_vain - 1))
        self._resume_at = max(self._resume_at, _now() + pause)


async def ask_in_turn(client: AsyncOpenAI, retries: int, request: Request, timeout_s: float, pace: Pace) -> Answer:
    """Ask in turn, again after a refusal, and up to `retries` times after a fault that may pass.

    `client` must not retry by itself. The time that counts is that of the attempts, not of waiting for a turn.

    Raises:
        ProviderError: The provider will not answer this model at all.
        ProviderUnavailableError: It refuses everything for too long.
    """
    spent, tried = 0.0, 0
    while True:
        async with pace:
            asked_at = _now()
            answer, may_pass, retry_after_s = await attempt(client, request, timeout_s - spent)
        if answer.error == "busy":
            pace.refused(asked_at, retry_after_s)
            continue
        spent += _now() - asked_at
        if answer.error is None:
            pace.answered()
        if not may_pass or tried == retries or spent >= timeout_s:
            return answer
        await asyncio.sleep(min(_LONGEST_BACKOFF_S, max(retry_after_s, _FIRST_PAUSE_S * 2**tried)))
        tried += 1


def _now() -> float:
    return asyncio.get_running_loop().time()
