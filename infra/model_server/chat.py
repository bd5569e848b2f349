"""Chat completions: a request becomes prompts for the engine, and its answers become OpenAI objects."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool

from infra.model_server.database import new_id
from infra.model_server.engines import Engines
from infra.model_server.errors import ContextLengthError, InvalidRequestError, RenderingError, UnsupportedError
from infra.model_server.generation import Finished, Generation
from infra.model_server.loaded import LoadedModel
from infra.model_server.rendering import ForcesCalls, GuidesAnswers
from infra.model_server.sampling import Guide, sampler
from infra.model_server.schemas import SAYS_NOTHING, ChatRequest, ChosenTool


class Prompt(NamedTuple):
    """A request, rendered."""

    ids: list[int]
    forced: list[int]
    """The tokens with which the answer begins; the model goes on from there."""
    state: object
    guides: Sequence[Guide | None] = ()
    """What each choice is held to, if anything."""


class Reply(NamedTuple):
    """One choice of an answer."""

    message: dict[str, Any]
    reason: str
    finished: Finished


class Chat:
    """One chat request on its way."""

    def __init__(self, request: ChatRequest, loaded: LoadedModel, engines: Engines) -> None:
        """Answer `request` with `loaded`."""
        self.request = request
        self.generations: list[Generation] = []
        self._loaded = loaded
        self._engines = engines
        self._id = new_id("chatcmpl-")
        self._created = int(time.time())
        self._prompt = Prompt([], [], None)

    async def start(self, on_token: Callable[[int, list[int]], None] | None = None) -> None:
        """Render the prompt and queue one generation for each choice.

        Raises:
            ApiError: if the request cannot be answered.
        """
        self._prompt = await run_in_threadpool(self._rendered)
        self.generations = [self._generation(index, on_token) for index in range(self.request.n or 1)]
        self._engines.submit(self.generations)

    def cancel(self) -> None:
        """Let the engine drop what is not complete."""
        for generation in self.generations:
            generation.cancelled = True

    async def completion(self) -> dict[str, Any]:
        """Wait for all choices and return the completion object."""
        replies = [await self.reply(generation) for generation in self.generations]
        choices = [
            {"index": i, "message": reply.message, "logprobs": None, "finish_reason": reply.reason}
            for i, reply in enumerate(replies)
        ]
        head = self.head("chat.completion")
        return {**head, "choices": choices, "usage": self.usage([reply.finished for reply in replies])}

    def head(self, kind: str) -> dict[str, Any]:
        """Return what every object of this answer begins with."""
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self.request.model,
            "service_tier": "default",
            "system_fingerprint": self._loaded.fingerprint,
        }

    def usage(self, finished: list[Finished]) -> dict[str, Any]:
        """Return the tokens read and written."""
        prompt, spent = len(self._prompt.ids), sum(one.spent for one in finished)
        cached = min((one.cached for one in finished), default=0)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": spent,
            "total_tokens": prompt + spent,
            "prompt_tokens_details": {"cached_tokens": min(cached, prompt)},
        }

    def _rendered(self) -> Prompt:
        request, renderer = self.request, self._loaded.renderer
        messages = [plain(message.model_dump(exclude_none=True)) for message in request.messages]
        offered = [] if request.tool_choice == "none" else request.tools or []
        tools = [tool.model_dump(exclude_none=True) for tool in offered]
        guides: list[Guide | None] = [None] * (request.n or 1)
        try:
            with self._loaded.rendering:
                ids, _, state = renderer.render(messages, tools, generation=True)
                forced = self._forced()
                if isinstance(renderer, GuidesAnswers):
                    guides = [renderer.guide(tools, forced, state) for _ in guides]
        except RenderingError as error:
            raise InvalidRequestError(str(error), "messages") from error
        if len(ids) + len(forced) >= self._loaded.window:
            raise ContextLengthError(
                f"This model's maximum context length is {self._loaded.window} tokens. However, your messages "
                f"resulted in {len(ids)} tokens. Please reduce the length of the messages.",
                "messages",
            )
        return Prompt(ids, forced, state, guides)

    def _forced(self) -> list[int]:
        """Return the tokens that make the answer the call that the request demands."""
        choice, tools = self.request.tool_choice, self.request.tools or []
        if choice is not None and choice != "none" and not tools:
            raise InvalidRequestError("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
        if choice in (None, "none", "auto"):
            return []
        name = choice.function.name if isinstance(choice, ChosenTool) else None
        if name is not None and name not in [tool.function.name for tool in tools]:
            raise InvalidRequestError(f"Tool choice {name!r} is not among the tools of this request.", "tool_choice")
        renderer = self._loaded.renderer
        if not isinstance(renderer, ForcesCalls):
            raise UnsupportedError(
                f"The model {self.request.model!r} cannot be made to call; use tool_choice 'auto'.", "tool_choice"
            )
        return renderer.call_prefix(name)

    def _generation(self, index: int, on_token: Callable[[int, list[int]], None] | None) -> Generation:
        request, prompt = self.request, self._prompt
        room = self._loaded.window - len(prompt.ids) - len(prompt.forced)
        asked = request.max_completion_tokens or request.max_tokens or room
        seed = None if request.seed is None else request.seed + index
        return Generation(
            loaded=self._loaded,
            prompt=[*prompt.ids, *prompt.forced],
            sampler=sampler(
                1.0 if request.temperature is None else request.temperature,
                1.0 if request.top_p is None else request.top_p,
                seed,
                prompt.guides[index],
            ),
            max_tokens=min(asked, room),
            halts=self._is_stopped if request.stop else None,
            on_token=None if on_token is None else lambda tokens: on_token(index, tokens),
        )

    async def reply(self, generation: Generation) -> Reply:
        """Wait for a choice."""
        finished = await asyncio.wrap_future(generation.future)
        message = self.message(finished.tokens)
        content = message.get("content")
        if isinstance(content, str):
            message["content"] = content[: self.stop_at(content)]
        calls = message.get("tool_calls")
        if calls and self.request.parallel_tool_calls is False:
            message["tool_calls"] = calls[:1]
        reason = "tool_calls" if calls and finished.reason == "stop" else finished.reason
        return Reply({**message, "refusal": None, "annotations": []}, reason, finished)

    def message(self, tokens: list[int]) -> dict[str, Any]:
        """Return the message that an answer's tokens spell."""
        return self._loaded.renderer.parse([*self._prompt.forced, *tokens], self._prompt.state)

    def _is_stopped(self, tokens: list[int]) -> bool:
        content = self.message(tokens).get("content") or ""
        return self.stop_at(content) is not None

    def stops(self) -> list[str]:
        """Return the texts at which an answer ends."""
        asked = self.request.stop
        return [stop for stop in ([asked] if isinstance(asked, str) else asked or []) if stop]

    def stop_at(self, content: str) -> int | None:
        """Return where an answer's text is to end, if it holds a stop text."""
        return min((at for stop in self.stops() if (at := content.find(stop)) >= 0), default=None)


def forwarded(request: ChatRequest) -> dict[str, Any]:
    """Return a request as another server is to be asked: what it says of the answer, and nothing else."""
    body = request.model_dump(exclude_none=True, exclude=SAYS_NOTHING)
    return {**body, "messages": [plain(message) for message in body["messages"]]}


def plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with its content as one text, and developers as the system."""
    plain = dict(message)
    if isinstance(plain.get("content"), list):
        plain["content"] = "".join(part["text"] for part in plain["content"])
    if plain["role"] == "developer":
        plain["role"] = "system"
    return plain
