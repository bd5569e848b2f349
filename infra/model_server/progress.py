"""What a trainer tells its server: a job's description in, one JSON line per fact out.

Each record has a key that is the same however often a step is done again after a crash, so a reader that stores
by key stores each fact once.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict

SPEC_NAME = "job.json"
PROGRESS_NAME = "progress.jsonl"
LOCK_NAME = "lock"
LOG_NAME = "trainer.log"
PAUSE_NAME = "pause"
"""A file of this name asks the trainer to save its state after the step at hand, and to end."""
TRAINING_NAME = "training.jsonl"
VALIDATION_NAME = "validation.jsonl"
FINAL_MODEL = "model"

Auto = Literal["auto"]
LoraMode = Literal["auto", "always", "never"]
"""Whether a job trains an adapter rather than all weights; `auto` leaves it to the size of the model."""


class Hyperparameters(BaseModel):
    """What the user may choose; `auto` leaves the choice to the trainer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_epochs: int | Auto = "auto"
    batch_size: int | Auto = "auto"
    """Conversations a step; `auto` fills each step up to a number of tokens instead."""
    learning_rate_multiplier: float | Auto = "auto"


class PreferenceHyperparameters(Hyperparameters):
    """What the user of direct preference optimisation may choose."""

    beta: float | Auto
    """How much a step away from the base model weighs; without a default, since it tells the two kinds apart."""


Choosable = PreferenceHyperparameters | Hyperparameters
"""The choices of a job; their kind tells its method."""


class JobSpec(BaseModel):
    """A training job, as its folder's `job.json` holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_id: str
    base: str = ""
    """The id of the model in `model_dir`, by which an adapter names what it stands on."""
    model_dir: Path
    adapter_dir: Path | None = None
    """An adapter on that model, which is trained further."""
    lora: LoraMode = "auto"
    seed: int
    hyperparameters: Choosable


class Planned(BaseModel):
    """The choices made for `auto`, and the work ahead."""

    kind: Literal["planned"] = "planned"
    hyperparameters: Choosable
    steps: int
    tokens: int
    message: str

    @property
    def key(self) -> str:
        """The same in every start of the job."""
        return "planned"


class Step(BaseModel):
    """The figures of one step."""

    kind: Literal["step"] = "step"
    step: int
    steps: int
    metrics: dict[str, float]
    elapsed: float
    """Seconds of training in this start of the job."""
    done: int
    """Steps done in this start of the job."""

    @property
    def key(self) -> str:
        """The same each time this step is done."""
        return f"step:{self.step}"


class Checkpoint(BaseModel):
    """A model was saved that can be sampled; `folder` is relative to the job's folder."""

    kind: Literal["checkpoint"] = "checkpoint"
    step: int
    folder: str

    @property
    def key(self) -> str:
        """The same each time this step is done."""
        return f"checkpoint:{self.step}"


class Note(BaseModel):
    """Something the user should know."""

    kind: Literal["note"] = "note"
    name: str
    level: Literal["info", "warn"]
    message: str

    @property
    def key(self) -> str:
        """The same each time this is said."""
        return f"note:{self.name}"


class Done(BaseModel):
    """The final model lies in the job's folder."""

    kind: Literal["done"] = "done"
    tokens: int

    @property
    def key(self) -> str:
        """The same in every start of the job."""
        return "done"


class Failed(BaseModel):
    """The job cannot go on."""

    kind: Literal["failed"] = "failed"
    code: str
    message: str

    @property
    def key(self) -> str:
        """The same in every start of the job."""
        return "failed"


Record = Planned | Step | Checkpoint | Note | Done | Failed
_KINDS: Mapping[str, type[Record]] = {
    "planned": Planned,
    "step": Step,
    "checkpoint": Checkpoint,
    "note": Note,
    "done": Done,
    "failed": Failed,
}


class Dated(NamedTuple):
    """A record and the Unix time at which it was written."""

    at: int
    record: Record


class ProgressWriter:
    """Appends records to a job's progress file."""

    def __init__(self, job_dir: Path) -> None:
        """Open the file; a line that a crash left half-written is closed, so that readers can skip it."""
        path = job_dir / PROGRESS_NAME
        torn = path.is_file() and path.stat().st_size > 0 and not _ends_in_newline(path)
        self._file = path.open("a", encoding="utf-8")
        if torn:
            self._file.write("\n")

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def write(self, record: Record) -> None:
        """Append a record, and hand it to the operating system before returning."""
        line = {"at": int(time.time()), **record.model_dump(mode="json")}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


class ProgressReader:
    """Reads a job's records as they appear."""

    def __init__(self, job_dir: Path) -> None:
        """Start at the beginning of the file."""
        self._path = job_dir / PROGRESS_NAME
        self._offset = 0

    def new_records(self) -> Iterator[Dated]:
        """Yield the complete records that were not yielded before."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                if record := _parse(line):
                    yield record


def _parse(line: bytes) -> Dated | None:
    """Return the record of a line, or None for one that a crash cut short."""
    try:
        value: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    at = value.pop("at")
    return Dated(at, _KINDS[value["kind"]].model_validate(value))


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
