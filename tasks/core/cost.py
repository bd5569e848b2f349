"""What models cost to train, to ask and to keep ready; where one pays off against another; and what quality costs.

Amounts are in US dollars; a month has 730 hours. A model of a provider is paid by the token, and by the hour that it
is deployed where the provider asks for that. A self-hosted one is paid by the machine-hour: one machine stands ready
all month, and what it does not manage takes further hours of machines like it. None is not known, and stays so.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tasks.core.plan import Price
from tasks.core.record import Record

HOURS_A_MONTH = 730.0
THOUSAND = 1000


class Bill(NamedTuple):
    """What a month costs: `fixed`, and `each` conversation; where the fixed part `covers`, only what goes beyond it."""

    fixed: float
    each: float
    covers: bool = False

    def at(self, conversations: float) -> float:
        """Return what a month with so many conversations costs."""
        asked = self.each * conversations
        return max(self.fixed, asked) if self.covers else self.fixed + asked

    @property
    def kink(self) -> float | None:
        """The number of conversations at which the fixed part is used up."""
        return self.fixed / self.each if self.covers and self.each > 0 else None


class ArmCost(Record):
    """What an arm takes, by the tokens and times that were measured, and what that costs where prices are known.

    `inference` and the figures named for it are for a thousand conversations: tokens read and written, and the hours
    of a machine that serves the model itself, as loaded as it was in the evaluation. `training` is paid once, `hosting`
    by the hour. `note` says what is not known, or how it was asked.
    """

    arm: str
    model_id: str
    provider: str
    accuracy: float | None
    latency_p50_s: float | None
    prompt_tokens: float | None
    completion_tokens: float | None
    machine_hours: float | None = None
    inference: float | None = None
    training: float | None = None
    training_hours: float | None = None
    hosting: float | None = None
    note: str = ""

    @property
    def bill(self) -> Bill | None:
        """What a month of it costs, or None where a part is not known."""
        if self.inference is None or self.hosting is None:
            return None
        return Bill(HOURS_A_MONTH * self.hosting, self.inference / THOUSAND, covers=self.provider == "local")


class BreakEven(Record):
    """When an arm pays off against another.

    From `volume` conversations a month on, `until` so many where there is an end, a month of it is cheaper; None where
    it never is, or is not known. At the volume asked for it saves `saving` a month, which has paid for its training
    after `months`. `note` says why something is not known.
    """

    arm: str
    against: str
    volume: float | None = None
    until: float | None = None
    saving: float | None = None
    months: float | None = None
    note: str = ""


class CostReport(Record):
    """What the arms of a run cost, at a volume of conversations a month, with the prices that were used.

    `best_for_money` and `best_for_time` are the arms that no other beats at once in accuracy and in cost (latency).
    `by_hours` says that money is not known for all, and machine-hours stand in its place.
    """

    run_id: str
    conversations: int
    arms: tuple[ArmCost, ...]
    break_evens: tuple[BreakEven, ...]
    best_for_money: tuple[str, ...]
    best_for_time: tuple[str, ...]
    by_hours: bool
    prices: tuple[Price, ...]


class Point(NamedTuple):
    """An arm by how often it is right and by what that takes: money, hours or seconds."""

    name: str
    quality: float
    takes: float


def for_a_thousand(amount: float, conversations: int) -> float | None:
    """Return an amount that so many conversations took, for a thousand; None without one."""
    return THOUSAND * amount / conversations if conversations else None


def for_all(amount: float, answered: int, decisions: int) -> float | None:
    """Return what all decisions would have taken, by those that were answered; None where none was."""
    return amount * decisions / answered if answered else None


def frontier(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other beats in both respects, the cheapest first; of equal ones all."""
    ranked = sorted(points, key=lambda one: (one.takes, -one.quality, one.name))
    best: list[Point] = []
    for point in ranked:
        if not best or point.quality > best[-1].quality or point[1:] == best[-1][1:]:
            best.append(point)
    return best


