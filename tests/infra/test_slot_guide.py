"""The guide of the slot renderer: what the conversation has shown can be said, and nothing else."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from infra.model_server.base.corpus import Dialogue
from infra.model_server.base.lookups import lookups
from infra.model_server.base.pretrain import write_words
from infra.model_server.base.workflow import workflow
from infra.model_server.rendering import Rendered
from infra.model_server.sampling import Guide, pick, sampler
from infra.model_server.slot_renderer import SlotRenderer

ORDER = {
    "order_id": "#W1",
    "items": [
        {"name": "Lamp", "item_id": "1111111111", "options": {"color": "blue", "size": "small"}},
        {"name": "Rug", "item_id": "2222222222", "options": {"color": "red", "size": "large"}},
    ],
}
CALL = {"id": "c", "type": "function", "function": {"name": "get_order_details", "arguments": '{"order_id": "#W1"}'}}
SHOWN = [
    {"role": "user", "content": "I am Noah Brown and want the Rug of #W1 returned."},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c", "content": json.dumps(ORDER)},
]


TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name, "parameters": {"properties": {"item_ids": {}}}}}
    for name in ("return_items", "return_order", "get_order_details")
]


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> SlotRenderer:
    folder = tmp_path_factory.mktemp("words")
    write_words(Path(folder))
    return SlotRenderer(Path(folder))


def asked(
    renderer: SlotRenderer, messages: list[dict[str, Any]], tools: Sequence[dict[str, Any]] = TOOLS
) -> tuple[Rendered, Guide]:
    """Return a conversation that is to be answered, and the guide of the answer."""
    rendered = renderer.render(messages, tools, generation=True)
    guide = renderer.guide(tools, [], rendered.state)
    assert guide is not None
    return rendered, guide


def answered(renderer: SlotRenderer, arguments: dict[str, Any]) -> tuple[list[int], Guide]:
    """Return the tokens in which these arguments are written after what was shown, and a fresh guide."""
    rendered, guide = asked(renderer, SHOWN)
    function = {"name": "return_items", "arguments": json.dumps(arguments)}
    said = {"role": "assistant", "content": None, "tool_calls": [{"id": "d", "type": "function", "function": function}]}
    whole = renderer.render([*SHOWN, said], TOOLS).input_ids
    return whole[len(rendered.input_ids) :], guide


@pytest.mark.parametrize("made", [workflow, lookups])
def test_whatever_a_right_answer_writes_is_allowed(
    renderer: SlotRenderer, made: Callable[[random.Random], Dialogue]
) -> None:
    turns = 0
    for seed in range(30):
        dialogue = made(random.Random(seed))
        messages = dialogue["messages"]
        for at, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            rendered, guide = asked(renderer, messages[:at], dialogue["tools"])
            whole = renderer.render(messages[: at + 1], dialogue["tools"]).input_ids
            for token in whole[len(rendered.input_ids) :]:
                allowed = guide.allowed(renderer.v.size)
                assert allowed is not None
                assert allowed[token], (seed, at)
                guide.take(token)
            turns += 1
    assert turns > 50


@pytest.mark.parametrize("seed", range(5))
def test_noise_names_only_what_was_shown(renderer: SlotRenderer, seed: int) -> None:
    rendered, guide = asked(renderer, SHOWN)
    draw = torch.Generator().manual_seed(seed)
    wishes = torch.zeros(renderer.v.size)
    wishes[renderer.v.first_slot : renderer.v.first_word] = 6.0
    written: list[int] = []
    for _ in range(200):
        written += pick((torch.randn(renderer.v.size, generator=draw) + wishes)[None], [sampler(0.0, 1.0, None, guide)])
    assert sum(renderer.v.is_slot(token) for token in written) > 50
    assert "unknown" not in json.dumps(renderer.parse(written, rendered.state))


def test_the_record_is_the_one_that_was_described(renderer: SlotRenderer) -> None:
    right, guide = answered(renderer, {"item_ids": ["2222222222"]})
    wrong, _ = answered(renderer, {"item_ids": ["1111111111"]})
    anchors = [at for at, token in enumerate(right) if renderer.v.is_anchor(token)]
    lamp, rug = (next(token for token in tokens if renderer.v.is_anchor(token)) for tokens in (wrong, right))
    for token in right[: anchors[0]]:
        guide.take(token)
    # The model has written "Rug" and now prefers the lamp's record, and then the lamp's identifier.
    logits = torch.zeros(renderer.v.size)
    logits[[lamp, wrong[anchors[1] + 1]]] = 9.0
    logits[rug] = 5.0
    by = sampler(0.0, 1.0, None, guide)
    written = right[: anchors[0]]
    while not renderer.v.is_slot(written[-1]) or len(written) <= anchors[1]:
        written += pick(logits[None], [by])
    assert written == right[: len(written)]
    message = renderer.parse([*written, *right[len(written) :]], asked(renderer, SHOWN)[0].state)
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"item_ids": ["2222222222"]}


def test_there_is_no_reference_before_there_is_a_record(renderer: SlotRenderer) -> None:
    _, guide = asked(renderer, SHOWN[:1])
    allowed = guide.allowed(renderer.v.size)
    assert allowed is not None
    assert not allowed[renderer.v.reference]
    assert allowed[renderer.v.special["<call>"]]


def test_a_forced_call_is_guided_from_its_beginning(renderer: SlotRenderer) -> None:
    rendered, _ = asked(renderer, SHOWN)
    guide = renderer.guide(TOOLS, [*renderer.call_prefix("return_items"), renderer.v.reference], rendered.state)
    assert guide is not None
    allowed = guide.allowed(renderer.v.size)
    assert allowed is not None
    assert 0 < int(allowed.sum()) <= 3


@pytest.mark.parametrize("seed", range(5))
def test_noise_calls_only_what_is_offered(renderer: SlotRenderer, seed: int) -> None:
    rendered, _ = asked(renderer, SHOWN)
    guide = renderer.guide(TOOLS, renderer.call_prefix(None), rendered.state)
    draw = torch.Generator().manual_seed(seed)
    written = renderer.call_prefix(None)
    while written[-1] != renderer.v.special["<{>"]:
        written += pick(torch.randn(renderer.v.size, generator=draw)[None], [sampler(0.0, 1.0, None, guide)])
    [call] = renderer.parse(written, rendered.state)["tool_calls"]
    assert call["function"]["name"] in [tool["function"]["name"] for tool in TOOLS]


def test_nothing_is_called_where_nothing_is_offered(renderer: SlotRenderer) -> None:
    _, guide = asked(renderer, SHOWN, ())
    allowed = guide.allowed(renderer.v.size)
    assert allowed is not None
    assert not allowed[renderer.v.special["<call>"]]
