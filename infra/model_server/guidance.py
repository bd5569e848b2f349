"""Constrained decoding: tool calls can only be written as JSON that fits the called tool's schema.

By llguidance, as a grammar over the whole answer: free text, in which each mark of a call must be followed by a call of
an offered tool. A guide answers for one sequence which tokens may come next.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer, StructTag

from infra.model_server.tool_calls import CallFormat

log = logging.getLogger(__name__)

AS_TAUGHT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON as templates and `json.dumps` write it."""


class GrammarGuide:
    """Which tokens may come next in one answer, by its grammar."""

    def __init__(self, matcher: LLMatcher, written: Sequence[int]) -> None:
        """Go on after the tokens with which the answer was made to begin."""
        self._matcher = matcher
        matcher.consume_tokens(list(written))

    def allowed(self, vocabulary: int) -> torch.Tensor | None:
        """Return for each token of a vocabulary whether it may come next; None if all may."""
        if self._matcher.is_error():
            return None
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        flags = np.unpackbits(bits, bitorder="little")[:vocabulary].astype(bool)
        return torch.from_numpy(np.pad(flags, (0, vocabulary - len(flags))))

    def take(self, token: int) -> None:
        """Note the token that was picked."""
        if not self._matcher.is_stopped() and not self._matcher.consume_token(token):
            log.warning("A tool call goes on without its grammar: %s", self._matcher.get_error())


def guide_of(
    tokenizer: LLTokenizer,
    tools: Sequence[Mapping[str, Any]],
    form: CallFormat,
    *,
    marked: bool,
    written: Sequence[int],
) -> GrammarGuide:
    """Return a guide for an answer that may call these tools.

    With `marked`, the mark that begins a call is one token of its own. A schema that cannot be made a grammar leaves
    the arguments any JSON object.
    """
    grammar = _grammar(tools, form, marked=marked, exact=True)
    if problem := LLMatcher.validate_grammar(grammar, tokenizer):
        log.warning("Tool calls are held to JSON objects only: %s", problem)
        grammar = _grammar(tools, form, marked=marked, exact=False)
    return GrammarGuide(LLMatcher(tokenizer, grammar), written)


def _grammar(tools: Sequence[Mapping[str, Any]], form: CallFormat, *, marked: bool, exact: bool) -> str:
    tags = [_tag(tool["function"], form, exact=exact) for tool in tools]
    return StructTag.to_grammar(tags, assume_special=marked)


def _tag(function: Mapping[str, Any], form: CallFormat, *, exact: bool) -> StructTag:
    schema = (function.get("parameters") if exact else None) or {}
    return StructTag(
        trigger=form.begin,
        begin=form.named_prefix.format(name=json.dumps(function["name"])),
        grammar={"type": "object", **schema, "x-guidance": AS_TAUGHT},
        end="}\n" + form.end,
    )
