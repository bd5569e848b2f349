"""The replay family: stories like Noah Brown's, each with a world of its own, and what base and tuned made of them.

A member is frozen: it holds its customers, the customer's words and the wanted end, so that it means the same whatever
shop a profile names. The promotion gate reads `regressions`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tasks.core import statistics
from tasks.core.conversation import Message
from tasks.core.errors import EvaluationError
from tasks.core.record import Record
from tasks.core.scenario import GoldCall
from tasks.core.story import YES, Cue, cue_in

RECORDED = "recorded"


class Part(Record):
    """The customer's part. `turns` are said one after another, whatever is asked; then it goes by `answers`.

    `detour` is said once in place of the first yes, and `resume` when the agent has dealt with it.
    """

    opening: str
    answers: dict[Cue, str]
    turns: tuple[str, ...] = ()
    detour: str | None = None
    resume: str | None = None


class Member(Record):
    """One story. `world` is a snapshot; `goal` are the calls that lead to the wanted end, None where it is not known.

    The first call of the tool `fails_once` fails, as if the shop were out of reach for a moment.
    """

    id: str
    kind: str
    world: dict[str, Any]
    part: Part
    goal: tuple[GoldCall, ...] | None
    fails_once: str | None = None


class MemberResult(Record):
    """A played member: what went wrong, if anything, and the whole conversation."""

    member_id: str
    kind: str
    passed: bool
    reasons: tuple[str, ...]
    calls: int
    messages: tuple[Message, ...]


class FamilyReport(Record):
    """What one model made of a pack of members; two are comparable when `pack_sha256`, over the members, is equal.

    `traces_path` is the file of its conversations' spans, where they were recorded.
    """

    arm: str
    model_id: str
    pack_sha256: str
    results: tuple[MemberResult, ...]
    seconds: float
    traces_path: str = ""

    @property
    def passed(self) -> int:
        """How many members came out right."""
        return sum(result.passed for result in self.results)


class FamilyRow(NamedTuple):
    """One kind of story, or all of them: how many, and how many of them each arm got right."""

    kind: str
    members: int
    passed: tuple[int, ...]


class PartCustomer:
    """Speaks a part."""

    def __init__(self, part: Part) -> None:
        """Begin at the beginning."""
        self._part = part
        self._turns = iter(part.turns)
        self._detour = part.detour
        self._resume: str | None = None

    def opening(self) -> str:
        """Return the first words."""
        return self._part.opening

    def answer(self, agent: str) -> str | None:
        """Return what the customer says to the agent's words, or None when there is nothing more to say."""
        if (turn := next(self._turns, None)) is not None:
            return turn
        cue = cue_in(agent)
        if cue == "confirmation":
            return self._confirm()
        if cue in {"farewell", "done"}:
            resumed, self._resume = self._resume, None
            return resumed
        return self._part.answers.get(cue, self._part.answers.get("other"))

    def _confirm(self) -> str:
        if self._detour is None:
            self._resume = None
            return YES
        said, self._detour, self._resume = self._detour, None, self._part.resume
        return said


def family_table(reports: Sequence[FamilyReport]) -> list[FamilyRow]:
    """Return the passes of each kind in the order of the pack, and of all together at the end.

    Raises:
        EvaluationError: The reports are not of one pack.
    """
    if not reports:
        return []
    _check_same_pack(reports)
    kinds = dict.fromkeys(result.kind for result in reports[0].results)
    rows = [_row(kind, [[r for r in report.results if r.kind == kind] for report in reports]) for kind in kinds]
    return [*rows, _row("all", [report.results for report in reports])]


def regressions(base: FamilyReport, candidate: FamilyReport) -> tuple[str, ...]:
    """Return the members that the base gets right and the candidate does not.

    Raises:
        EvaluationError: The reports are not of one pack.
    """
    _check_same_pack([base, candidate])
    right = {result.member_id for result in base.results if result.passed}
    return tuple(r.member_id for r in candidate.results if not r.passed and r.member_id in right)


def family_p_value(base: FamilyReport, candidate: FamilyReport) -> float:
    """Return McNemar's exact p-value of the difference between two models over the members."""
    lost = len(regressions(base, candidate))
    return statistics.mcnemar(lost, len(regressions(candidate, base)))


def _row(kind: str, by_arm: Sequence[Iterable[MemberResult]]) -> FamilyRow:
    passes = [[result.passed for result in results] for results in by_arm]
    return FamilyRow(kind, len(passes[0]), tuple(sum(passed) for passed in passes))


def _check_same_pack(reports: Sequence[FamilyReport]) -> None:
    packs: Mapping[str, str] = {report.pack_sha256: report.arm for report in reports}
    if len(packs) > 1:
        arms = " and ".join(repr(arm) for arm in packs.values())
        raise EvaluationError(f"{arms} played different replay packs; play the same pack with both.")
