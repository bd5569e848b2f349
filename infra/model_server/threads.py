"""How many of the machine's cores one forward pass is worth."""

import torch

WORTH_SHARING = 100_000_000
"""Multiplications from which on several threads win more than they lose to waiting for each other."""

_CORES = torch.get_num_threads()


def use_threads(multiplications: int) -> None:
    """Let this thread's next forward pass use all cores if it is large, else one: a training may run beside."""
    torch.set_num_threads(_CORES if multiplications >= WORTH_SHARING else 1)
