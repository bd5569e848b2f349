"""Which conversations go into which step."""

import random
from collections.abc import Sequence
from typing import NamedTuple

WINDOW = 64
"""Conversations sorted by length together: enough for little padding, few enough to keep an epoch mixed."""


class Plan(NamedTuple):
    """All steps of a run, in order."""

    batches: list[list[int]]
    """The row numbers of each step."""
    epoch_ends: list[int]
    """The steps (counted from 1) after which an epoch is over."""


def plan_run(epochs: Sequence[Sequence[int]], *, max_tokens: int, max_rows: int | None, seed: int) -> Plan:
    """Return the steps of a run, given the row lengths of each epoch; rows are numbered through all epochs."""
    batches: list[list[int]] = []
    ends: list[int] = []
    first = 0
    for number, lengths in enumerate(epochs):
        rng = random.Random(f"{seed}:batches:{number}")
        batches += [
            [first + row for row in batch] for batch in group(lengths, rng, max_tokens=max_tokens, max_rows=max_rows)
        ]
        ends.append(len(batches))
        first += len(lengths)
    return Plan(batches, ends)


def group(lengths: Sequence[int], rng: random.Random, *, max_tokens: int, max_rows: int | None) -> list[list[int]]:
    """Return the rows in batches of similar length, shuffled.

    A batch holds up to `max_rows` rows where that is given, else as many as fit `max_tokens` once padded to the
    longest; a row that is longer than that alone stands alone.
    """
    rows = list(range(len(lengths)))
    rng.shuffle(rows)
    batches: list[list[int]] = []
    for start in range(0, len(rows), WINDOW):
        batch: list[int] = []
        for row in sorted(rows[start : start + WINDOW], key=lengths.__getitem__):
            # Rows come in rising length, so the newest one is what all are padded to.
            full = len(batch) >= max_rows if max_rows else (len(batch) + 1) * lengths[row] > max_tokens
            if batch and full:
                batches.append(batch)
                batch = []
            batch.append(row)
        batches.append(batch)
    rng.shuffle(batches)
    return batches
