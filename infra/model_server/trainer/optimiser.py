"""The optimisers and the schedule of a run."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from infra.model_server.muon import Muon
from infra.model_server.trainer.choices import Choices

WARM_UP_STEPS = 20
FULL_RATE_SHARE = 0.3
"""The part of a run at the full rate; over the rest the rate falls in a line."""
LAST_RATE = 0.02
MUON_RATE = 5.0
"""Muon's rate for matrices, as a multiple of AdamW's for the rest."""


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon for matrices and AdamW for embeddings, norms and convolutions, as one optimiser."""

    def __init__(self, matrices: list[torch.nn.Parameter], others: list[torch.nn.Parameter], rate: float) -> None:
        """Take the matrices at five times `rate` and the others at `rate`."""
        self.muon = Muon(matrices, lr=MUON_RATE * rate)
        self.adamw = torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        super().__init__([*matrices, *others], {"lr": rate})
        # The very groups of the two, so that a schedule that sets their rates reaches them.
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one step of both."""
        loss = None if closure is None else closure()
        self.muon.step()
        self.adamw.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of both."""
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]


def build_optimiser(model: torch.nn.Module, choices: Choices) -> torch.optim.Optimizer:
    """Return the optimiser of a model's trainable parameters."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if choices.muon:
        matrices = [p for name, p in named if p.ndim == 2 and not _is_embedding(name)]
        others = [p for name, p in named if p.ndim != 2 or _is_embedding(name)]
        return MuonWithAdamW(matrices, others, choices.learning_rate)
    decayed = [p for _, p in named if p.ndim >= 2]
    plain = [p for _, p in named if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=choices.learning_rate, betas=(0.9, 0.98), fused=True)


def build_schedule(optimiser: torch.optim.Optimizer, steps: int) -> LambdaLR:
    """Return the schedule: a short warm-up, the full rate for a while, then down in a line."""
    return LambdaLR(optimiser, lambda done: rate_factor(done, steps))


def rate_factor(done: int, steps: int) -> float:
    """Return the rate of the step after `done` steps, as a part of the full rate."""
    warm_up = min(1.0, (done + 1) / min(WARM_UP_STEPS, max(steps // 5, 1)))
    left = 1.0 - done / max(steps, 1)
    return warm_up * min(1.0, left / (1.0 - FULL_RATE_SHARE) + LAST_RATE)


def _is_embedding(name: str) -> bool:
    return "embed" in name or "lm_head" in name
