"""Conversations of an earlier contract: those that its change does not touch are not held again."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from tasks.blueprints import Place
from tasks.core.blueprint import Take
from tasks.core.contract import Contract, is_touched
from tasks.core.errors import DataError
from tasks.core.record import Record
from tasks.files import read_bytes, write_atomically

LINEAGE = "lineage.json"


class Lineage(Record):
    """What shaped the takes of a folder: `kin` is the digest of everything but the tools, the policy included."""

    kin: str
    contract: Contract


def found(folder: Path, lineage: Lineage) -> None:
    """Write down what shapes the takes of a folder.

    Raises:
        DataError: The folder cannot be written.
    """
    write_atomically(folder / LINEAGE, lineage.model_dump_json(indent=2).encode() + b"\n")


def kin_of(folder: Path, lineage: Lineage) -> list[tuple[Path, Contract]]:
    """Return the folders beside one whose takes differ by their tools alone, the last one first.

    Raises:
        DataError: A lineage is broken.
    """
    beside = [path for path in folder.parent.glob(f"*/{LINEAGE}") if path.parent != folder]
    read = [(path.parent, _lineage(path)) for path in sorted(beside, key=lambda p: p.stat().st_mtime, reverse=True)]
    return [(path, other.contract) for path, other in read if other.kin == lineage.kin]


def _lineage(path: Path) -> Lineage:
    try:
        return Lineage.model_validate_json(read_bytes(path))
    except ValidationError as error:
        raise DataError(f"{path} is not the lineage of conversations; delete it to hold them all again.") from error


def earlier_take(place: Place, kin: Sequence[tuple[Path, Contract]], served: Contract) -> Take | None:
    """Return the take that an earlier contract has for a place, where it passed and uses no tool that is another now.

    Raises:
        DataError: A take is broken.
    """
    for folder, taught in kin:
        path = folder / "takes" / f"{place.id}.json"
        if not path.is_file():
            continue
        take = read_take(path)
        made = take.conversation
        if made is None or not take.passed or (made.customer_id, made.intents) != (place.customer_id, place.intents):
            continue
        if not is_touched(taught, served, {call.name for message in made.messages for call in message.tool_calls}):
            return take
    return None


def read_take(file: Path) -> Take:
    """Return a take.

    Raises:
        DataError: It is broken.
    """
    try:
        return Take.model_validate_json(read_bytes(file))
    except ValidationError as error:
        raise DataError(f"{file} is not a take; delete it to hold the conversation again.") from error
