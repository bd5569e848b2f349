"""The training loop: TRL's trainer on planned batches of rendered rows."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset
from trl.trainer.sft_trainer import SFTTrainer

from infra.model_server.rendering import IGNORED
from infra.model_server.trainer.rows import collate


class Figures(NamedTuple):
    """The mean loss and the share of tokens predicted right, over trained tokens only."""

    loss: float
    accuracy: float


class ConversationTrainer(SFTTrainer):
    """Trains on batches that were planned beforehand, and computes logits for the trained tokens only.

    The rows are tokens and labels already, so nothing of TRL's data preparation is used. Its own memory-saving head
    scores every position on a CPU, which costs a tenth of the speed there.
    """

    accuracy_name: ClassVar[str] = "mean_token_accuracy"
    """What is reported as its accuracy."""
    collate_rows: ClassVar[Callable[..., dict[str, torch.Tensor]]] = staticmethod(collate)

    def __init__(self, *, batches: list[list[int]], pad_id: int, **options: Any) -> None:
        """Train on `batches`, lists of row numbers of `options["train_dataset"]`, in this order."""
        self._batches = batches
        self._collate = partial(self.collate_rows, pad_id=pad_id)
        self._trained: torch.Tensor | None = None
        self.last_loss = torch.tensor(0.0)
        self.last_accuracy = torch.tensor(0.0)
        super().__init__(data_collator=self._collate, **options)
        network: Any = self.network
        network.get_output_embeddings().register_forward_pre_hook(self._keep_trained)

    @property
    def network(self) -> torch.nn.Module:
        """The model itself, without what a device or a distribution wraps around it."""
        network: torch.nn.Module = self.accelerator.unwrap_model(self.model)
        return network

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the planned batches."""
        rows = cast("Dataset[Any]", self.train_dataset)
        batches = DataLoader(rows, batch_sampler=self._batches, collate_fn=self._collate)
        return cast("DataLoader[Any]", self.accelerator.prepare(batches))

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the mean loss over the trained tokens of a batch."""
        loss, correct = self._score(model, inputs)
        self.last_loss, self.last_accuracy = loss.detach(), correct.float().mean()
        return loss

    @torch.no_grad()
    def figures(self, dataset: "Dataset[Any]", batches: Sequence[Sequence[int]]) -> Figures:
        """Return the figures of some batches of rows, each trained token counted once."""
        self.network.eval()
        total = right = tokens = 0.0
        for batch in batches:
            inputs = self._prepare_inputs(self._collate([dataset[row] for row in batch]))
            with self.accelerator.autocast():
                loss, correct = self._score(self.network, inputs)
            total += loss.item() * correct.numel()
            right += correct.sum().item()
            tokens += correct.numel()
        self.network.train()
        return Figures(total / tokens, right / tokens)

    def _score(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss and, for each trained token, whether it was the likeliest."""
        logits, wanted, _ = self._predictions(model, inputs)
        return F.cross_entropy(logits.float(), wanted), logits.detach().argmax(-1) == wanted

    def _predictions(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the trained tokens' logits [tokens, vocabulary] and labels, and where they lie [rows, positions]."""
        targets = F.pad(inputs["labels"][:, 1:], (0, 1), value=IGNORED)
        self._trained = targets != IGNORED
        try:
            logits = model(input_ids=inputs["input_ids"], use_cache=False).logits
        finally:
            trained, self._trained = self._trained, None
        return logits[0], targets[trained], trained

    def _keep_trained(self, head: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Hand the output layer [1, trained tokens, width] instead of [rows, positions, width]."""
        if self._trained is None:
            return inputs
        hidden, *rest = inputs
        return (hidden[self._trained].unsqueeze(0), *rest)
