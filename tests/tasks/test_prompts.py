"""How arms ask: the short prompt, and examples from real training rows."""

import json
from pathlib import Path

import pytest

from tasks import simulate as simulation
from tasks.core.config import ArmConfig, EvaluationConfig, ValidationConfig
from tasks.core.dataset import DatasetSplit
from tasks.core.evaluation import EvalItem
from tasks.evaluate import read_decisions
from tasks.prepare import prepare_dataset, read_rows, write_eval_items
from tasks.prompts import Examples, as_recorded, prompt_of
from tests.worlds import ROOT, a_profile, small_shop

CONFIG = EvaluationConfig(short_prompt="Be brief.")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> DatasetSplit:
    profile = a_profile(train_conversations=30, valid_conversations=1, heldout_conversations=4, shard_size=40)
    folder = tmp_path_factory.mktemp("prompts")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(simulation, "open_shop", lambda _world: small_shop())
        shards = simulation.simulate(profile, folder / "shards")
    return prepare_dataset(shards, small_shop(), ValidationConfig(), folder)


@pytest.fixture(scope="module")
def items(split: DatasetSplit) -> list[EvalItem]:
    folder = Path(split.heldout.path).parent
    return [decision.item for decision in read_decisions(write_eval_items(split.heldout, folder))]


def test_the_short_prompt_stands_in_place_of_the_policy_and_nothing_else_changes(
    split: DatasetSplit, items: list[EvalItem]
) -> None:
    prompt = prompt_of(ArmConfig(name="a", prompt="short"), CONFIG, split.train)
    for item in items:
        messages = prompt(item)
        assert messages[0] == {"role": "system", "content": "Be brief."}
        assert messages[1:] == item.item["messages"][1:]


def test_an_arm_that_asks_as_recorded_changes_nothing(split: DatasetSplit, items: list[EvalItem]) -> None:
    prompt = prompt_of(ArmConfig(name="a"), CONFIG, split.train)
    assert prompt is as_recorded
    assert prompt(items[0]) == items[0].item["messages"]


def test_examples_come_from_training_conversations_one_each_and_stand_in_the_system_prompt(
    split: DatasetSplit, items: list[EvalItem]
) -> None:
    train = {meta.conversation_id for _, meta in read_rows(split.train)}
    heldout = {meta.customer_id for _, meta in read_rows(split.heldout)}
    prompt = Examples(split.train, 3)
    for item in items[:20]:
        found = prompt.similar(item.item["messages"])
        ids = [example.conversation_id for example in found]
        assert len(set(ids)) == 3
        assert set(ids) <= train
        messages = prompt(item)
        assert messages[1:] == item.item["messages"][1:]
        system = str(messages[0]["content"])
        assert system.startswith(str(item.item["messages"][0]["content"]))
        added = system.removeprefix(str(item.item["messages"][0]["content"]))
        assert added.count("## Example") == 3
        assert not any(customer in added for customer in heldout)


def test_the_most_similar_move_is_mostly_the_right_tool(split: DatasetSplit, items: list[EvalItem]) -> None:
    prompt = Examples(split.train, 1)
    calls = [item for item in items if item.item["expected_output"]["tool_calls"]]
    hits = 0
    for item in calls:
        name = item.item["expected_output"]["tool_calls"][0]["function"]["name"]
        hits += prompt.similar(item.item["messages"])[0].move.startswith(f"call {name} ")
    assert hits / len(calls) > 0.5


def test_examples_can_stand_under_the_short_prompt(split: DatasetSplit, items: list[EvalItem]) -> None:
    arm = ArmConfig(name="a", prompt="short", examples=2)
    system = str(prompt_of(arm, CONFIG, split.train)(items[3])[0]["content"])
    assert system.startswith("Be brief.\n\n# Examples\n")
    assert system.count("next move of the agent:") == 2


def test_the_same_item_gets_the_same_examples(split: DatasetSplit, items: list[EvalItem]) -> None:
    first, second = Examples(split.train, 3), Examples(split.train, 3)
    assert json.dumps(first(items[5])) == json.dumps(second(items[5]))
