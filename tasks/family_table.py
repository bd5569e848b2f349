"""The replay family as a report or a terminal shows it."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from tasks.core.family import FamilyReport, FamilyRow, family_p_value, family_table, regressions


class Failure(NamedTuple):
    """A story that an arm got wrong."""

    arm: str
    member_id: str
    reasons: tuple[str, ...]


class FamilyTable(NamedTuple):
    """Passes by kind and arm; with two arms the test of their difference, and what the second one lost."""

    arms: tuple[str, ...]
    rows: list[FamilyRow]
    p_value: float | None
    regressions: tuple[str, ...]
    failures: list[Failure]
    pack_sha256: str

    @classmethod
    def of(cls, reports: Sequence[FamilyReport]) -> Self:
        """Return the table of one arm or several; without a member there are no rows.

        Raises:
            EvaluationError: The reports are not of one pack.
        """
        played = [report for report in reports if report.results]
        two = len(played) == 2
        return cls(
            arms=tuple(report.arm for report in played),
            rows=family_table(played),
            p_value=family_p_value(played[0], played[1]) if two else None,
            regressions=regressions(played[0], played[1]) if two else (),
            failures=[
                Failure(report.arm, result.member_id, result.reasons)
                for report in played
                for result in report.results
                if not result.passed
            ],
            pack_sha256=played[0].pack_sha256 if played else "",
        )
