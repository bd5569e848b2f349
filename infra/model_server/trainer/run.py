"""One training job from its folder to its model."""

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from peft import PeftModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast, PrinterCallback
from trl.trainer.sft_config import SFTConfig

from infra.model_server.errors import TrainingError
from infra.model_server.memory import gpu_bytes
from infra.model_server.progress import (
    FINAL_MODEL,
    TRAINING_NAME,
    VALIDATION_NAME,
    Choosable,
    Done,
    Hyperparameters,
    JobSpec,
    Note,
    Planned,
    PreferenceHyperparameters,
    ProgressWriter,
)
from infra.model_server.rendering import Renderer, renderer_for
from infra.model_server.trainer.adapters import RANK, adapter_choices, keeps_apart, load_model
from infra.model_server.trainer.batches import Plan, group, plan_run
from infra.model_server.trainer.checkpoints import last_state, save_model
from infra.model_server.trainer.choices import Choices, choose
from infra.model_server.trainer.device import process_rank, training_device
from infra.model_server.trainer.loop import ConversationTrainer
from infra.model_server.trainer.optimiser import build_optimiser, build_schedule
from infra.model_server.trainer.preference import BETA, PairWriter, PreferenceTrainer, preference_choices
from infra.model_server.trainer.reporting import Reporter, Validation
from infra.model_server.trainer.rows import Pass, RowWriter

DEFAULT_WINDOW = 4096
"""Tokens of a row for models that state no window of their own."""
LARGE_MODEL = 1_000_000_000
"""From this many parameters on, activations are computed twice rather than kept."""


class Prepared(NamedTuple):
    """Everything that a run needs."""

    model: Any
    rows: Dataset
    plan: Plan
    choices: Choices
    tokens: int
    validation: Validation | None
    pad_id: int
    beta: float | None
    """Of preference optimisation; None where conversations are imitated."""


def run_job(job_dir: Path) -> None:
    """Train the job of a folder, resuming where an earlier start of it left a state; end early if asked to pause.

    Raises:
        TrainingError: if the data or the model do not allow it.
        OSError: if the disk does not.
    """
    spec = JobSpec.model_validate_json((job_dir / "job.json").read_text(encoding="utf-8"))
    torch.manual_seed(spec.seed)
    is_first = process_rank() == 0
    with ProgressWriter(job_dir, silent=not is_first) as writer:
        prepared = prepare(spec, job_dir, writer)
        trainer = build_trainer(prepared, spec.seed, job_dir / "states")
        validation = prepared.validation
        if isinstance(trainer, PreferenceTrainer):
            validation = _with_references(trainer, prepared)
        trainer.add_callback(Reporter(trainer, prepared.plan, validation, writer, job_dir=job_dir, base=spec.model_dir))
        state = last_state(job_dir / "states")
        trainer.train(resume_from_checkpoint=None if state is None else str(state))
        if not is_first or trainer.state.global_step < len(prepared.plan.batches):
            return
        save_model(trainer.network, spec.model_dir, job_dir / FINAL_MODEL)
        writer.write(Done(tokens=prepared.tokens))
    for left in ("states", "rendered"):
        shutil.rmtree(job_dir / left, ignore_errors=True)


def prepare(spec: JobSpec, job_dir: Path, writer: ProgressWriter) -> Prepared:
    """Load the model, render the rows, and plan the steps.

    Raises:
        TrainingError: if there is nothing to train on.
    """
    renderer = renderer_for(spec.model_dir)
    model = load_model(spec)
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None) or DEFAULT_WINDOW
    beta = _beta(spec.hyperparameters)
    kind = RowWriter if beta is None else PairWriter
    rows = kind(_rendered(job_dir) / "training.arrow", renderer, window)
    first = rows.add(job_dir / TRAINING_NAME, f"{spec.seed}:rows:0")
    if not first.lengths:
        raise TrainingError(
            f"No conversation has an assistant turn within the model's {window} tokens.", "invalid_training_file"
        )
    _note_lost(first, window, writer)
    choices = _choose(spec, model, first, beta)
    passes = [first] * choices.n_epochs
    if beta is None:
        # Rendered anew for each epoch, since renderers may vary what carries no meaning.
        passes[1:] = [
            rows.add(job_dir / TRAINING_NAME, f"{spec.seed}:rows:{epoch}") for epoch in range(1, choices.n_epochs)
        ]
    lengths, row_count = [one.lengths for one in passes], len(first.lengths)
    plan = plan_run(lengths, max_tokens=choices.max_tokens, max_rows=choices.max_rows, seed=spec.seed)
    if beta is not None:
        plan = plan._replace(batches=[[row % row_count for row in batch] for batch in plan.batches])
    tokens = sum(one.tokens for one in passes)
    trained = f"an adapter of rank {RANK}" if isinstance(model, PeftModel) else "all weights"
    writer.write(_planned(choices, plan, row_count, tokens, trained, beta))
    validation = _validation(job_dir, kind, renderer, window, choices, spec.seed)
    return Prepared(model, rows.finish(), plan, choices, tokens, validation, renderer.pad_id, beta)


