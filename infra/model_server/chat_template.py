"""The renderer of any Hugging Face model: its own chat template, with tools."""

import json
import random
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from llguidance import LLTokenizer
from llguidance.hf import from_tokenizer
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from infra.model_server.errors import RenderingError
from infra.model_server.guidance import guide_of
from infra.model_server.rendering import IGNORED, Rendered
from infra.model_server.sampling import Guide
from infra.model_server.tool_calls import HERMES, format_of, message_of


class ChatTemplateRenderer:
    """Renders through a model's chat template, and reads calls in the form that the template teaches.

    The trained tokens are those that the template marks with `{% generation %}`; without marks, those that each
    assistant turn adds to the text before it. Either way a turn is trained up to the token that ends it.
    """

    def __init__(self, model_dir: Path) -> None:
        """Read tokenizer, template and stop tokens of a model's folder.

        Raises:
            RenderingError: if there is no fast tokenizer or no chat template.
        """
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model_dir, local_files_only=True)
        except (OSError, ValueError) as error:
            raise RenderingError(f"{model_dir} has no tokenizer that can be read: {error}") from error
        if not isinstance(self._tokenizer, PreTrainedTokenizerFast):
            raise RenderingError(f"{model_dir} has no tokenizer.json; only fast tokenizers can be used.")
        template = self._tokenizer.chat_template
        if not isinstance(template, str):
            raise RenderingError(f"{model_dir} has no single chat template; put one in chat_template.jinja.")
        self._marks_turns = "{% generation %}" in template or "{%- generation %}" in template
        # Templates that print `arguments | tojson` without asking for a string first want an object.
        self._wants_objects = "arguments is string" not in template
        self.calls = format_of(template)
        self.stop_ids = _stop_ids(model_dir, self._tokenizer)
        pad = self._tokenizer.pad_token_id
        self.pad_id = min(self.stop_ids) if pad is None else int(pad)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        *,
        generation: bool = False,
        rng: random.Random | None = None,
    ) -> Rendered:
        """Return a conversation as tokens; `rng` has no effect here.

        Raises:
            RenderingError: if the template refuses the conversation, or does not show where assistant turns lie.
        """
        plain = [self._plain(message) for message in messages]
        if generation:
            ids = self._encode(self._text(plain, tools, generation=True))["input_ids"]
            return Rendered(ids, [IGNORED] * len(ids), None)
        if self._marks_turns:
            ids, trained = self._marked(plain, tools)
        else:
            ids, trained = self._by_prefix(plain, tools)
        return Rendered(ids, self._labels(ids, trained), None)

    def parse(self, token_ids: Sequence[int], state: object) -> dict[str, Any]:
        """Return the assistant message that the tokens spell."""
        kept = [token for token in token_ids if token not in self.stop_ids]
        text = self._tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return message_of(str(text), self.calls)

    def call_prefix(self, name: str | None) -> list[int]:
        """Return the tokens that begin a call."""
        prefix = self.calls.named_prefix.format(name=json.dumps(name or ""))
        if name is None:
            prefix = prefix[: prefix.index('""') + 1]
        ids: list[int] = self._encode(prefix)["input_ids"]
        return ids

    def guide(self, tools: Sequence[Mapping[str, Any]], written: Sequence[int], state: object) -> Guide | None:
        """Return what holds the calls of an answer to their tools' schemas."""
        if self.calls is not HERMES or not tools:
            return None
        marked = self.calls.begin in self._tokenizer.get_added_vocab()
        return guide_of(self._guided_tokenizer, tools, self.calls, marked=marked, written=written)

    @cached_property
    def _guided_tokenizer(self) -> LLTokenizer:
        # Made when first needed, since it takes a second for a large vocabulary.
        return from_tokenizer(self._tokenizer, eos_token=sorted(self.stop_ids))

    def _plain(self, message: Mapping[str, Any]) -> dict[str, Any]:
        content = message.get("content")
        if isinstance(content, list):
            content = "".join(part["text"] for part in content)
        plain = {**message, "content": content or ""}
        if not message.get("tool_calls"):
            plain.pop("tool_calls", None)
        elif self._wants_objects:
            plain["tool_calls"] = [_with_object(call) for call in message["tool_calls"]]
        return plain

    def _text(self, messages: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]], *, generation: bool) -> str:
        try:
            text = self._tokenizer.apply_chat_template(
                messages, tools=list(tools) or None, add_generation_prompt=generation, tokenize=False
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise RenderingError(f"The model's chat template refuses the conversation: {error}") from error
        return str(text)

    def _encode(self, text: str) -> Any:
        return self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)

    def _marked(
        self, messages: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> tuple[list[int], list[bool]]:
        try:
            encoded: Any = self._tokenizer.apply_chat_template(
                messages, tools=list(tools) or None, return_dict=True, return_assistant_tokens_mask=True
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise RenderingError(f"The model's chat template refuses the conversation: {error}") from error
        return list(encoded["input_ids"]), [bool(mark) for mark in encoded["assistant_masks"]]

    def _by_prefix(
        self, messages: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> tuple[list[int], list[bool]]:
        whole = self._text(messages, tools, generation=False)
        spans = []
        for i, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._text(messages[:i], tools, generation=True)
            after = self._text(messages[: i + 1], tools, generation=False)
            if not (whole.startswith(before) and whole.startswith(after) and len(before) < len(after)):
                raise RenderingError(
                    f"The chat template rewrites what precedes message {i}, so its trained part cannot be found; "
                    "mark assistant turns in the template with {% generation %}."
                )
            spans.append((len(before), len(after)))
        encoded = self._encode(whole)
        marks = [any(a <= start and end <= b for a, b in spans) for start, end in encoded["offset_mapping"]]
        return list(encoded["input_ids"]), marks

    def _labels(self, ids: list[int], trained: list[bool]) -> list[int]:
        """Return the labels, without what a template writes between a turn's end token and the next turn."""
        labels, ended = [], False
        for token, mark in zip(ids, trained, strict=True):
            labels.append(token if mark and not ended else IGNORED)
            ended = mark and (ended or token in self.stop_ids)
        return labels


def _with_object(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call["function"])
    try:
        value = json.loads(function["arguments"])
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        function["arguments"] = value
    return {**call, "function": function}


def _stop_ids(model_dir: Path, tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    found: set[int] = set()
    if (model_dir / "generation_config.json").is_file():
        ends = GenerationConfig.from_pretrained(model_dir).eos_token_id
        found.update(ends if isinstance(ends, list) else [] if ends is None else [ends])
    if tokenizer.eos_token_id is not None:
        found.add(int(tokenizer.eos_token_id))
    if not found:
        raise RenderingError(f"{model_dir} names no token that ends a turn; set eos_token in tokenizer_config.json.")
    return frozenset(found)
