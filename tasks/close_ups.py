"""Picks decisions that came out wrong, a few of each kind, from the files of an evaluation."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from tasks.core.close_up import CloseUp, close_up
from tasks.core.errors import DataError
from tasks.core.evaluation import Comparison, DecisionSet, EvalItem, ItemMeta, Score
from tasks.core.failure import STAGES, FailureKind
from tasks.evaluate import read_scores

# Of each kind and model, in the order of the set and of one conversation each: the same ones in every report.
SHOWN = 4


class Failures(NamedTuple):
    """Decisions of each kind of failure, those of the tuned model first; `missing` says why there are none."""

    of_kind: dict[FailureKind, list[CloseUp]]
    missing: str = ""


def failures_of(comparison: Comparison, decisions: DecisionSet) -> Failures:
    """Return the first few decisions of each kind that the tuned model got wrong, and then the base.

    A set may be larger than memory: it is read line by line. A run whose files are gone has none, and says why.
    """
    try:
        scores = {report.arm: read_scores(report) for report in (comparison.base, comparison.tuned)}
        metas = list(read_metas(Path(decisions.meta_path)))
        _check(scores.values(), metas)
        chosen = _chosen([scores["tuned"], scores["base"]], metas)
        wanted = {place for places in chosen.values() for place in places}
        items = _items(decisions, wanted)
    except DataError as error:
        return Failures({}, str(error))
    return Failures(
        {
            kind: [
                close_up(items[place], metas[place], {arm: of_arm[place] for arm, of_arm in scores.items()})
                for place in places
            ]
            for kind, places in chosen.items()
        }
    )


def _chosen(scores: Sequence[Sequence[Score]], metas: Sequence[ItemMeta]) -> dict[FailureKind, list[int]]:
    """Return the places of the decisions to show, by kind in the order of the kinds."""
    found: dict[FailureKind, list[int]] = {kind: [] for kind in STAGES}
    for of_arm in scores:
        seen: dict[FailureKind, set[str]] = {kind: set() for kind in STAGES}
        for place, (score, meta) in enumerate(zip(of_arm, metas, strict=True)):
            kind = score.failure
            if kind is None or len(seen[kind]) == SHOWN or meta.conversation_id in seen[kind]:
                continue
            seen[kind].add(meta.conversation_id)
            if place not in found[kind]:
                found[kind].append(place)
    return {kind: places for kind, places in found.items() if places}


def _check(scores: Collection[Sequence[Score]], metas: Sequence[ItemMeta]) -> None:
    ids = [meta.item_id for meta in metas]
    if any([score.item_id for score in of_arm] != ids for of_arm in scores):
        raise DataError("The scores are not those of the decisions: one of the two was made again.")


def read_metas(path: Path) -> Iterator[ItemMeta]:
    """Yield the sidecar lines of a set, in order.

    Raises:
        DataError: The file is gone or broken.
    """
    for number, line in enumerate(_lines(path), start=1):
        try:
            yield ItemMeta.model_validate_json(line)
        except ValidationError as error:
            raise DataError(f"{path}, line {number} is not an ItemMeta: {error}") from error


def _items(decisions: DecisionSet, wanted: Collection[int]) -> dict[int, EvalItem]:
    path, digest, found = Path(decisions.path), hashlib.sha256(), dict[int, EvalItem]()
    for place, line in enumerate(_lines(path)):
        digest.update(line)
        if place in wanted:
            try:
                found[place] = EvalItem.model_validate_json(line)
            except ValidationError as error:
                raise DataError(f"{path}, line {place + 1} is not an EvalItem: {error}") from error
    if digest.hexdigest() != decisions.sha256:
        raise DataError(f"{path} changed since the set was made.")
    return found


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror or error}.") from error
