"""The best checkpoint goes on, not the last: each is asked decisions of the validation split."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import measure
from tasks.artifacts import Dataset
from tasks.checkpoints import best_checkpoint
from tasks.core.config import Profile, load_profile
from tests import runs
from tests.fake_finetuning import FakeFinetuning, Json

LAST = str(runs.a_job().model_id)


def a_checkpoint(step: int) -> Json:
    return {
        "id": f"ckpt-{step}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": step,
        "fine_tuned_model_checkpoint": f"{LAST}:ckpt-step-{step}",
        "fine_tuning_job_id": "ftjob-1",
        "step_number": step,
        "metrics": {},
    }


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[FakeFinetuning]:
    """A provider whose checkpoint of step 20 knows all the answers, and whose other models know none."""
    good = f"{LAST}:ckpt-step-20"

    def answer(request: Json) -> Json:
        for path in tmp_path.glob("checkpoints/*/items.jsonl"):
            for line in path.read_text().splitlines():
                item = json.loads(line)["item"]
                if request["model"] == good and item["messages"] == request["messages"]:
                    return dict(item["expected_output"])
        return {"role": "assistant", "content": "I cannot help with that."}

    models = {LAST, f"{LAST}:ckpt-step-10", good}
    checkpoints = [a_checkpoint(20), a_checkpoint(10)]
    with FakeFinetuning(models=models, checkpoints=checkpoints, chat=answer) as provider:
        yield provider


@pytest.fixture
def profile(provider: FakeFinetuning, tmp_path: Path) -> Profile:
    counts = [f"synthesis.{split}_conversations=3" for split in ("train", "valid", "heldout")]
    given = (f"workspace={tmp_path}", f"provider.base_url={provider.base_url}", "training.checkpoint_decisions=9")
    return load_profile("local", (*given, *counts, "evaluation.bootstrap_samples=50"))


@pytest.fixture
def dataset(profile: Profile) -> Dataset:
    return measure.dataset(profile, measure.conversations(profile))


def test_the_best_checkpoint_comes_first(profile: Profile, provider: FakeFinetuning, dataset: Dataset) -> None:
    scored = best_checkpoint(profile, runs.a_job(), dataset)
    assert [entry.checkpoint.step for entry in scored] == [20, math.inf, 10]
    assert [entry.accuracy for entry in scored] == [1.0, 0.0, 0.0]
    assert provider.count("POST /chat/completions") == 3 * 9
    again = best_checkpoint(profile, runs.a_job(), dataset)
    assert again == scored
    assert provider.count("POST /chat/completions") == 3 * 9


def test_a_job_without_checkpoints_goes_on_with_its_own_model(
    profile: Profile, provider: FakeFinetuning, dataset: Dataset
) -> None:
    provider.checkpoints = []
    (only,) = best_checkpoint(profile, runs.a_job(), dataset)
    assert only.checkpoint.model_id == LAST
    assert provider.count("POST /chat/completions") == 0
