"""Takes a champion back, and ends the moves of the registry that were begun, whatever was killed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tasks import train
from tasks.artifacts import workspace
from tasks.champion import write_champion
from tasks.clients import openai_client
from tasks.core.config import Profile
from tasks.core.errors import PromotionError, ProviderError, ProviderUnavailableError
from tasks.core.promotion import RegisteredVersion, Rollback
from tasks.core.record import Record
from tasks.files import write_atomically
from tasks.progress import stage
from tasks.registry import BUNDLE_SHA_TAG, CHAMPION, LONGEST_REASON, PREVIOUS, Move, Registry, open_registry

Clock = Callable[[], float]


class Order(NamedTuple):
    """Who orders a rollback and why; the same order, given again, is carried out once."""

    by: str
    reason: str
    key: str


def rollback(profile: Profile, order: Order, *, now: Clock = time.time) -> Rollback:
    """Make the previous champion the champion again, and the one that was taken back the previous.

    So a rollback of a rollback restores what was there before both. One that was killed is finished, not undone.

    Raises:
        PromotionError: There is no champion, or none before it, or the provider does not serve that one any more.
        ServiceError: MLflow does not answer.
    """
    with stage("rollback") as progress, opened(profile, profile.promotion.registered_model) as registry:
        made = finish(profile, registry) or _done_before(registry, order)
        if made is None:
            move = _backwards(profile, registry, order, now())
            registry.write(move)
            made = _take_back(profile, registry, move)
        progress.result(made.sentence)
    return made


def _done_before(registry: Registry, order: Order) -> Rollback | None:
    last = registry.last_move()
    return _rollback_of(registry, last) if last and (last.kind, last.key) == ("rollback", order.key) else None


def _backwards(profile: Profile, registry: Registry, order: Order, at: float) -> Move:
    champion, previous = registry.version_at(CHAMPION), registry.version_at(PREVIOUS)
    if champion is None or previous is None:
        found = f"{champion.model_id!r} is the first champion" if champion else "there is no champion"
        raise PromotionError(
            f"Nothing to go back to: {found} of {registry.name!r} in MLflow. `zava promote` promotes a run's model."
        )
    if previous.provider == profile.provider.place:
        _check_served(profile, previous)
    return Move(
        kind="rollback",
        key=order.key,
        champion=previous.number,
        previous=champion.number,
        at=at,
        by=order.by,
        reason=order.reason[:LONGEST_REASON],
    )


def _check_served(profile: Profile, version: RegisteredVersion) -> None:
    """Refuse to go back to a model that is gone; a provider that is down must not stand in the way of a rollback."""
    try:
        with openai_client(profile.provider) as client:
            train.version_of(client, version.model_id)
    except ProviderUnavailableError:
        return
    except ProviderError as error:
        raise PromotionError(
            f"Cannot go back to {version.model_id!r}, version {version.number}: {error} Point the alias 'previous' at "
            "another version in the MLflow UI, and roll back then."
        ) from error


def finish(profile: Profile, registry: Registry) -> Rollback | None:
    """End a move that was begun, also by a process that was killed; return the rollback if it was one.

    Raises:
        DataError: The workspace cannot be written.
    """
    move = registry.last_move()
    if move is None or move.done:
        return None
    if move.kind == "rollback":
        return _take_back(profile, registry, move)
    _move(profile, registry, move)
    return None


def _take_back(profile: Profile, registry: Registry, move: Move) -> Rollback:
    """Leave the bundle of a rollback that was begun, in the run of the model that is taken back, and move."""
    made = _rollback_of(registry, move)
    bundle = write_bundle(workspace(profile).root / "rollbacks", "rollback", made.at, made)
    registry.keep(made.removed.run_id, bundle, made.sentence)
    _move(profile, registry, move)
    return made


def _rollback_of(registry: Registry, move: Move) -> Rollback:
    restored = registry.version(move.champion)
    return Rollback(
        at=move.at,
        by=move.by,
        reason=move.reason,
        removed=registry.version(move.previous or ""),
        restored=restored,
        restored_bundle_sha256=registry.tag_of(restored.number, BUNDLE_SHA_TAG),
    )


def _move(profile: Profile, registry: Registry, move: Move) -> None:
    registry.carry_out(move)
    write_champion(profile, registry)
    registry.write(move.model_copy(update={"done": True}))


@contextmanager
def opened(profile: Profile, name: str) -> Iterator[Registry]:
    """Open the registry for a change, one process of a workspace at a time: MLflow has no compare-and-swap.

    Raises:
        ServiceError: MLflow does not answer, or refuses.
    """
    with (
        workspace(profile).ledger.locked("promotion"),
        open_registry(profile.tracking, name, "change the registry") as registry,
    ):
        yield registry


def write_bundle(folder: Path, what: str, at: float, bundle: Record) -> Path:
    """Write an evidence bundle under the time of its decision, and return its file.

    Raises:
        DataError: The folder cannot be written.
    """
    path = folder / f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%S.%fZ}-{what}.json"
    write_atomically(path, bundle.model_dump_json(indent=2).encode() + b"\n")
    return path
