"""Calls are held to their tools' schemas, whether noise writes them or a model that has learnt nothing."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from openai import OpenAI

from infra.model_server.chat_template import ChatTemplateRenderer
from infra.model_server.sampling import pick, sampler
from tests.infra.model_server import tiny

SCHEMA = {
    "type": "object",
    "properties": {
        "key": {"enum": ["k1", "k2", "käse"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 99},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
    },
    "required": ["key", "count"],
    "additionalProperties": False,
}
VOCABULARY = 434
ORDER = {"type": "function", "function": {"name": "order", "parameters": SCHEMA}}
TOOLS: Any = [*tiny.TOOLS, ORDER]


@pytest.fixture(scope="module")
def renderer(models_dir: Path) -> ChatTemplateRenderer:
    return ChatTemplateRenderer(models_dir / "tiny")


def write(
    renderer: ChatTemplateRenderer, written: list[int], seed: int, wishes: torch.Tensor | None = None
) -> list[int]:
    """Let noise write an answer that began with `written`; `wishes` makes some tokens likelier."""
    by = sampler(1.0, 1.0, seed, renderer.guide([ORDER], written, None))
    draw = torch.Generator().manual_seed(seed)
    tokens = list(written)
    for _ in range(120):
        logits = torch.randn(VOCABULARY, generator=draw) + (0 if wishes is None else wishes)
        [token] = pick(logits[None], [by])
        if token in renderer.stop_ids:
            break
        tokens.append(token)
    return tokens


@pytest.mark.parametrize("seed", range(8))
def test_noise_can_only_write_a_call_that_fits(renderer: ChatTemplateRenderer, seed: int) -> None:
    message = renderer.parse(write(renderer, renderer.call_prefix("order"), seed), None)
    call = message["tool_calls"][0]["function"]
    assert call["name"] == "order"
    jsonschema.validate(json.loads(call["arguments"]), SCHEMA)


def test_a_call_of_any_tool_names_one_that_is_offered(renderer: ChatTemplateRenderer) -> None:
    message = renderer.parse(write(renderer, renderer.call_prefix(None), 3), None)
    assert message["tool_calls"][0]["function"]["name"] == "order"


def test_text_is_free_until_it_marks_a_call(renderer: ChatTemplateRenderer) -> None:
    guide = renderer.guide([ORDER], [], None)
    assert guide is not None
    allowed = guide.allowed(VOCABULARY)
    assert allowed is not None
    # Not those that begin within a character, nor special ones, but that which ends the turn.
    words = {token: renderer._tokenizer.decode([token]) for token in range(len(tiny.SPECIAL), VOCABULARY)}
    assert all(allowed[token] for token, word in words.items() if "\ufffd" not in word)
    assert all(allowed[token] for token in renderer.stop_ids)
    for token in renderer._encode("Let me see. <tool_call>")["input_ids"]:
        guide.take(token)
    allowed = guide.allowed(VOCABULARY)
    assert allowed is not None
    assert not any(allowed[token] for token in renderer.stop_ids)
    texts = {renderer._tokenizer.decode([token]) for token in allowed.nonzero()[:, 0].tolist()}
    assert all('\n{"name": "order", "arguments": '.startswith(text) for text in texts)


def test_a_schema_without_a_grammar_leaves_any_object(renderer: ChatTemplateRenderer) -> None:
    odd = {"type": "function", "function": {"name": "odd", "parameters": {"properties": {"a": {"pattern": "(?=x)y"}}}}}
    guide = renderer.guide([odd], renderer.call_prefix("odd"), None)
    assert guide is not None
    for token in renderer._encode('{"b": [1, "two"]}}\n</tool_call>')["input_ids"]:
        allowed = guide.allowed(VOCABULARY)
        assert allowed is not None
        assert allowed[token]
        guide.take(token)


def test_an_unlearnt_model_calls_with_arguments_that_fit(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "Two of k1."}], tools=TOOLS, n=3, temperature=1.5, seed=1,
        tool_choice={"type": "function", "function": {"name": "order"}}, max_completion_tokens=200,
    )  # fmt: skip
    for choice in answer.choices:
        assert choice.message.tool_calls
        call = choice.message.tool_calls[0]
        assert call.type == "function"
        assert call.function.name == "order"
        jsonschema.validate(json.loads(call.function.arguments), SCHEMA)
