"""What validation says of a file of chat rows: findings with place and remedy, counts, and the limits of providers."""

from typing import Literal, NamedTuple

from tasks.core.record import Record


class Finding(Record):
    """One thing that is wrong: in which file and line (0: the whole file), at which JSON path, and how to mend it."""

    severity: Literal["error", "warning"]
    code: str
    file: str
    line: int
    path: str
    message: str
    remedy: str


class FileReport(Record):
    """What was found in a file: every kind of finding with its count, and the first of each kind.

    Tokens are estimated, tools and system prompts included.
    """

    file: str
    bytes: int
    rows: int
    good_rows: int
    tokens: int
    longest_row_tokens: int
    errors: dict[str, int]
    warnings: dict[str, int]
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether a provider would take the file."""
        return not self.errors


class Limits(NamedTuple):
    """What a provider takes of a training file, by its documentation."""

    provider: str
    file_bytes: int
    row_tokens: int
    fewest_rows: int


PROVIDER_LIMITS = (
    Limits("OpenAI", 512 * 10**6, 65_536, 10),
    Limits("Azure", 512 * 10**6, 65_536, 10),
)
