"""Direct preference optimisation (Rafailov et al., 2023): of two answers, the preferred one is to become likelier."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from datasets import Dataset, Features, List, Value  # type: ignore[import-untyped]

from infra.model_server.dataset_validation import read_rows
from infra.model_server.rendering import IGNORED, Rendered
from infra.model_server.trainer.choices import Choices
from infra.model_server.trainer.loop import ConversationTrainer
from infra.model_server.trainer.rows import Pass, RowWriter, collate

BETA = 0.1
"""What `auto` stands for."""
RATE = 0.1
"""The learning rate, as a multiple of that for imitation: the model is only to be bent."""


class PairWriter(RowWriter):
    """Renders files of preference rows into one Arrow file."""

    features: ClassVar[Features] = Features(
        {name: List(Value("int32")) for name in ("input_ids", "labels", "rejected_ids", "rejected_labels")}
    )

    def add(self, source: Path, seed: str | None) -> Pass:
        """Render a file's pairs, always alike; a pair is as long as the longer of its two conversations."""
        lengths: list[int] = []
        tokens = cut = 0
        for number, row in enumerate(read_rows(source), 1):
            chosen, rejected = self._pair(source, number, row)
            longest = max(len(chosen.input_ids), len(rejected.input_ids))
            if longest > self._window:
                # An answer without its end is no longer the one that was judged.
                cut += 1
                continue
            self._writer.write(
                {
                    "input_ids": chosen.input_ids,
                    "labels": chosen.labels,
                    "rejected_ids": rejected.input_ids,
                    "rejected_labels": rejected.labels,
                }
            )
            lengths.append(longest)
            tokens += len(chosen.input_ids) + len(rejected.input_ids)
        return Pass(lengths, tokens, cut=0, empty=cut)

    def _pair(self, source: Path, number: int, row: Mapping[str, Any]) -> tuple[Rendered, Rendered]:
        asked = row["input"]
        tools = asked.get("tools") or []
        before = self._render(source, number, asked["messages"], tools)
        earlier = sum(label != IGNORED for label in before.labels)
        chosen, rejected = (
            _last_turn(self._render(source, number, [*asked["messages"], *row[name]], tools), earlier)
            for name in ("preferred_output", "non_preferred_output")
        )
        return chosen, rejected


def _last_turn(rendered: Rendered, earlier: int) -> Rendered:
    """Return a conversation of which only the last turn counts: what follows the first `earlier` labels."""
    labels, seen = [], 0
    for label in rendered.labels:
        seen += label != IGNORED
        labels.append(label if seen > earlier else IGNORED)
    return rendered._replace(labels=labels)


def collate_pairs(rows: Iterable[Mapping[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    """Return a batch of pairs: all preferred answers, then the others in the same order."""
    rows = list(rows)
    others = [{"input_ids": row["rejected_ids"], "labels": row["rejected_labels"]} for row in rows]
    batch = collate([*rows, *others], pad_id)
    if "reference" in rows[0]:
        batch["reference"] = torch.tensor([row["reference"] for row in rows]).T.flatten()
    return batch


def preference_choices(choices: Choices) -> Choices:
    """Return the numbers of a run on pairs: each weighs twice in the budget of a batch."""
    return choices._replace(max_tokens=choices.max_tokens // 2, learning_rate=RATE * choices.learning_rate)


class PreferenceTrainer(ConversationTrainer):
    """Trains on pairs; its accuracy is the share of pairs whose preferred answer gained on the other."""

    accuracy_name: ClassVar[str] = "reward_accuracy"
    collate_rows: ClassVar[Callable[..., dict[str, torch.Tensor]]] = staticmethod(collate_pairs)

    def __init__(self, *, beta: float, **options: Any) -> None:
        """Train with the weight `beta` on staying close to the model as it is now."""
        self._beta = beta
        super().__init__(**options)

    @torch.no_grad()
    def with_references(self, pairs: Dataset, batches: Sequence[Sequence[int]]) -> Dataset:
        """Return pairs together with how likely the model finds both answers before it is trained."""
        self.network.eval()
        found = torch.zeros(len(pairs), 2)
        for batch in batches:
            inputs = self._prepare_inputs(self._collate([pairs[row] for row in batch]))
            with self.accelerator.autocast():
                found[list(batch)] = self._likelihood(self.network, inputs).view(2, -1).T.cpu()
        self.network.train()
        return pairs.add_column("reference", found.tolist())

    def _score(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss and, for each pair, whether the preferred answer gained on the other."""
        chosen, rejected = (self._likelihood(model, inputs) - inputs["reference"]).chunk(2)
        margin = chosen - rejected
        return -F.logsigmoid(self._beta * margin).mean(), margin > 0

    def _likelihood(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the log-likelihood of each conversation's trained tokens [2 * pairs]."""
        logits, wanted, trained = self._predictions(model, inputs)
        of_tokens = -F.cross_entropy(logits.float(), wanted, reduction="none")
        of_rows = torch.zeros(len(trained), device=of_tokens.device)
        return of_rows.index_add(0, trained.nonzero()[:, 0], of_tokens)
