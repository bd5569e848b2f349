"""Preference optimisation: what its files must hold, its loss, and that a run prefers what it is shown."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from infra.model_server.dataset_validation import count_rows, is_preference_file
from infra.model_server.errors import DatasetError
from infra.model_server.progress import JobSpec, Planned, PreferenceHyperparameters, ProgressReader, ProgressWriter
from infra.model_server.rendering import IGNORED, renderer_for
from infra.model_server.trainer import run
from infra.model_server.trainer.preference import PairWriter, PreferenceTrainer, collate_pairs
from tests.infra.model_server import tiny
from tests.infra.model_server.test_trainer import DPO, job_folder, steps_in

BETA = 0.3


def changed(**parts: Any) -> dict[str, Any]:
    return {**tiny.preference(0), **parts}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (changed(preferred_output=[]), "has 0 messages in preferred_output, which is to hold one"),
        (changed(non_preferred_output=[{"role": "user", "content": "a"}]), "has 1 messages in non_preferred_output"),
        (changed(input={"messages": []}), "has an input that does not end before an assistant's turn"),
        (changed(preferred_output=[{"role": "assistant"}]), "has neither content nor tool_calls in preferred_output.0"),
        (changed(extra=1), "is not a pair of answers: extra: Extra inputs are not permitted"),
        (tiny.conversation(0), "is not a pair of answers: input: Field required"),
    ],
)
def test_a_broken_pair_is_named(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(tiny.preference_jsonl(2) + json.dumps(row).encode())
    with pytest.raises(DatasetError, match=r"^Line 3 ") as error:
        count_rows(path, max_line_bytes=10_000, max_rows=9)
    assert says in str(error.value)


def test_files_of_pairs_and_of_conversations_are_told_apart(tmp_path: Path) -> None:
    for name, content, pairs in (("a", tiny.preference_jsonl(3), True), ("b", tiny.jsonl(3), False)):
        path = tmp_path / name
        path.write_bytes(content)
        assert count_rows(path, max_line_bytes=10_000, max_rows=9) == 3
        assert is_preference_file(path) == pairs


def test_only_the_judged_answer_counts(tmp_path: Path, models_dir: Path) -> None:
    renderer = renderer_for(models_dir / "tiny")
    row = tiny.preference(0)
    talk = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello to you."}]
    row["input"]["messages"] = [*talk, *row["input"]["messages"]]
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row))
    writer = PairWriter(tmp_path / "pairs.arrow", renderer, 512)
    passed = writer.add(tmp_path / "pairs.jsonl", None)
    [pair] = writer.finish()
    assert (passed.cut, passed.empty) == (0, 0)
    assert passed.tokens == len(pair["input_ids"]) + len(pair["rejected_ids"])
    for labels, name in ((pair["labels"], "preferred_output"), (pair["rejected_labels"], "non_preferred_output")):
        answer = renderer.parse([label for label in labels if label != IGNORED], None)
        [wanted] = row[name]
        assert answer["content"] == wanted.get("content")
        called = [call["function"] for call in answer.get("tool_calls", [])]
        assert called == [call["function"] for call in wanted.get("tool_calls", [])]


def test_a_pair_beyond_the_window_is_left_out(tmp_path: Path, models_dir: Path) -> None:
    (tmp_path / "pairs.jsonl").write_bytes(tiny.preference_jsonl(2))
    passed = PairWriter(tmp_path / "a.arrow", renderer_for(models_dir / "tiny"), 20).add(tmp_path / "pairs.jsonl", None)
    assert (passed.lengths, passed.empty) == ([], 2)


def likelihood(model: Any, ids: list[int], labels: list[int]) -> torch.Tensor:
    """Return the log-likelihood of the labelled tokens, the plain way."""
    logits = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return torch.stack([logits[at - 1, token] for at, token in enumerate(labels) if token != IGNORED]).sum()


def test_the_loss_is_that_of_the_paper(tmp_path: Path, models_dir: Path) -> None:
    wanted = PreferenceHyperparameters(n_epochs=1, batch_size=4, beta=BETA)
    job_dir = job_folder(tmp_path / "job", models_dir, hyperparameters=wanted, rows_of=tiny.preference_jsonl)
    spec = JobSpec.model_validate_json((job_dir / "job.json").read_text())
    with ProgressWriter(job_dir) as writer:
        prepared = run.prepare(spec, job_dir, writer)
    trainer = run.build_trainer(prepared, 1, tmp_path / "states")
    assert isinstance(trainer, PreferenceTrainer)
    pairs = trainer.with_references(prepared.rows, prepared.plan.batches)
    model = prepared.model
    before = [[likelihood(model, r[i], r[j]).item() for i, j in ANSWERS] for r in pairs]
    torch.testing.assert_close(torch.tensor(pairs["reference"]), torch.tensor(before), rtol=1e-4, atol=1e-3)

    batch = collate_pairs([pairs[i] for i in (0, 1, 5)], prepared.pad_id)
    assert trainer.compute_loss(model, dict(batch)).item() == pytest.approx(math.log(2), rel=1e-4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
        margins = [
            (likelihood(model, r["input_ids"], r["labels"]) - before[i][0])
            - (likelihood(model, r["rejected_ids"], r["rejected_labels"]) - before[i][1])
            for i, r in ((i, pairs[i]) for i in (0, 1, 5))
        ]
        expected = sum(math.log1p(math.exp(-BETA * margin.item())) for margin in margins) / 3
        assert trainer.compute_loss(model, dict(batch)).item() == pytest.approx(expected, rel=1e-3)
    assert trainer.last_accuracy.item() == pytest.approx(sum(margin.item() > 0 for margin in margins) / 3)


ANSWERS = (("input_ids", "labels"), ("rejected_ids", "rejected_labels"))


def test_a_run_comes_to_prefer_what_is_preferred(tmp_path: Path, models_dir: Path) -> None:
    job_dir = job_folder(tmp_path / "job", models_dir, **DPO)
    run.run_job(job_dir)
    planned = next(d.record for d in ProgressReader(job_dir).new_records() if isinstance(d.record, Planned))
    assert planned.hyperparameters == PreferenceHyperparameters(
        n_epochs=2, batch_size=4, learning_rate_multiplier=5, beta=0.1
    )
    steps = steps_in(job_dir)
    assert steps[0].metrics["train_loss"] == pytest.approx(math.log(2), rel=1e-4)
    assert steps[-1].metrics["train_loss"] < math.log(2) - 0.01
    assert steps[-1].metrics["train_reward_accuracy"] == 1.0
    assert steps[-1].metrics["full_valid_reward_accuracy"] == 1.0
    assert steps[-1].metrics["full_valid_loss"] < math.log(2)