def _choose(spec: JobSpec, model: Any, first: Pass, beta: float | None) -> Choices:
    choices = choose(
        spec.hyperparameters,
        parameters=model.num_parameters(),
        tokens_per_epoch=first.tokens,
        gpu_bytes=gpu_bytes(),
    )
    if isinstance(model, PeftModel):
        choices = adapter_choices(choices)
    return choices if beta is None else preference_choices(choices)


def build_trainer(prepared: Prepared, seed: int, states: Path) -> ConversationTrainer:
    """Return a trainer that is ready to train."""
    device = training_device()
    steps = len(prepared.plan.batches)
    config = SFTConfig(
        output_dir=str(states),
        max_steps=steps,
        per_device_train_batch_size=1,
        use_cpu=device.kind == "cpu",
        bf16=device.bf16,
        activation_checkpointing=prepared.model.num_parameters() >= LARGE_MODEL,
        max_grad_norm=1.0,
        logging_strategy="no",
        save_strategy="no",
        save_total_limit=1,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=device.kind == "cuda",
        dataset_kwargs={"skip_prepare_dataset": True},
        seed=seed,
    )
    optimiser = build_optimiser(prepared.model, prepared.choices)
    make: Callable[..., ConversationTrainer] = partial(ConversationTrainer, packed=_packs(prepared.model))
    if prepared.beta is not None:
        make = partial(PreferenceTrainer, beta=prepared.beta)
    trainer = make(
        batches=prepared.plan.batches,
        pad_id=prepared.pad_id,
        model=prepared.model,
        args=config,
        train_dataset=prepared.rows,
        processing_class=_no_tokenizer(),
        optimizers=(optimiser, build_schedule(optimiser, steps)),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _packs(model: Any) -> bool:
    """Tell whether to put the conversations of a step into one row rather than to pad them.

    Attention that takes a mask would compute all pairs of tokens of the row; flash-attn's computes each conversation's.
    """
    network: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    return network.config._attn_implementation == "flash_attention_2" and keeps_apart(network)


def _validation(
    job_dir: Path, kind: type[RowWriter], renderer: Renderer, window: int, choices: Choices, seed: int
) -> Validation | None:
    if not (job_dir / VALIDATION_NAME).is_file():
        return None
    rows = kind(_rendered(job_dir) / "validation.arrow", renderer, window)
    lengths = rows.add(job_dir / VALIDATION_NAME, None).lengths
    if not lengths:
        raise TrainingError(
            f"No validation conversation has an assistant turn within the model's {window} tokens.",
            "invalid_validation_file",
        )
    order = random.Random(f"{seed}:validation")
    batches = group(lengths, order, max_tokens=choices.max_tokens, max_rows=choices.max_rows)
    return Validation(rows.finish(), batches)


def _rendered(job_dir: Path) -> Path:
    # Each process renders for itself, which gives the same rows and needs no waiting for each other.
    return job_dir / "rendered" / str(process_rank())


def _planned(choices: Choices, plan: Plan, rows: int, tokens: int, trained: str, beta: float | None) -> Planned:
    steps = len(plan.batches)
    mean_rows = max(round(rows * choices.n_epochs / steps), 1)
    size = (
        f"{choices.max_rows} conversations a step"
        if choices.max_rows
        else f"up to {choices.max_tokens} tokens a step (about {mean_rows} conversations)"
    )
    kind = "Muon and AdamW" if choices.muon else "AdamW"
    chosen = Hyperparameters(
        n_epochs=choices.n_epochs,
        batch_size=choices.max_rows or mean_rows,
        learning_rate_multiplier=choices.learning_rate_multiplier,
    )
    return Planned(
        hyperparameters=chosen if beta is None else PreferenceHyperparameters(**chosen.model_dump(), beta=beta),
        steps=steps,
        tokens=tokens,
        message=f"Training on {rows} conversations for {choices.n_epochs} epochs, {steps} steps, {tokens} tokens: "
        f"{size}, {kind} at a rate of {choices.learning_rate:g} on {trained}",
    )


def _note_lost(first: Pass, window: int, writer: ProgressWriter) -> None:
    if first.cut:
        message = f"{first.cut} conversations are longer than the model's {window} tokens; their ends are not trained"
        writer.write(Note(name="cut", level="warn", message=message))
    if first.empty:
        message = f"{first.empty} conversations have no assistant turn within {window} tokens and are left out"
        writer.write(Note(name="empty", level="warn", message=message))


def _with_references(trainer: PreferenceTrainer, prepared: Prepared) -> Validation | None:
    """Let a trainer note how likely it finds all answers before it learns; return the validation with that."""
    every_row_once = prepared.plan.batches[: prepared.plan.epoch_ends[0]]
    trainer.train_dataset = trainer.with_references(prepared.rows, every_row_once)
    held_out = prepared.validation
    if held_out is None:
        return None
    return held_out._replace(rows=trainer.with_references(held_out.rows, held_out.batches))


def _beta(chosen: Choosable) -> float | None:
    if not isinstance(chosen, PreferenceHyperparameters):
        return None
    return BETA if chosen.beta == "auto" else chosen.beta


def _no_tokenizer() -> Any:
    """Return an empty tokenizer: TRL asks for one, but rows come as tokens and are padded by our own collator."""
    tokenizer: Any = PreTrainedTokenizerFast
    return tokenizer(tokenizer_object=Tokenizer(WordLevel({"<pad>": 0}, "<pad>")), pad_token="<pad>")
