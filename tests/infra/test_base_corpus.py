"""The corpus of the small base model: nothing of the shop in it, and nothing asked that cannot be known."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import Lfm2ForCausalLM

from infra.model_server.base.corpus import Dialogue, copying, direct
from infra.model_server.base.lookups import lookups
from infra.model_server.base.pretrain import carried_over
from infra.model_server.base.workflow import RETAIL_TOOLS, workflow
from infra.model_server.slot_renderer import SlotRenderer
from zava_mcp.local import LocalShop
from zava_mcp.seed import generate_shop


def strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.values() for text in strings(part)]
    if isinstance(value, list):
        return [text for part in value for text in strings(part)]
    return [str(value)]


def unsourced(dialogue: Dialogue) -> list[str]:
    """Return the argument values that stand in no earlier message of a user or tool."""
    heard = ""
    out = []
    for message in dialogue["messages"]:
        for call in message.get("tool_calls") or ():
            out += [text for text in strings(json.loads(call["function"]["arguments"])) if text not in heard]
        if message["role"] != "assistant":
            heard += f" {message['content']}"
    return out


@pytest.mark.parametrize("seed", range(150))
def test_every_argument_of_a_workflow_was_given_by_a_person_or_a_tool(seed: int) -> None:
    assert unsourced(workflow(random.Random(seed))) == []


@pytest.mark.parametrize("make", [copying, direct, lookups, workflow])
def test_a_seed_makes_the_same_dialogue_again(make: Callable[[random.Random], Dialogue]) -> None:
    assert make(random.Random(3)) == make(random.Random(3))


@pytest.mark.anyio
async def test_the_tools_that_no_workflow_may_use_are_those_of_the_shop() -> None:
    async with LocalShop(generate_shop(customers=5, products=5, orders=5)) as shop:
        assert {tool["function"]["name"] for tool in await shop.tools()} == RETAIL_TOOLS


def test_a_base_that_is_gone_on_from_answers_as_before() -> None:
    folder = Path("infra/model_server/base/zava-base")
    renderer = SlotRenderer(folder)
    tokens = torch.arange(0, renderer.v.size, 97)[None]
    before = Lfm2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert torch.equal(carried_over(folder, renderer)(tokens).logits, before(tokens).logits)
