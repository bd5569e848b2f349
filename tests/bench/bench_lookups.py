"""How well a base finds an identifier by what it belongs to, in generic look-ups that it was not trained on.

    python -m tests.bench.bench_lookups [MODEL_DIR]

For each kind of look-up: the share whose anchors are all right (the record was found), and the share that is right to
the last token, each token given the true ones before it.
"""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from infra.model_server.base import lookups
from infra.model_server.base.corpus import Talk
from infra.model_server.rendering import IGNORED
from infra.model_server.slot_renderer import SlotRenderer

BASE = Path("infra/model_server/base/zava-base")
DIALOGUES, QUESTIONS = 100, 5
KINDS: dict[str, Callable[[random.Random, Talk], list[tuple[str, str]]]] = {
    "a field of a thing, by its name": lookups.order,
    "a variant, by its options": lookups.variants,
    "an id in a table, by its name": lookups.names,
    "a means of payment, by its kind": lookups.kinds,
}


def answers(model: Any, renderer: SlotRenderer, kind: str) -> Iterator[list[tuple[int, int]]]:
    """Yield the (wanted, likeliest) tokens of each answer."""
    rng = random.Random(f"bench {kind}")
    for _ in range(DIALOGUES):
        talk = Talk()
        questions = KINDS[kind](rng, talk)
        rng.shuffle(questions)
        for question, answer in questions[:QUESTIONS]:
            talk.user(question)
            talk.agent(answer)
        rendered = renderer.render(talk.messages, [], rng=rng)
        with torch.no_grad():
            likeliest = model(input_ids=torch.tensor([rendered.input_ids])).logits[0, :-1].argmax(-1).tolist()
        turn: list[tuple[int, int]] = []
        for wanted, guessed in zip([*rendered.labels[1:], IGNORED], [*likeliest, 0], strict=True):
            if wanted != IGNORED:
                turn.append((wanted, guessed))
            elif turn:
                yield turn
                turn = []


def main() -> None:
    """Print a line for each kind."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else BASE
    renderer = SlotRenderer(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    sys.stdout.write(f"{'look-up':34} {'record':>8} {'exact':>8} {'n':>6}\n")
    for kind in KINDS:
        turns = list(answers(model, renderer, kind))
        found = [all(a == b for a, b in turn if renderer.v.is_anchor(a)) for turn in turns]
        exact = [all(a == b for a, b in turn) for turn in turns]
        shares = f"{sum(found) / len(turns):8.1%} {sum(exact) / len(turns):8.1%}"
        sys.stdout.write(f"{kind:34} {shares} {len(turns):6}\n")


if __name__ == "__main__":
    main()
