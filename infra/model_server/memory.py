"""How much memory answers may take, where the command line does not say."""

import torch

from infra.model_server.settings import GIBIBYTE, MEBIBYTE

MODELS = 8 * GIBIBYTE
GPU_SHARE = 0.4
"""The part of a GPU's memory for answers; a training on the same GPU has the rest."""
PREFIXES = 256 * MEBIBYTE
GPU_PREFIX_SHARE = 0.125
"""The part of that for prompts that were read: in a model of 600 million parameters 5,000 tokens take 570 MB."""


def gpu_bytes() -> int:
    """Return the memory of the GPU, 0 where there is none."""
    return int(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else 0


def for_models(gpu: int) -> int:
    """Return the bytes that loaded models may take on a machine whose GPU has so many."""
    return int(gpu * GPU_SHARE) or MODELS


def for_prefixes(gpu: int, models: int) -> int:
    """Return the bytes that a model may take to remember prompts, out of what loaded models may."""
    return max(int(models * GPU_PREFIX_SHARE) if gpu else 0, PREFIXES)