def cheaper_between(bill: Bill, other: Bill) -> tuple[float, float | None] | None:
    """Return the conversations a month from which, and up to which, a bill is first not above the other.

    The second is None where it stays so; None where it never is.
    """
    edges = sorted({0.0, *(kink for kink in (bill.kink, other.kink) if kink is not None)})
    marks = sorted({*edges, *_crossings(bill, other, edges)})
    pieces = [(low, high) for low, high in zip(marks, [*marks[1:], None], strict=True)]
    cheaper = [piece for piece in pieces if _gap(bill, other, _inside(*piece)) <= 0]
    if not cheaper:
        return None
    start, end = cheaper[0]
    for low, high in cheaper[1:]:
        end = high if low == end else end
    return start, end


def _crossings(bill: Bill, other: Bill, edges: Sequence[float]) -> Iterator[float]:
    """Yield where the two cross between edges, or after the last one; between them both are straight lines."""
    for place, start in enumerate(edges):
        end = edges[place + 1] if place + 1 < len(edges) else None
        ahead = _inside(start, end)
        gap = _gap(bill, other, start)
        slope = (_gap(bill, other, ahead) - gap) / (ahead - start)
        crossing = start - gap / slope if slope else start
        if crossing > start and (end is None or crossing < end):
            yield crossing


def _gap(bill: Bill, other: Bill, conversations: float) -> float:
    return bill.at(conversations) - other.at(conversations)


def _inside(low: float, high: float | None) -> float:
    return 2 * low + 1 if high is None else (low + high) / 2


def break_even(arm: ArmCost, other: ArmCost, conversations: int) -> BreakEven:
    """Return when an arm pays off against another, at so many conversations a month."""
    made = BreakEven(arm=arm.arm, against=other.arm)
    mine, theirs = arm.bill, other.bill
    if mine is None or theirs is None:
        unknown = arm if mine is None else other
        return made.model_copy(update={"note": f"not known: no price of {unknown.arm}"})
    saving = theirs.at(conversations) - mine.at(conversations)
    months = None if saving <= 0 or arm.training is None else arm.training / saving
    if months is not None:
        note = ""
    else:
        note = f"no price of the training of {arm.arm}" if saving > 0 else "saves nothing at this volume"
    volume, until = cheaper_between(mine, theirs) or (None, None)
    found = {"volume": volume, "until": until, "saving": saving, "months": months, "note": note}
    return made.model_copy(update=found)


def report_of(run_id: str, arms: Sequence[ArmCost], conversations: int, prices: Iterable[Price]) -> CostReport:
    """Return the costs of the arms with what follows: break-evens of tuned models against the others, and frontiers."""
    by_hours = any(arm.inference is None and arm.machine_hours is not None for arm in arms)
    trained = [arm for arm in arms if arm.training is not None or arm.training_hours is not None]
    others = [arm for arm in arms if arm not in trained and (arm.accuracy is not None or arm.inference is not None)]
    return CostReport(
        run_id=run_id,
        conversations=conversations,
        arms=tuple(arms),
        break_evens=tuple(break_even(arm, other, conversations) for arm in trained for other in others),
        best_for_money=tuple(point.name for point in frontier(points(arms, by_hours=by_hours))),
        best_for_time=tuple(point.name for point in frontier(points(arms, by_time=True))),
        by_hours=by_hours,
        prices=tuple(prices),
    )


def points(arms: Iterable[ArmCost], *, by_hours: bool = False, by_time: bool = False) -> list[Point]:
    """Return the arms whose accuracy is known by what they take: money, machine-hours or the seconds of an answer."""
    found = []
    for arm in arms:
        takes = arm.latency_p50_s if by_time else arm.machine_hours if by_hours else arm.inference
        if arm.accuracy is not None and takes is not None:
            found.append(Point(arm.arm, arm.accuracy, takes))
    return found
