"""Turns the user's hyper-parameters, `auto` among them, into the numbers of one run."""

from typing import NamedTuple

from infra.model_server.progress import Hyperparameters

SMALL_MODEL = 20_000_000
"""Below this many parameters a model is trained with Muon and at a high rate."""
SMALL_MODEL_TOKENS = 1_400_000
"""What a small model is shown where the user does not say: about five minutes on two cores."""
SMALL_BATCH_TOKENS = 3072
BATCH_TOKENS = 8192
GPU_BYTES_A_BATCH = 24 << 30
"""A GPU with a multiple of this memory takes that multiple of `BATCH_TOKENS` at a step, so that its units have enough
to do, up to `MOST_BATCHES`."""
MOST_BATCHES = 4
MAX_EPOCHS = 8
DEFAULT_EPOCHS = 3


class Choices(NamedTuple):
    """The numbers of one run."""

    n_epochs: int
    max_tokens: int
    """The tokens, padding included, that a batch may have."""
    max_rows: int | None
    """The conversations that a batch may have, where the user said so; then `max_tokens` has no effect."""
    learning_rate: float
    learning_rate_multiplier: float
    muon: bool


def choose(wanted: Hyperparameters, *, parameters: int, tokens_per_epoch: int, gpu_bytes: int = 0) -> Choices:
    """Return the numbers of a run on a model of so many parameters and a data set of so many tokens.

    `gpu_bytes` is the memory of the GPU that trains, 0 where none does.
    """
    small = parameters < SMALL_MODEL
    multiplier = 1.0 if wanted.learning_rate_multiplier == "auto" else wanted.learning_rate_multiplier
    return Choices(
        n_epochs=_auto_epochs(small, tokens_per_epoch) if wanted.n_epochs == "auto" else wanted.n_epochs,
        max_tokens=SMALL_BATCH_TOKENS if small else _batch_tokens(gpu_bytes),
        max_rows=None if wanted.batch_size == "auto" else wanted.batch_size,
        learning_rate=_base_rate(parameters) * multiplier,
        learning_rate_multiplier=multiplier,
        muon=small,
    )


def _auto_epochs(small: bool, tokens_per_epoch: int) -> int:
    if not small:
        return DEFAULT_EPOCHS
    return min(max(round(SMALL_MODEL_TOKENS / max(tokens_per_epoch, 1)), 1), MAX_EPOCHS)


def _batch_tokens(gpu_bytes: int) -> int:
    return BATCH_TOKENS * min(max(gpu_bytes // GPU_BYTES_A_BATCH, 1), MOST_BATCHES)


def _base_rate(parameters: int) -> float:
    """Return AdamW's rate: the larger the model, the lower."""
    for below, rate in ((SMALL_MODEL, 2e-3), (200_000_000, 3e-4), (500_000_000, 1e-4), (2_000_000_000, 5e-5)):
        if parameters < below:
            return rate
    return 2e-5
