"""How many of the machine's cores a forward pass is worth."""

import torch

WORTH_SHARING = 20_000_000
"""Parameters from which on several threads win more than they lose to waiting for each other: those of the small
default read a prompt as fast alone, and whoever asks, or a training, runs beside."""

_CORES = torch.get_num_threads()


def worth_sharing(parameters: int) -> bool:
    """Tell whether a model's forward pass is faster on several cores."""
    return parameters >= WORTH_SHARING


def use_threads(parameters: int) -> None:
    """Let this thread's next forward pass use all cores if the model is large, else one."""
    torch.set_num_threads(_CORES if worth_sharing(parameters) else 1)
