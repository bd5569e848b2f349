"""What models cost: rules that hold for any prices and volumes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.cost import (
    HOURS_A_MONTH,
    ArmCost,
    Bill,
    Point,
    break_even,
    cheaper_between,
    for_a_thousand,
    for_all,
    frontier,
    report_of,
)

amounts = st.one_of(st.just(0.0), st.floats(0.01, 1e4))
bills = st.builds(Bill, amounts, amounts, st.booleans())
volumes = st.floats(0, 1e7)


def an_arm(name: str, **changes: object) -> ArmCost:
    arm = ArmCost(
        arm=name,
        model_id=name,
        provider="openai",
        accuracy=0.9,
        latency_p50_s=1.0,
        prompt_tokens=1e6,
        completion_tokens=1e5,
        inference=1.0,
        hosting=0.0,
    )
    return arm.model_copy(update=changes)


@given(bills, volumes, volumes)
def test_a_month_never_costs_less_for_more_conversations_nor_less_than_its_fixed_part(
    bill: Bill, one: float, another: float
) -> None:
    few, many = sorted((one, another))
    assert bill.fixed <= bill.at(few) <= bill.at(many)


@given(bills, bills, volumes)
def test_inside_the_first_range_a_bill_is_not_above_the_other_and_before_it_it_is(
    bill: Bill, other: Bill, volume: float
) -> None:
    found = cheaper_between(bill, other)
    slack = 1e-6 * (1 + bill.at(volume) + other.at(volume))
    if found is None:
        assert bill.at(volume) >= other.at(volume) - slack
        return
    start, end = found
    if volume < start:
        assert bill.at(volume) >= other.at(volume) - slack
    elif end is None or volume <= end:
        assert bill.at(volume) <= other.at(volume) + slack


@given(bills, bills)
def test_at_the_break_even_both_bills_are_the_same(bill: Bill, other: Bill) -> None:
    found = cheaper_between(bill, other)
    if found and found[0] > 0:
        assert bill.at(found[0]) == pytest.approx(other.at(found[0]), rel=1e-6, abs=1e-6)


def test_the_machine_that_stands_ready_covers_what_it_manages() -> None:
    machine, tokens = Bill(730.0, 0.01, covers=True), Bill(0.0, 0.02)
    assert (machine.at(73_000), machine.at(146_000)) == (730.0, 1460.0)
    assert cheaper_between(machine, tokens) == (pytest.approx(36_500.0), None)
    # Where each further machine-hour costs more than the tokens it saves, there is an end to it.
    assert cheaper_between(Bill(730.0, 0.03, covers=True), Bill(100.0, 0.028)) == (
        pytest.approx(22_500.0),
        pytest.approx(50_000.0),
    )
    assert cheaper_between(Bill(0.0, 0.02), Bill(0.0, 0.01)) is None
    assert cheaper_between(Bill(5.0, 1.0), Bill(5.0, 1.0)) == (0.0, None)


points = st.lists(
    st.builds(Point, st.text("abc", min_size=1, max_size=3), st.floats(0, 1), st.floats(0, 100)), max_size=12
)


def beats(one: Point, other: Point) -> bool:
    return one.quality >= other.quality and one.takes <= other.takes and one[1:] != other[1:]


@given(points)
def test_what_no_other_beats_is_the_frontier(arms: list[Point]) -> None:
    best = frontier(arms)
    assert {id(one) for one in best} == {id(one) for one in arms if not any(beats(other, one) for other in arms)}
    assert all(first.takes <= second.takes for first, second in itertools.pairwise(best))


@given(st.floats(0, 1e9), st.integers(1, 10_000), st.integers(1, 10_000))
def test_amounts_scale_with_what_they_are_for(amount: float, count: int, answered: int) -> None:
    assert for_a_thousand(amount, 1000) == pytest.approx(amount)
    assert for_a_thousand(amount, count) == pytest.approx(1000 * amount / count)
    assert for_all(amount, answered, answered) == pytest.approx(amount)
    assert (for_a_thousand(amount, 0), for_all(amount, 0, count)) == (None, None)


def test_a_tuned_model_pays_off_from_a_volume_and_after_months() -> None:
    tuned = an_arm("tuned", inference=2.0, hosting=1.7, training=500.0)
    made = break_even(tuned, an_arm("teacher", inference=30.0), 100_000)
    assert made.volume == pytest.approx(1.7 * HOURS_A_MONTH / 0.028)
    assert made.saving == pytest.approx(100 * 28 - 1.7 * HOURS_A_MONTH)
    assert made.months == pytest.approx(500 / (2800 - 1241))
    assert (made.until, made.note) == (None, "")


def test_what_saves_nothing_or_has_no_price_says_so() -> None:
    tuned, base = an_arm("tuned", training=5.0, inference=2.0), an_arm("base")
    assert break_even(tuned, base, 1000).note == "saves nothing at this volume"
    assert break_even(tuned, base, 1000).months is None
    unknown = break_even(tuned, an_arm("large", inference=None), 1000)
    assert (unknown.volume, unknown.saving, unknown.note) == (None, None, "not known: no price of large")
    free = break_even(an_arm("tuned", inference=0.5), base, 1000)
    assert (free.volume, free.months, free.note) == (0.0, None, "no price of the training of tuned")


def test_without_a_price_of_the_machine_the_frontier_is_drawn_by_its_hours() -> None:
    here = {"provider": "local", "inference": None, "hosting": None}
    arms = [
        an_arm("base", **here, machine_hours=0.1, accuracy=0.3),
        an_arm("tuned", **here, machine_hours=0.4, training_hours=0.1, latency_p50_s=2.0),
        an_arm("short", **here, machine_hours=0.5, training_hours=0.1, accuracy=0.8, latency_p50_s=0.5),
    ]
    made = report_of("m1", arms, 1000, [])
    assert (made.by_hours, made.best_for_money, made.best_for_time) == (True, ("base", "tuned"), ("short", "tuned"))
    assert [(one.arm, one.against) for one in made.break_evens] == [("tuned", "base"), ("short", "base")]
