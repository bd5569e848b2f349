"""The renderer of the small default model: conversations as slot tokens (see `slot_text`).

The window of so small a model has no room for prose, so the system prompt and the tools' descriptions are not
rendered: a tool is its name and its parameters' names. Training and serving use this one path.
"""

import json
import random
import secrets
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from infra.model_server.errors import RenderingError
from infra.model_server.rendering import Rendered
from infra.model_server.sampling import Guide
from infra.model_server.slot_decoder import Decoder
from infra.model_server.slot_guide import SlotGuide
from infra.model_server.slot_text import Encoder, Slots, Vocabulary

IGNORED = -100
REWORDED = 0.1
"""Share of a customer's words that training replaces."""


class SlotRenderer:
    """Renders OpenAI messages and tools for the small default model, and reads its answers back."""

    def __init__(self, model_dir: Path) -> None:
        """Read the word list `words.txt` of a model's folder.

        Raises:
            RenderingError: The network of the folder has another number of tokens.
        """
        self.v = Vocabulary((model_dir / "words.txt").read_text(encoding="utf-8").split())
        config = model_dir / "config.json"
        size = json.loads(config.read_text(encoding="utf-8"))["vocab_size"] if config.is_file() else self.v.size
        if size != self.v.size:
            raise RenderingError(
                f"{model_dir} was trained with {size} tokens and this version writes {self.v.size}: train it again."
            )
        self.stop_ids = frozenset({self.v.special["<end>"]})
        self.pad_id = self.v.special["<pad>"]

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        *,
        generation: bool = False,
        rng: random.Random | None = None,
    ) -> Rendered:
        """Return tokens and labels (assistant turns and their end only).

        With `rng` (training) the slots are permuted, and some of the customer's words are others: one who writes next
        will not use the words of the training conversations, and what they want must be known from the rest.
        """
        slots = Slots(rng)
        encoder = Encoder(self.v, slots)
        ids = self._tools(encoder, tools)
        labels = [IGNORED] * len(ids)
        said: list[int] = []
        for message in messages:
            role = message["role"]
            if role == "system":
                continue
            encoder.copying = role == "assistant"
            body = [*self._body(encoder, message), self.v.special["<end>"]]
            if role == "user":
                said += range(len(ids) + 1, len(ids) + len(body))
            ids += [self.v.special[f"<{role}>"], *body]
            labels += [IGNORED, *(body if role == "assistant" else [IGNORED] * len(body))]
        if rng is not None:
            self._reword(ids, said, rng)
        if generation:
            ids.append(self.v.special["<assistant>"])
            labels.append(IGNORED)
        return Rendered(ids, labels, slots)

    def _reword(self, ids: list[int], said: Sequence[int], rng: random.Random) -> None:
        """Put any other word in the place of some that a customer said, where nobody else says the word."""
        places = set(said)
        elsewhere = {token for at, token in enumerate(ids) if at not in places}
        for at in said:
            if ids[at] >= self.v.first_word and ids[at] not in elsewhere and rng.random() < REWORDED:
                ids[at] = rng.randrange(self.v.first_word, self.v.size)

    def parse(self, token_ids: Sequence[int], state: object) -> dict[str, Any]:
        """Return the assistant message that the tokens spell, in the OpenAI shape."""
        if not isinstance(state, Slots):
            raise TypeError(f"state is what render returned, not {type(state).__name__}")
        decoder = Decoder(self.v, state)
        tokens = self._without_references([t for t in token_ids if t not in self.stop_ids])
        call = self.v.special["<call>"]
        if call not in tokens:
            return {"role": "assistant", "content": decoder.text(tokens)}
        first = tokens.index(call)
        calls = []
        for part in _split(tokens[first:], call):
            name, arguments = decoder.call_text(part)
            function = {"name": name, "arguments": arguments}
            calls.append({"id": f"call_{secrets.token_hex(8)}", "type": "function", "function": function})
        return {"role": "assistant", "content": decoder.text(tokens[:first]) or None, "tool_calls": calls}

    def guide(self, tools: Sequence[Mapping[str, Any]], written: Sequence[int], state: object) -> Guide | None:
        """Return what keeps an answer to what its conversation has shown."""
        names = [tool["function"]["name"] for tool in tools]
        return SlotGuide(self.v, state, names, written) if isinstance(state, Slots) else None

    def _without_references(self, tokens: Sequence[int]) -> list[int]:
        """Leave out what stands before the identifier of a reference: all from its mark to the last anchor."""
        out: list[int] = []
        opened: int | None = None
        for token, following in pairwise([*tokens, self.pad_id]):
            if self.v.is_anchor(token):
                if self.v.is_slot(following):
                    out, opened = out[:opened], None
                continue
            if token == self.v.reference:
                opened = len(out)
            out.append(token)
        return out

    def call_prefix(self, name: str | None) -> list[int]:
        """Return the tokens that force a call, of the named tool where a name is given."""
        prefix = [self.v.special["<call>"]]
        if name is None:
            return prefix
        encoder = Encoder(self.v, Slots())
        encoder.copying = True
        return [*prefix, *encoder.name(name), self.v.special["<{>"]]

    def _tools(self, encoder: Encoder, tools: Sequence[Mapping[str, Any]]) -> list[int]:
        if not tools:
            return []
        s = self.v.special
        out = [s["<tools>"]]
        for tool in tools:
            function = tool["function"]
            out += [*encoder.name(function["name"]), s["<(>"]]
            for i, parameter in enumerate(function.get("parameters", {}).get("properties", {})):
                out += [*([s["<,>"]] if i else []), *encoder.name(parameter)]
            out.append(s["<)>"])
        return [*out, s["<end>"]]

    def _body(self, encoder: Encoder, message: Mapping[str, Any]) -> list[int]:
        content = message.get("content") or ""
        if message["role"] == "tool":
            return _json_or_text(encoder, content)
        out = encoder.text(content)
        for call in message.get("tool_calls") or ():
            function = call["function"]
            out += [self.v.special["<call>"], *encoder.name(function["name"])]
            arguments = _object_of(function["arguments"])
            out += encoder.text(str(function["arguments"])) if arguments is None else encoder.value(arguments)
        return out


def _json_or_text(encoder: Encoder, content: str) -> list[int]:
    try:
        value = json.loads(content)
    except json.JSONDecodeError:
        return encoder.text(content)
    return encoder.value(value) if isinstance(value, (dict, list)) else encoder.text(content)


def _object_of(arguments: str | Mapping[str, Any]) -> dict[str, Any] | None:
    if isinstance(arguments, Mapping):
        return dict(arguments)
    try:
        value = json.loads(arguments)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _split(tokens: Sequence[int], at: int) -> list[list[int]]:
    parts: list[list[int]] = []
    for token in tokens:
        if token == at:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts
