"""Whatever a model writes comes back as an ordinary completion, and is cut where the request says so."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from openai import OpenAI
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from infra.model_server.settings import Settings
from tests.infra.model_server import live, tiny

ASK: Any = [{"role": "user", "content": "Please find k3."}]
ONE = '<tool_call>{"name": "look_up", "arguments": {"key": "k1"}}</tool_call>'
TWO = '<tool_call>{"name": "look_up", "arguments": {"key": "k2"}}</tool_call>'
SAYINGS: dict[str, list[str]] = {
    "broken": ['<tool_call>{"name": "look_up", "arguments": {"key": '],
    "nameless": ["<tool_call>", "who knows"],
    "unknown": ['<tool_call>{"name": "never_offered", "arguments": {}}</tool_call>'],
    "array": ['<tool_call>["look_up", 1]</tool_call>'],
    "empty": [],
    "twice": [ONE, TWO],
    "talks": ["one ", "two ", "three"],
}


def parrot(folder: Path, pieces: list[str]) -> None:
    """Write a model that always says these pieces, each a token of its own, and ends."""
    tiny.build(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(pieces)
    tokenizer.save_pretrained(folder)
    size, end = len(tokenizer), tokenizer.eos_token_id
    config = Qwen3Config(
        vocab_size=size, hidden_size=size, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, head_dim=8, tie_word_embeddings=False, eos_token_id=end, bos_token_id=None,
        pad_token_id=None, max_position_embeddings=512,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    layer: Any = model.model.layers[0]
    said = [*tokenizer.convert_tokens_to_ids(pieces), end]
    following = torch.full((size,), said[0])
    for token, after in pairwise(said):
        following[token] = after
    with torch.no_grad():
        # Only the last token is seen, as itself, and each token knows which one follows it.
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.lm_head.weight.copy_(torch.nn.functional.one_hot(following, size).T)
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def parrots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    folder = tmp_path_factory.mktemp("parrots")
    for name, pieces in SAYINGS.items():
        parrot(folder / "models" / name, pieces)
    settings = Settings(data=folder / "data", models=folder / "models")
    with live.serving(settings) as port, live.client_of(port) as client:
        yield client


class Said(NamedTuple):
    """One choice of an answer."""

    calls: list[tuple[str, str]]
    content: str
    reason: str


def answer(client: OpenAI, model: str, *, stream: bool = False, **asked: Any) -> Said:
    """Ask for an answer of one choice, and put it together from its chunks where it is streamed."""
    asked = {"model": model, "messages": ASK, "temperature": 0, "stream": stream, **asked}
    answer = client.chat.completions.create(**asked)
    if not stream:
        [choice] = answer.choices
        calls = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()]
        return Said(calls, choice.message.content or "", choice.finish_reason)
    choices = [choice for chunk in answer for choice in chunk.choices]
    pieces = [call for choice in choices for call in choice.delta.tool_calls or ()]
    calls = []
    for index in range(len({call.index for call in pieces})):
        parts = [call.function for call in pieces if call.index == index]
        calls.append((parts[0].name, "".join(part.arguments for part in parts)))
    return Said(calls, "".join(choice.delta.content or "" for choice in choices), choices[-1].finish_reason)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "called"),
    [
        ("broken", [("look_up", '{"key":')]),
        ("nameless", [("", "who knows")]),
        ("unknown", [("never_offered", "{}")]),
        ("array", [("", '["look_up", 1]')]),
        ("empty", []),
    ],
)
def test_what_is_no_sound_call_is_an_ordinary_completion(
    parrots: OpenAI, model: str, called: list[tuple[str, str]], stream: bool
) -> None:
    assert answer(parrots, model, stream=stream) == (called, "", "tool_calls" if called else "stop")


@pytest.mark.parametrize("stream", [False, True])
def test_parallel_calls_come_one_at_a_time_where_asked(parrots: OpenAI, stream: bool) -> None:
    both = [("look_up", '{"key": "k1"}'), ("look_up", '{"key": "k2"}')]
    for asked, called in (
        ({}, both),
        ({"parallel_tool_calls": True}, both),
        ({"parallel_tool_calls": False}, both[:1]),
    ):
        assert answer(parrots, "twice", stream=stream, **asked).calls == called


@pytest.mark.parametrize("stream", [False, True])
def test_answers_are_cut_at_a_stop_text_and_at_a_number_of_tokens(parrots: OpenAI, stream: bool) -> None:
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({}, "one two three", "stop"),
        ({"stop": "two"}, "one ", "stop"),
        ({"stop": ["three", "o t"]}, "one tw", "stop"),
        ({"max_completion_tokens": 2}, "one two", "length"),
    ]
    for asked, text, reason in cases:
        said = answer(parrots, "talks", stream=stream, **asked)
        assert (said.content.rstrip(), said.reason) == (text.rstrip(), reason)
