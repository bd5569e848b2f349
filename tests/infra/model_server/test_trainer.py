"""The trainer: planning, rates, rendering, and runs that are the same however often they are interrupted."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from infra.model_server.errors import TrainingError
from infra.model_server.progress import (
    Choosable,
    Hyperparameters,
    JobSpec,
    PreferenceHyperparameters,
    ProgressReader,
    ProgressWriter,
    Record,
    Step,
)
from infra.model_server.rendering import IGNORED, Rendered, renderer_for
from infra.model_server.trainer import run
from infra.model_server.trainer.adapters import keeps_apart
from infra.model_server.trainer.batches import WINDOW, group, plan_run
from infra.model_server.trainer.choices import BATCH_TOKENS, MAX_EPOCHS, SMALL_BATCH_TOKENS, SMALL_MODEL_TOKENS, choose
from infra.model_server.trainer.optimiser import MuonWithAdamW, build_optimiser, rate_factor
from infra.model_server.trainer.rows import RowWriter, collate, pack
from tests.infra.model_server import tiny

LENGTHS = st.lists(st.integers(1, 4000), min_size=1, max_size=300)


CHOICES = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 5}
LORA = {"lora": "always"}
DPO = {"hyperparameters": PreferenceHyperparameters(**CHOICES, beta="auto"), "rows_of": tiny.preference_jsonl}


def job_folder(
    folder: Path,
    models_dir: Path,
    *,
    model: str = "tiny",
    rows_of: Callable[[int, int], bytes] = tiny.jsonl,
    hyperparameters: Choosable = Hyperparameters(**CHOICES),  # noqa: B008 (frozen)
    **options: Any,
) -> Path:
    folder.mkdir(parents=True)
    (folder / "training.jsonl").write_bytes(rows_of(24, 0))
    (folder / "validation.jsonl").write_bytes(rows_of(4, 100))
    spec = JobSpec(
        job_id="ftjob-test", base=model, model_dir=models_dir / model, seed=3, hyperparameters=hyperparameters,
        **options,
    )  # fmt: skip
    (folder / "job.json").write_text(spec.model_dump_json())
    return folder


@given(LENGTHS, st.integers(0, 9))
def test_batches_hold_every_row_once_within_the_budget(lengths: list[int], seed: int) -> None:
    batches = group(lengths, random.Random(seed), max_tokens=3072, max_rows=None)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 3072


@given(LENGTHS, st.integers(1, 9))
def test_a_batch_size_is_kept(lengths: list[int], rows: int) -> None:
    batches = group(lengths, random.Random(0), max_tokens=1, max_rows=rows)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= rows
    # Only the last batch of a window may be smaller.
    assert sum(size < rows for size in sizes) <= -(-len(lengths) // WINDOW)


def test_a_plan_numbers_rows_through_all_epochs_and_depends_on_the_seed_alone() -> None:
    epochs = [[10, 20, 30], [11, 19, 31]]
    plan = plan_run(epochs, max_tokens=60, max_rows=None, seed=1)
    assert sorted(row for batch in plan.batches[: plan.epoch_ends[0]] for row in batch) == [0, 1, 2]
    assert sorted(row for batch in plan.batches[plan.epoch_ends[0] :] for row in batch) == [3, 4, 5]
    assert plan.epoch_ends[-1] == len(plan.batches)
    assert plan == plan_run(epochs, max_tokens=60, max_rows=None, seed=1)


@pytest.mark.parametrize(("share", "epochs"), [(1.0, 1), (1 / 3, 3), (1e-6, MAX_EPOCHS), (9.0, 1)])
def test_a_small_model_sees_about_as_many_tokens_whatever_the_data(share: float, epochs: int) -> None:
    tokens = round(share * SMALL_MODEL_TOKENS)
    choices = choose(Hyperparameters(), parameters=1_300_000, tokens_per_epoch=tokens)
    assert (choices.n_epochs, choices.max_tokens, choices.muon) == (epochs, SMALL_BATCH_TOKENS, True)
    assert choices.learning_rate == pytest.approx(2e-3)


@pytest.mark.parametrize(("kind", "apart"), [("tiny", True), ("tiny-conv", False)])
def test_packed_conversations_are_predicted_as_if_each_stood_alone(models_dir: Path, kind: str, apart: bool) -> None:
    model = AutoModelForCausalLM.from_pretrained(models_dir / kind)
    assert keeps_apart(model) == apart
    draw = random.Random(4)
    rows = [{"input_ids": [draw.randrange(3, 250) for _ in range(length)]} for length in (7, 1, 12, 30)]
    rows = [{**row, "labels": row["input_ids"]} for row in rows]
    packed = pack(rows, pad_id=0)
    assert (packed["labels"] != IGNORED).sum() == sum(len(row["input_ids"]) - 1 for row in rows)
    alone = [model(input_ids=torch.tensor([row["input_ids"]])).logits[0] for row in rows]
    together = model(input_ids=packed["input_ids"], position_ids=packed["position_ids"], use_cache=False).logits[0]
    # A convolution reads on over the border, which is why such a model is not packed.
    assert torch.allclose(torch.cat(alone), together, atol=1e-5) == apart


def test_a_packed_batch_has_the_loss_of_the_padded_one(tmp_path: Path, models_dir: Path) -> None:
    prepared = prepared_job(models_dir, tmp_path / "job")
    trainer = run.build_trainer(prepared, 1, tmp_path / "states")
    rows = [prepared.rows[row] for row in range(6)]
    loss, correct = trainer._score(trainer.network, collate(rows, prepared.pad_id))
    packed_loss, packed_correct = trainer._score(trainer.network, pack(rows, prepared.pad_id))
    assert packed_loss.item() == pytest.approx(loss.item(), rel=1e-5)
    assert packed_correct.sum() == correct.sum()
    assert len(packed_correct) == len(correct)


def test_larger_models_learn_slower_and_what_was_asked_for_is_kept() -> None:
    wanted = Hyperparameters(n_epochs=2, batch_size=5, learning_rate_multiplier=0.5)
    rates = [choose(wanted, parameters=n, tokens_per_epoch=1).learning_rate for n in (10**7, 10**8, 10**9, 10**10)]
    assert rates == sorted(rates, reverse=True)
    choices = choose(wanted, parameters=10**9, tokens_per_epoch=1)
    assert (choices.n_epochs, choices.max_rows, choices.muon) == (2, 5, False)


@pytest.mark.parametrize(("gpu_gib", "batches"), [(0, 1), (16, 1), (48, 2), (80, 3), (140, 4), (192, 4)])
def test_a_larger_gpu_takes_more_at_a_step_and_a_small_model_as_much_anywhere(gpu_gib: int, batches: int) -> None:
    gpu = gpu_gib << 30
    large, small = (choose(Hyperparameters(), parameters=n, tokens_per_epoch=1, gpu_bytes=gpu) for n in (10**8, 10**6))
    assert (large.max_tokens, small.max_tokens) == (batches * BATCH_TOKENS, SMALL_BATCH_TOKENS)


def test_the_rate_warms_up_holds_and_falls_to_a_fiftieth() -> None:
    factors = [rate_factor(done, 200) for done in range(200)]
    assert factors[0] == pytest.approx(0.05)
    assert factors[20:60] == [1.0] * 40
    assert factors[100:] == sorted(factors[100:], reverse=True)
    assert 0.02 < factors[-1] < 0.03
    assert max(rate_factor(done, 3) for done in range(3)) == 1.0


def test_muon_takes_the_matrices_and_adamw_the_rest(models_dir: Path) -> None:
    prepared = prepared_job(models_dir, models_dir.parent / "muon")
    optimiser = build_optimiser(prepared.model, prepared.choices)
    assert isinstance(optimiser, MuonWithAdamW)
    shapes = {parameter.ndim for group in optimiser.muon.param_groups for parameter in group["params"]}
    assert shapes == {2}
    names = {id(parameter): name for name, parameter in prepared.model.named_parameters()}
    others = [names[id(p)] for group in optimiser.adamw.param_groups for p in group["params"]]
    assert "model.embed_tokens.weight" in others
    assert all("norm" in name or "embed" in name for name in others)


def prepared_job(models_dir: Path, folder: Path) -> run.Prepared:
    job_dir = job_folder(folder, models_dir)
    spec = JobSpec.model_validate_json((job_dir / "job.json").read_text())
    with ProgressWriter(job_dir) as writer:
        return run.prepare(spec, job_dir, writer)


def steps_in(job_dir: Path) -> list[Step]:
    return [dated.record for dated in ProgressReader(job_dir).new_records() if isinstance(dated.record, Step)]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize(("model", "changes"), [("tiny", {}), ("tiny-conv", {}), ("tiny", LORA), ("tiny", DPO)])
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, models_dir: Path, model: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parted = (job_folder(tmp_path / name, models_dir, model=model, **changes) for name in ("whole", "parted"))
    run.run_job(whole)

    written = ProgressWriter.write

    def killed_after_step_8(self: ProgressWriter, record: Record) -> None:
        if isinstance(record, Step) and record.step == 9:
            raise KeyboardInterrupt
        written(self, record)

    monkeypatch.setattr(ProgressWriter, "write", killed_after_step_8)
    with pytest.raises(KeyboardInterrupt):
        run.run_job(parted)
    monkeypatch.setattr(ProgressWriter, "write", written)
    run.run_job(parted)

    assert [step.step for step in steps_in(parted)] == [*range(1, 9), *range(7, 13)]
    first = {step.step: step.metrics for step in steps_in(whole)}
    assert {step.step: step.metrics for step in steps_in(parted)} == first
    weights = "adapter_model.safetensors" if changes is LORA else "model.safetensors"
    expected, found = (load_file(folder / "model" / weights) for folder in (whole, parted))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not (parted / "states").exists()


def test_a_run_whose_loss_is_no_number_ends_with_that_reason(tmp_path: Path, models_dir: Path) -> None:
    job_dir = job_folder(tmp_path / "job", models_dir)
    spec = json.loads((job_dir / "job.json").read_text())
    spec["hyperparameters"]["learning_rate_multiplier"] = 1e30
    (job_dir / "job.json").write_text(json.dumps(spec))
    with pytest.raises(TrainingError, match="diverged at step") as error:
        run.run_job(job_dir)
    assert error.value.code == "diverged"


def test_conversations_beyond_the_window_end_the_run_with_that_reason(tmp_path: Path) -> None:
    tiny.build(tmp_path / "models" / "tiny", window=16)
    with pytest.raises(TrainingError, match="No conversation has an assistant turn within the model's 16 tokens"):
        run.run_job(job_folder(tmp_path / "job", tmp_path / "models"))


class Letters:
    """A renderer of one token a letter, whose tokens vary with the rng."""

    stop_ids = frozenset({0})
    pad_id = 0

    def render(self, messages: Any, tools: Any, *, generation: bool = False, rng: Any = None) -> Rendered:
        shift = rng.randrange(1, 90) if rng else 0
        ids = [ord(letter) % 90 + shift for message in messages for letter in message["content"] or "call"]
        return Rendered(ids, [IGNORED, *ids[1:]], None)

    def parse(self, token_ids: Any, state: object) -> dict[str, Any]:
        return {"role": "assistant", "content": ""}


def test_rows_are_cut_to_the_window_and_vary_by_seed_only(tmp_path: Path) -> None:
    source = tmp_path / "training.jsonl"
    source.write_bytes(tiny.jsonl(5))
    written = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2"), ("d", None)):
        writer = RowWriter(tmp_path / f"{name}.arrow", Letters(), 12)
        passed = writer.add(source, seed)
        assert (passed.lengths, passed.cut, passed.empty) == ([12] * 5, 5, 0)
        written.append(writer.finish()[:])
    assert written[0] == written[1]
    assert written[0] != written[2]
    assert written[3]["input_ids"][0] == written[3]["input_ids"][1]


def test_rows_are_padded_on_the_right_and_not_trained_there() -> None:
    batch = collate([{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}, {"input_ids": [8], "labels": [8]}], 9)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [8, -100, -100]]


def test_the_loss_over_trained_tokens_is_the_loss_of_the_whole_model(tmp_path: Path, models_dir: Path) -> None:
    prepared = prepared_job(models_dir, tmp_path / "job")
    trainer = run.build_trainer(prepared, 1, tmp_path / "states")
    rows = [{name: row[:length] for name, row in prepared.rows[i].items()} for i, length in enumerate((20, 60, 40))]
    batch = collate(rows, prepared.pad_id)
    mask = torch.tensor([[i < length for i in range(60)] for length in (20, 60, 40)]).long()
    with torch.no_grad():
        ours = trainer.compute_loss(prepared.model, dict(batch))
        theirs = prepared.model(**batch, attention_mask=mask).loss
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_a_torn_line_is_skipped_and_closed(tmp_path: Path) -> None:
    step = Step(step=1, steps=2, metrics={"train_loss": 1.0}, elapsed=1.0, done=1)
    with ProgressWriter(tmp_path) as writer:
        writer.write(step)
    path = tmp_path / "progress.jsonl"
    path.write_text(path.read_text() + '{"at": 1, "kind": "st')
    reader = ProgressReader(tmp_path)
    assert [dated.record for dated in reader.new_records()] == [step]
    with ProgressWriter(tmp_path) as writer:
        writer.write(step)
    assert [dated.record for dated in reader.new_records()] == [step]


def test_serving_and_training_write_a_conversation_alike(models_dir: Path) -> None:
    renderer = renderer_for(models_dir / "tiny")
    row = tiny.conversation(1)
    whole = renderer.render(row["messages"], row["tools"])
    for turn in (1, 3):
        prompt = renderer.render(row["messages"][:turn], row["tools"], generation=True)
        length = len(prompt.input_ids)
        assert whole.input_ids[:length] == prompt.input_ids
        assert whole.labels[length] == whole.input_ids[length]
