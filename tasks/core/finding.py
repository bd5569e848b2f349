"""What a look at all stores finds left behind, and what was done about it."""

from typing import Literal

from tasks.core.record import Record

Kind = Literal["run", "job", "upload", "deployment", "base", "model"]
# finished: nothing is left to do. adopted: the next run goes on with it. reported: a person decides.
Outcome = Literal["finished", "adopted", "reported"]


class Finding(Record):
    """One thing out of order. `note` says what it is and, where something is left to do, what."""

    kind: Kind
    id: str
    outcome: Outcome
    note: str
