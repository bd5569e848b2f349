"""Arms beside base and tuned: other bases, a teacher elsewhere, examples for a model without a system prompt."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks import measure
from tasks.artifacts import Dataset
from tasks.core.config import ArmConfig, Profile, load_profile
from tasks.core.endpoints import ProviderConfig
from tasks.core.errors import ConfigError
from tasks.core.evaluation import EvalReport
from tasks.evaluate import rank, read_decisions
from tasks.prepare import write_eval_items
from tests.fake_finetuning import FakeFinetuning
from tests.worlds import prepared

CHAT = "POST /chat/completions"
Message = dict[str, Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("arms")
    split = prepared(folder, train=8, heldout=3)
    return Dataset(split=split, decisions=write_eval_items(split.heldout, folder))


@pytest.fixture
def provider() -> Iterator[FakeFinetuning]:
    with FakeFinetuning(models={"base", "base-large", "tuned"}) as provider:
        yield provider


@pytest.fixture
def profile(provider: FakeFinetuning, tmp_path: Path) -> Profile:
    settings = ("training.base_model=base", "evaluation.bootstrap_samples=100")
    return load_profile("local", (f"workspace={tmp_path}", f"provider.base_url={provider.base_url}", *settings))


def spoken(messages: list[Message]) -> list[Message]:
    return [message for message in messages if message["role"] != "system"]


class Knowing:
    """Answers every decision right; if `after_examples`, only where other turns stand before the conversation."""

    def __init__(self, data: Dataset, *, after_examples: bool) -> None:
        items = [decision.item.item for decision in read_decisions(data.decisions)]
        self._right = {json.dumps(spoken(item["messages"])): item["expected_output"] for item in items}
        self._after_examples = after_examples

    def __call__(self, request: dict[str, Any]) -> Message:
        turns = spoken(request["messages"])
        starts = range(1, len(turns)) if self._after_examples else (0,)
        found = (self._right.get(json.dumps(turns[start:])) for start in starts)
        return next(filter(None, found), {"role": "assistant", "content": "I cannot help with that."})


def reports(profile: Profile, data: Dataset) -> tuple[EvalReport, EvalReport]:
    base = measure.report(profile, "base", "base", data.decisions)
    return base, measure.report(profile, "tuned", "tuned", data.decisions)


def test_several_bases_and_a_teacher_at_another_provider_are_ranked_with_base_and_tuned(
    profile: Profile, provider: FakeFinetuning, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeFinetuning(models={"teacher"}, chat=Knowing(data, after_examples=False)) as elsewhere:
        where = ProviderConfig(kind="compatible", base_url=elsewhere.base_url, api_key_env="TEACHER_KEY")
        teacher = ArmConfig(name="teacher", model="teacher", provider=where)
        with pytest.raises(ConfigError, match="TEACHER_KEY"):
            measure.other_arm(profile, teacher, "base", "tuned", data)
        monkeypatch.setenv("TEACHER_KEY", "k")
        base, tuned = reports(profile, data)
        arms = (ArmConfig(name="large", model="base-large"), teacher)
        others = [measure.other_arm(profile, arm, "base", "tuned", data) for arm in arms]
        assert elsewhere.count(CHAT) == data.decisions.items
    assert provider.count(CHAT) == 3 * data.decisions.items
    ranked = rank(base, tuned, others, data.decisions, profile.evaluation)
    reached = {report.arm: report.metrics["next_tool_call_accuracy"].value for report in ranked.reports}
    assert reached == {"base": 0.0, "tuned": 0.0, "large": 0.0, "teacher": 1.0}
    assert [(one.arm, one.against) for one in ranked.contrasts] == [
        ("tuned", "base"),
        ("large", "base"),
        ("large", "tuned"),
        ("teacher", "base"),
        ("teacher", "tuned"),
    ]
    assert (ranked.skipped, ranked.notes) == ((), {})


def test_a_model_that_reads_no_system_prompt_gets_examples_as_turns_and_no_short_prompt(
    profile: Profile, provider: FakeFinetuning, data: Dataset
) -> None:
    provider.reads_system, provider.chat = False, Knowing(data, after_examples=True)
    base, tuned = reports(profile, data)
    assert base.metrics["next_tool_call_accuracy"].value == 0.0
    asked = provider.count(CHAT)
    arms = (ArmConfig(name="short", model="tuned", prompt="short"), ArmConfig(name="examples", examples=2))
    short, examples = (measure.other_arm(profile, arm, "base", "tuned", data) for arm in arms)
    # One question each whether the prompt is read at all; its other half is answered already.
    assert provider.count(CHAT) - asked == 2 + data.decisions.items
    assert examples.report is not None
    assert examples.report.metrics["next_tool_call_accuracy"].value == 1.0
    ranked = rank(base, tuned, (short, examples), data.decisions, profile.evaluation)
    assert [(one.arm, one.skipped.partition(":")[0]) for one in ranked.skipped] == [("short", "does not apply")]
    assert ranked.notes["examples"].startswith("2 examples as turns before the conversation: the model does not read")
