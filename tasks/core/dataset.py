"""Dataset rows, their sidecar, and the files that hold them."""

from typing import Any, Literal

from tasks.core.record import Record

Split = Literal["train", "valid", "heldout"]


class DatasetRow(Record):
    """One JSONL line as a provider takes it: exactly these three keys."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    parallel_tool_calls: bool = False


class RowMeta(Record):
    """The sidecar line of a row, in the same order; `row_sha256` is over the row's line without its newline."""

    row_sha256: str
    conversation_id: str
    scenario_id: str
    customer_id: str
    split: Split
    teacher: str
    intents: tuple[str, ...]
    template_ids: tuple[str, ...]


class DatasetFile(Record):
    """A JSONL file on disk with its sidecar. `sha256` is over the file's bytes."""

    path: str
    meta_path: str
    split: Split
    rows: int
    sha256: str


class Funnel(Record):
    """How many conversations each gate stopped, in the order of the gates, and why."""

    played: int
    stopped: dict[str, int]
    reasons: dict[str, int]
    kept: int


class DatasetSplit(Record):
    """What preparation made: the training, validation and held-out files, and the funnel."""

    train: DatasetFile
    valid: DatasetFile
    heldout: DatasetFile
    funnel: Funnel
    policy_sha256: str
    tools_sha256: str


class UploadedFile(Record):
    """A file at the provider."""

    file_id: str
    sha256: str
    bytes: int
