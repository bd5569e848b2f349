"""Dataset rows, their sidecar, and the files that hold them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal, NamedTuple

from pydantic import Field

from tasks.core.conversation import Conversation
from tasks.core.record import Record
from tasks.core.scenario import Phrasing
from tasks.core.variety import SpokenVariety

Split = Literal["train", "valid", "heldout"]
# The file of the held-out errands in the words of training.
SEEN_PHRASING = "seen_phrasing"


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
    phrasing: Phrasing = "own"


class DatasetFile(Record):
    """A JSONL file on disk with its sidecar. `sha256` is over the file's bytes."""

    path: str
    meta_path: str
    split: Split
    rows: int
    sha256: str

    @property
    def name(self) -> str:
        """The name of the file, without folder and ending."""
        return PurePath(self.path).stem


class FunnelStep(NamedTuple):
    """One gate of the funnel: how many came to it and got through, why the others did not, and one of those."""

    gate: str
    came: int
    passed: int
    reasons: str
    example: str


class Funnel(Record):
    """How many conversations each gate stopped, in the order of the gates, and why, with an example of each reason."""

    played: int
    stopped: dict[str, int]
    reasons: dict[str, int]
    kept: int
    examples: dict[str, str] = Field(default_factory=dict)

    def steps(self) -> Iterator[FunnelStep]:
        """Yield the gates in order with what came to each and what it let through."""
        came = self.played
        for gate, stopped in self.stopped.items():
            why = {reason: count for reason, count in self.reasons.items() if reason.partition(":")[0] == gate}
            shown = ", ".join(f"{reason.partition(': ')[2] or reason} ({count:,})" for reason, count in why.items())
            example = next((self.examples[reason] for reason in why if reason in self.examples), "")
            yield FunnelStep(gate, came, came - stopped, shown, example)
            came -= stopped


class DatasetSplit(Record):
    """What preparation made: the training, validation and held-out files, and the funnel.

    `overlap` is the share of the held-out customers' runs of eight words that training customers say too; `coverage`
    counts the training rows' calls and requests by 'tool outcome rule'; `variety` is of the first thousand of them.
    `seen_phrasing` holds the held-out errands once more, told in the words of training: it neither trains nor counts in
    the funnel. A teacher's dataset has none, since its customers speak no templates.
    """

    train: DatasetFile
    valid: DatasetFile
    heldout: DatasetFile
    funnel: Funnel
    overlap: float = 0.0
    coverage: dict[str, int] = Field(default_factory=dict)
    variety: tuple[SpokenVariety, ...] = ()
    policy_sha256: str
    tools_sha256: str
    seen_phrasing: DatasetFile | None = None

    @property
    def files(self) -> tuple[DatasetFile, ...]:
        """The files of rows that were made."""
        return self.train, self.valid, self.heldout, *((self.seen_phrasing,) if self.seen_phrasing else ())


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
