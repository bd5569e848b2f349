"""How a conversation becomes tokens for a model, and how a model's tokens become a message.

Training and serving render through the same object, so a tuned model is asked in the form in which it was taught.
"""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from infra.model_server.errors import RenderingError
from infra.model_server.sampling import Guide

IGNORED = -100
"""The label of a token that is not trained."""


class Rendered(NamedTuple):
    """A conversation as tokens."""

    input_ids: list[int]
    labels: list[int]
    """As many as `input_ids`; -100 where the token is not trained."""
    state: object
    """What `parse` needs to read the answer to this conversation."""


class Renderer(Protocol):
    """Writes conversations as tokens, and reads tokens as messages."""

    stop_ids: frozenset[int]
    """The tokens that end an assistant turn."""
    pad_id: int

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        *,
        generation: bool = False,
        rng: random.Random | None = None,
    ) -> Rendered:
        """Return a conversation as tokens.

        With `generation` it ends where the assistant's turn begins; with `rng` the renderer may vary what carries
        no meaning.

        Raises:
            RenderingError: if the conversation cannot be written for this model.
        """
        ...

    def parse(self, token_ids: Sequence[int], state: object) -> dict[str, Any]:
        """Return the assistant message that the tokens spell, in the OpenAI shape; never raise on what a model says."""
        ...


@runtime_checkable
class ForcesCalls(Protocol):
    """A renderer that can begin an answer with a tool call."""

    def call_prefix(self, name: str | None) -> list[int]:
        """Return the tokens that begin a call: of the named tool, or of any."""
        ...


@runtime_checkable
class GuidesAnswers(Protocol):
    """A renderer that can hold answers to what makes sense: calls to their schemas, say."""

    def guide(self, tools: Sequence[Mapping[str, Any]], written: Sequence[int], state: object) -> Guide | None:
        """Return what guides an answer that began with `written`, or None where nothing does.

        `state` is what `render` returned with the conversation.
        """
        ...


def renderer_for(model_dir: Path) -> Renderer:
    """Return the renderer of a model: what its `renderer.json` names, else its own chat template.

    Raises:
        RenderingError: if the folder names a renderer that does not exist, or holds no chat template.
    """
    named = model_dir / "renderer.json"
    kind = json.loads(named.read_text(encoding="utf-8")).get("kind") if named.is_file() else "chat_template"
    # Imported here: each kind stands on its own libraries, and both stand on this module.
    if kind == "slots":
        from infra.model_server.slot_renderer import SlotRenderer

        return SlotRenderer(model_dir)
    if kind == "chat_template":
        from infra.model_server.chat_template import ChatTemplateRenderer

        return ChatTemplateRenderer(model_dir)
    raise RenderingError(f"{named} names the renderer {kind!r}; known are 'slots' and 'chat_template'.")
