"""The conversations of the web page: each on a sandbox of its own, each step kept for a page that is loaded again."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from tasks.core.config import Profile
from tasks.core.errors import MessageError, ZavaError
from tasks.keeping import Held, into_pack
from tasks.offer import Offered, offered
from tasks.talk import Event, Heard, Talk, told

# Beyond these the one unused for longest is forgotten.
MOST = 32
LONGEST_WORDS = 2000
LONGEST_ERROR = 300  # characters of one that nobody foresaw

_log = logging.getLogger(__name__)

Told = dict[str, Any]


class Busy(MessageError):
    """The agent is still at work on what was said before."""


class Unknown(MessageError):
    """There is no such conversation, or no such model."""


class Conversation:
    """One conversation, and all that happened in it."""

    def __init__(self, profile: Profile) -> None:
        """Begin it with the best model."""
        self.id = secrets.token_urlsafe(18)
        self.models: tuple[Offered, ...] = offered(profile)
        self.talk = Talk(profile, self.models[0].model_id, guard="warn")
        self.told: list[Told] = []
        self.turn: asyncio.Task[None] | None = None
        self._saying: asyncio.Task[None] | None = None
        self._profile = profile

    @property
    def is_busy(self) -> bool:
        """Whether the agent is at work."""
        return self.turn is not None and not self.turn.done()

    def shown(self) -> Told:
        """Return the conversation as a page shows it."""
        return {
            "id": self.id,
            "model": self.talk.model_id,
            "models": [one._asdict() for one in self.models],
            "told": self.told,
            "changes": [change.model_dump(mode="json") for change in self.talk.changes],
            "busy": self.is_busy,
        }

    async def begin(self) -> None:
        """Ask the shop for its policy and tools.

        Raises:
            ServiceError: No shop answers.
        """
        await self.talk.begin()

    def switch(self, model_id: str) -> None:
        """Let another model answer from now on.

        Raises:
            Busy: The agent is at work.
            Unknown: It is not among the models offered.
        """
        self._require_rest()
        if model_id not in {one.model_id for one in self.models}:
            raise Unknown(f"There is no model {model_id[:80]!r} here.")
        if model_id != self.talk.model_id:
            self.talk.model_id = model_id
            self.told.append({"kind": "model", "model": model_id})

    def say(self, words: str) -> AsyncIterator[Told]:
        """Say something; the steps come as they happen, and the agent goes on also where nobody listens any more.

        Raises:
            Busy: The agent is at work.
            MessageError: There are no words, or too many.
        """
        self._require_rest()
        if not words.strip() or len(words) > LONGEST_WORDS:
            raise MessageError(f"Say something, in at most {LONGEST_WORDS:,} characters.")
        happening: asyncio.Queue[Told | None] = asyncio.Queue()
        self.turn = asyncio.create_task(self._answer(words.strip(), happening))
        return _until_end(happening)

    async def stop(self) -> None:
        """Stop the agent where it is at work; what was said and done stays, and the steps come to their end."""
        if self.turn is not None and self._saying is not None:
            self._saying.cancel()
            await asyncio.wait([self.turn])

    def give_up(self) -> None:
        """Drop the agent's work: nobody will see it."""
        for work in (self.turn, self._saying):
            if work is not None:
                work.cancel()

    async def _answer(self, words: str, happening: "asyncio.Queue[Told | None]") -> None:
        def tell(step: Told) -> None:
            self.told.append(step)
            happening.put_nowait(step)

        def watch(event: Event) -> None:
            if isinstance(event, Heard):
                happening.put_nowait(told(event))
            else:
                tell(told(event))

        self.told.append({"kind": "said", "text": words})
        try:
            # Tasks of their own: whatever ends them, this one goes on to tell of it.
            if await self._ended(self.talk.say(words, watch), tell):
                await self._ended(self.talk.look(watch), tell)
                tell({"kind": "halted"})
        finally:
            happening.put_nowait(None)

    async def _ended(self, work: Coroutine[Any, Any, None], tell: Callable[[Told], None]) -> bool:
        """Wait for the agent's work, and tell how it failed, if it did; return whether it was stopped."""
        self._saying = asyncio.create_task(work)
        await asyncio.wait([self._saying])
        if self._saying.cancelled():
            return True
        if error := self._saying.exception():
            tell({"kind": "failed", "text": _in_words(error, self._profile.workspace)})
        return False

    async def to_pack(self) -> Held:
        """Put the conversation into the replay pack, that every later model is held against; twice is fine.

        Raises:
            Busy: The agent is at work.
            DataError: It names no customer of the shop.
        """
        self._require_rest()
        return await asyncio.to_thread(into_pack, self._profile, self.talk.messages)

    def _require_rest(self) -> None:
        if self.is_busy:
            raise Busy("The agent is still at work; wait for its answer.")


class Desk:
    """All conversations of a server. The profile is read anew for each, as is what the champion is."""

    def __init__(self, profile: Callable[[], Profile], most: int = MOST) -> None:
        """Begin without any; there are so many at most."""
        self._profile = profile
        self._most = most
        self._open: dict[str, Conversation] = {}

    async def open(self) -> Conversation:
        """Begin a conversation.

        Raises:
            ServiceError: No shop answers.
            Busy: There are too many at once.
        """
        conversation = Conversation(self._profile())
        await conversation.begin()
        while len(self._open) >= self._most:
            resting = next((one for one in self._open.values() if not one.is_busy), None)
            if resting is None:
                raise Busy(f"{self._most} conversations are under way; try again later.")
            await self.close(resting.id)
        self._open[conversation.id] = conversation
        return conversation

    def find(self, conversation_id: str) -> Conversation:
        """Return a conversation, and take note that it is in use.

        Raises:
            Unknown: There is none, or it was forgotten.
        """
        conversation = self._open.pop(conversation_id, None)
        if conversation is None:
            raise Unknown("This conversation is over; begin a new one.")
        self._open[conversation_id] = conversation
        return conversation

    async def close(self, conversation_id: str) -> None:
        """Forget a conversation and its sandbox.

        Raises:
            Unknown: There is none.
        """
        conversation = self.find(conversation_id)
        del self._open[conversation_id]
        conversation.give_up()
        await conversation.talk.end()


def _in_words(error: BaseException, workspace: Path) -> str:
    """Return what to tell of an error; one that nobody foresaw is also logged, with where it came from."""
    if isinstance(error, ZavaError):
        return str(error)
    _log.error("A turn failed.", exc_info=error)
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    what = f"{type(error).__name__}: {error}"
    return (
        f"Something went wrong that nobody foresaw: {what[:LONGEST_ERROR]}. What was done stays done. Say it again; if "
        "that does not help, begin a new conversation. If `zava up` serves the page, the rest is in "
        f"{workspace}/services/page.log."
    )


async def _until_end(happening: "asyncio.Queue[Told | None]") -> AsyncIterator[Told]:
    while (step := await happening.get()) is not None:
        yield step
