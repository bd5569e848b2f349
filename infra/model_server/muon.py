"""Muon (momentum, orthogonalised) in the parameters' own precision, matrices of one shape at a time.

`torch.optim.Muon` orthogonalises in bfloat16 and one matrix at a time; on a CPU without bfloat16 arithmetic that
costs more than the whole forward and backward pass of a small model.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch

# Coefficients of the quintic iteration: https://kellerjordan.github.io/posts/muon/
_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalised(stack: torch.Tensor, steps: int) -> torch.Tensor:
    """Return matrices [n, rows, columns] with their singular values moved near 1."""
    wide = stack.shape[1] <= stack.shape[2]
    x = stack if wide else stack.transpose(1, 2)
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x if wide else x.transpose(1, 2)


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay, for 2-D parameters."""

    def __init__(
        self, params: Iterable[torch.nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        """Optimise matrices; `lr` is the step length in units of the orthogonalised update."""
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "ns_steps": 4})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch's stub is narrower
        """Take one step."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[p.shape].append(p)
            for shape, params in by_shape.items():
                directions = torch.stack([self._direction(p, group["momentum"]) for p in params])
                updates = orthogonalised(directions, group["ns_steps"])
                length = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for p, update in zip(params, updates, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-length)
        return loss

    def _direction(self, p: torch.Tensor, momentum: float) -> torch.Tensor:
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        grad = p.grad
        if grad is None:
            raise ValueError("a parameter without a gradient cannot be stepped")
        state["momentum"].lerp_(grad, 1 - momentum)
        return grad.lerp(state["momentum"], momentum)
