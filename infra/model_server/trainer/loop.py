"""The training loop: TRL's trainer on planned batches of rendered rows."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from accelerate.data_loader import prepare_data_loader  # type: ignore[import-untyped]
from torch.utils.data import DataLoader, Dataset
from trl.trainer.sft_trainer import SFTTrainer

from infra.model_server.rendering import IGNORED
from infra.model_server.trainer.rows import collate, pack


class Figures(NamedTuple):
    """The mean loss and the share of tokens predicted right, over trained tokens only."""

    loss: float
    accuracy: float


class ConversationTrainer(SFTTrainer):
    """Trains on batches that were planned beforehand, and computes logits for the trained tokens only.

    The rows are tokens and labels already, so nothing of TRL's data preparation is used. Its own memory-saving head
    scores every position on a CPU, which costs a tenth of the speed there.

    Several processes share the rows of each batch, and each of their trained tokens counts alike, so that they take the
    very steps that one process takes.
    """

    accuracy_name: ClassVar[str] = "mean_token_accuracy"
    """What is reported as its accuracy."""
    collate_rows: ClassVar[Callable[..., dict[str, torch.Tensor]]] = staticmethod(collate)

    def __init__(self, *, batches: list[list[int]], pad_id: int, packed: bool = False, **options: Any) -> None:
        """Train on `batches`, lists of row numbers of `options["train_dataset"]`, in this order.

        With `packed`, the conversations of a batch stand in one row.
        """
        self._batches = batches
        self._collate = partial(pack if packed else self.collate_rows, pad_id=pad_id)
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
        """Return this process's share of the planned batches."""
        rows = cast("Dataset[Any]", self.train_dataset)
        rank, count = self.accelerator.process_index, self.accelerator.num_processes
        # A process for which a batch has no row takes part with the first one, which then counts nothing.
        shares = [batch[rank::count] or batch[:1] for batch in self._batches]
        batches = DataLoader(rows, batch_sampler=shares, collate_fn=self._collate)
        # As for a single process, since they are shared out already.
        device = self.accelerator.device
        options = {"device": device, "num_processes": 1, "process_index": 0, "put_on_device": True}
        return cast("DataLoader[Any]", prepare_data_loader(batches, **options))

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the mean loss over the trained tokens of a batch; its gradients' mean over all processes is right."""
        loss, correct = self._score(model, inputs)
        takes_part = self.accelerator.process_index < len(self._batches[self.state.global_step])
        own = correct.numel() * takes_part
        figures = torch.stack([loss.detach() * own, correct.sum() * takes_part, torch.full_like(loss.detach(), own)])
        total, right, tokens = self._over_all(figures)
        self.last_loss, self.last_accuracy = total / tokens, right / tokens
        weight: torch.Tensor = own * self.accelerator.num_processes / tokens
        return loss * weight

    def agreed(self, *wishes: bool) -> list[bool]:
        """Return what the first process wishes, so that all do the same."""
        own = [wish and self.accelerator.is_main_process for wish in wishes]
        return [wish > 0 for wish in self._over_all(torch.tensor(own).float().to(self.accelerator.device)).tolist()]

    def _over_all(self, figures: torch.Tensor) -> torch.Tensor:
        """Return figures added up over all processes."""
        return cast("torch.Tensor", self.accelerator.reduce(figures, "sum"))

    @torch.no_grad()
    def figures(self, dataset: "Dataset[Any]", batches: Sequence[Sequence[int]]) -> Figures:
        """Return the figures of some batches of rows, each trained token counted once."""
        self.network.eval()
        sums = torch.zeros(3, dtype=torch.float64, device=self.accelerator.device)
        for batch in batches[self.accelerator.process_index :: self.accelerator.num_processes]:
            inputs = self._prepare_inputs(self._collate([dataset[row] for row in batch]))
            with self.accelerator.autocast():
                loss, correct = self._score(self.network, inputs)
            sums += torch.stack([loss * correct.numel(), correct.sum(), torch.full_like(loss, correct.numel())])
        self.network.train()
        total, right, tokens = self._over_all(sums).tolist()
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
            where = {name: inputs[name] for name in ("position_ids",) if name in inputs}
            logits = model(input_ids=inputs["input_ids"], use_cache=False, **where).logits
        finally:
            trained, self._trained = self._trained, None
        return logits[0], targets[trained], trained

    def _keep_trained(self, head: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Hand the output layer [1, trained tokens, width] instead of [rows, positions, width]."""
        if self._trained is None:
            return inputs
        hidden, *rest = inputs
        return (hidden[self._trained].unsqueeze(0), *rest)
