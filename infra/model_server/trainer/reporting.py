"""Tells the server what a run does, and decides when it validates and saves."""

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset  # type: ignore[import-untyped]
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from infra.model_server.errors import TrainingError
from infra.model_server.progress import PAUSE_NAME, Checkpoint, ProgressWriter, Step
from infra.model_server.trainer.batches import Plan
from infra.model_server.trainer.checkpoints import save_model
from infra.model_server.trainer.device import process_rank
from infra.model_server.trainer.loop import ConversationTrainer

VALIDATE_EVERY = 50
VALIDATION_BATCHES = 4
STATE_EVERY_SECONDS = 60.0
"""A killed run loses at most about this much work."""
STATE_SHARE = 20.0
"""Between two states lies at least this multiple of the time that writing one takes."""


class Validation(NamedTuple):
    """The held-out rows, in a shuffled order of batches."""

    rows: Dataset
    batches: list[list[int]]


class Reporter(TrainerCallback):
    """Reports each step once, and asks for a state at the end of an epoch and every minute."""

    def __init__(
        self,
        trainer: ConversationTrainer,
        plan: Plan,
        validation: Validation | None,
        writer: ProgressWriter,
        *,
        job_dir: Path,
        base: Path,
    ) -> None:
        """Report on `trainer`, whose models go to `job_dir` with the files of `base`."""
        self._trainer = trainer
        self._steps = len(plan.batches)
        self._epoch_ends = frozenset(plan.epoch_ends)
        self._validation = validation
        self._writer = writer
        self._job_dir = job_dir
        self._base = base
        self._started = self._saved = time.monotonic()
        self._first_step = 0
        self._save_asked = 0.0
        self._save_cost = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._started = self._saved = time.monotonic()
        self._first_step = state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Report the step; at the end of an epoch also save a model that can be sampled.

        Raises:
            TrainingError: if the loss is no longer a number.
        """
        step = state.global_step
        epoch_over = step in self._epoch_ends
        metrics = self._metrics(step, epoch_over)
        if not all(map(math.isfinite, metrics.values())):
            raise TrainingError(
                f"The training diverged at step {step}: {metrics}. Try a lower learning_rate_multiplier.", "diverged"
            )
        elapsed = time.monotonic() - self._started
        done = step - self._first_step
        self._writer.write(Step(step=step, steps=self._steps, metrics=metrics, elapsed=elapsed, done=done))
        if epoch_over and process_rank() == 0:
            folder = f"checkpoints/step-{step}"
            (self._job_dir / "checkpoints").mkdir(exist_ok=True)
            save_model(self._trainer.network, self._base, self._job_dir / folder)
            self._writer.write(Checkpoint(step=step, folder=folder))
        pausing, due = self._trainer.agreed((self._job_dir / PAUSE_NAME).exists(), self._state_is_due())
        unfinished = step < self._steps
        control.should_save = unfinished and (epoch_over or pausing or due)
        control.should_training_stop = control.should_training_stop or pausing
        self._save_asked = time.monotonic()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Note what a state costs."""
        self._saved = time.monotonic()
        self._save_cost = self._saved - self._save_asked

    def _state_is_due(self) -> bool:
        return time.monotonic() - self._saved > max(STATE_EVERY_SECONDS, STATE_SHARE * self._save_cost)

    def _metrics(self, step: int, epoch_over: bool) -> dict[str, float]:
        name = self._trainer.accuracy_name
        metrics = {
            "train_loss": self._trainer.last_loss.item(),
            f"train_{name}": self._trainer.last_accuracy.item(),
        }
        if self._validation is None:
            return metrics
        if step % VALIDATE_EVERY == 0 or epoch_over:
            few = self._validation.batches[:VALIDATION_BATCHES]
            metrics["valid_loss"], metrics[f"valid_{name}"] = self._trainer.figures(self._validation.rows, few)
        if epoch_over:
            metrics["full_valid_loss"], metrics[f"full_valid_{name}"] = self._trainer.figures(
                self._validation.rows, self._validation.batches
            )
        return metrics
