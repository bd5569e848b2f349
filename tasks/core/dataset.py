"""Dataset rows, their sidecar, and the files that hold them."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from tasks.core.conversation import Conversation
from tasks.core.record import Record, sha256_of

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


class LineFault(Record):
    """Why a line of a dataset file is refused; `turn` counts the row's messages from 0."""

    line: int
    gate: str
    reason: str
    turn: int | None = None


class FileReport(Record):
    """What the gates said of a file: `counts` holds the refused lines of each kind, `faults` the first of them."""

    path: str
    rows: int
    passed: int
    counts: dict[str, int]
    faults: tuple[LineFault, ...]
    seconds: float


class UploadedFile(Record):
    """A file at the provider."""

    file_id: str
    sha256: str
    bytes: int


def row_of(conversation: Conversation, tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the dataset row of a conversation with the tools that it was played with."""
    return {
        "messages": [message.to_openai() for message in conversation.messages],
        "tools": tools,
        "parallel_tool_calls": False,
    }


def line_of(value: Mapping[str, Any]) -> bytes:
    """Return a JSON line without its newline: compact, UTF-8, keys in the order given."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def content_key(conversation: Conversation) -> str:
    """Return the digest of all that is said and done in a conversation; exact duplicates share it."""
    return sha256_of([message.to_openai() for message in conversation.messages])


class LeakCheck:
    """Watches, row by row, that the splits share neither customers nor phrasing that only one of them may have."""

    def __init__(self, is_held_out: Callable[[str], bool]) -> None:
        """`is_held_out` says of a template id whether it belongs to the held-out split."""
        self._is_held_out = is_held_out
        self._home: dict[str, Split] = {}

    def leak(self, row: RowMeta) -> str | None:
        """Return how this row leaks into a split that came before it, or None."""
        split = self._home.setdefault(row.customer_id, row.split)
        if split != row.split:
            return f"customer {row.customer_id!r} is in {split} and in {row.split}"
        for template_id in row.template_ids:
            if self._is_held_out(template_id) != (row.split == "heldout"):
                return f"conversation {row.conversation_id!r} of {row.split} speaks template {template_id!r}"
        return None
