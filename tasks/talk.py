"""A conversation of a person with a model that works in the shop, step by step."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx2

from tasks import tracing
from tasks.aloud import aloud
from tasks.artifacts import summaries
from tasks.clients import async_openai_client, is_local, mlflow_login
from tasks.core.change import Change, between
from tasks.core.config import Profile
from tasks.core.conversation import Message
from tasks.core.record import Record
from tasks.episode import Called, Guard, Spoke, Step, Stopped, run_turns
from tasks.remote_shop import RemoteShop, drop_sandbox, new_sandbox, open_remote_shop


class Heard(Record):
    """Some words of the model's answer, as they came."""

    text: str


class Changed(Record):
    """What the call before made of the shop."""

    changes: tuple[Change, ...]


Event = Heard | Step | Changed
Watch = Callable[[Event], None]


def told(event: Event) -> dict[str, Any]:
    """Return an event as JSON values, its kind among them."""
    match event:
        case Heard():
            return {"kind": "heard", "text": event.text}
        case Called():
            return {
                "kind": "called",
                "name": event.call.name,
                "arguments": event.call.arguments,
                "result": event.result,
                "refused": event.is_error,
                "invented": event.invented,
            }
        case Changed():
            return {"kind": "changed", "changes": [change.model_dump(mode="json") for change in event.changes]}
        case Spoke():
            return {"kind": "spoke", "text": event.text}
        case Stopped():
            return {"kind": "stopped", "text": event.reason}


class Talk:
    """One conversation on a sandbox of its own; the model may be another one from turn to turn.

    Where MLflow answers, each turn is a trace there, of the run that made the model; a conversation's share an id.
    """

    def __init__(self, profile: Profile, model_id: str, guard: Guard = "off") -> None:
        """Begin with nothing said."""
        self.model_id = model_id
        self.id = uuid4().hex
        self.messages: list[Message] = []
        self.changes: tuple[Change, ...] = ()
        self._profile = profile
        self._guard = guard
        self._sandbox = new_sandbox()
        self._policy = ""
        self._tools: Sequence[dict[str, Any]] = ()
        self._heard = ""  # of an answer that is not whole yet

    @property
    def address(self) -> str:
        """Where the shop is served."""
        return self._profile.services.shop

    async def begin(self) -> None:
        """Ask the shop for its policy, which is the system prompt, and its tools; twice is fine.

        Raises:
            ServiceError: No shop answers.
        """
        if not self._policy:
            async with open_remote_shop(self.address, self._sandbox) as shop:
                self._policy, self._tools = await shop.policy(), await shop.tools()
        if not self.messages:
            self.messages = [Message(role="system", content=self._policy)]

    async def forget(self) -> None:
        """Begin the conversation anew, with the shop as it was at the start."""
        await drop_sandbox(self.address, self._sandbox)
        self._sandbox, self.messages, self.changes = new_sandbox(), self.messages[:1], ()
        self.id = uuid4().hex

    async def end(self) -> None:
        """Drop the sandbox."""
        await drop_sandbox(self.address, self._sandbox)

    async def say(self, words: str, watch: Watch) -> None:
        """Say something to the model; `watch` is told what it does until it answers.

        What failed before the model did anything was not said, so that it can be said again. Where it is cancelled,
        what was said and done stays, also the beginning of an answer, and the conversation can go on.

        Raises:
            ProviderError: The provider is not there, or refuses the model.
            ServiceError: No shop answers.
        """
        await self.begin()
        before = self.messages
        self.messages, self._heard = _with_words(before, words), ""
        try:
            headers = await asyncio.to_thread(_trace_headers, self._profile, self.model_id)
            async with open_remote_shop(self.address, self._sandbox) as shop:
                with (
                    _traced(self._profile.tracking.mlflow_uri, headers),
                    tracing.conversation("chat", self.id, self.model_id, self.messages),
                ):
                    await self._answered(shop, watch)
        except asyncio.CancelledError:
            self.messages = _answered_calls(self.messages)
            if self._heard:
                self.messages.append(Message(role="assistant", content=self._heard))
                watch(Spoke(text=self._heard))
            raise
        except BaseException:
            self.messages = before if self.messages[-1].role == "user" else _answered_calls(self.messages)
            raise

    async def look(self, watch: Watch) -> None:
        """Tell what was changed in the shop since it was last looked at, such as by a call that was cut off.

        Raises:
            ServiceError: No shop answers.
        """
        async with open_remote_shop(self.address, self._sandbox) as shop:
            await self._look(shop, watch)

    async def _answered(self, shop: RemoteShop, watch: Watch) -> None:
        def hear(words: str) -> None:
            self._heard += words
            watch(Heard(text=words))

        config = self._profile.evaluation
        send = aloud(hear)
        async with async_openai_client(self._profile.provider) as client:
            steps = run_turns(
                client, self.model_id, self.messages, shop, self._tools, config, guard=self._guard, send=send
            )
            async for step in steps:
                self._heard = ""
                watch(step)
                if isinstance(step, Called) and not step.is_error:
                    await self._look(shop, watch)

    async def _look(self, shop: RemoteShop, watch: Watch) -> None:
        """Tell what the last call changed, if anything."""
        now = await shop.changes()
        if made := between(self.changes, now):
            watch(Changed(changes=made))
        self.changes = now


def _trace_headers(profile: Profile, model_id: str) -> dict[str, str] | None:
    """Return how to send spans to the experiment of the profile, linked to the run that the model is from.

    None where MLflow does not answer, or no run was recorded yet.
    """
    runs = list(summaries(profile)) if _answers(profile.tracking.mlflow_uri) else []
    if not runs:
        return None
    own = [run.tracked for run in runs if run.model_id == model_id]
    linked = {"x-mlflow-run-id": own[0].run_id} if own else {}
    return {"x-mlflow-experiment-id": runs[0].tracked.experiment_id, **linked, **mlflow_login()}


@contextmanager
def _traced(mlflow_uri: str, headers: dict[str, str] | None) -> Iterator[None]:
    """Send what is said to MLflow, where it is known how."""
    if headers is None:
        yield
        return
    with tracing.sent_to(f"{mlflow_uri}/v1/traces", headers):
        yield


def _answers(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/health", timeout=2.0, trust_env=not is_local(address)).is_success
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return False


def _with_words(messages: list[Message], words: str) -> list[Message]:
    """Return the conversation with a customer's words; those that got no answer before belong to the same turn.

    Some chat templates refuse two turns of a customer in a row.
    """
    *before, last = messages
    if last.role == "user":
        return [*before, last.model_copy(update={"content": f"{last.content}\n{words}"})]
    return [*messages, Message(role="user", content=words)]


def _answered_calls(messages: list[Message]) -> list[Message]:
    """Return the messages up to the first call without a result, which no provider would read."""
    answered = {message.tool_call_id for message in messages}
    for place, message in enumerate(messages):
        if any(call.id not in answered for call in message.tool_calls):
            return messages[:place]
    return messages
