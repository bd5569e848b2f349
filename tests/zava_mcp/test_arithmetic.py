from contextlib import suppress
from decimal import Decimal
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zava_mcp.arithmetic import calculate
from zava_mcp.errors import ArgumentError


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 2", "4"),
        ("0.1 + 0.2", "0.3"),
        ("514.48 - 146.98", "367.5"),
        ("-2 * (3.5 + 4)", "-15"),
        ("10 / 4", "2.5"),
        ("1 / 3", "0.33"),
        ("2 / 3", "0.67"),
        ("0.005", "0.01"),
        ("-0.001", "0"),
        ("100000000000000000000 + 0.01", "100000000000000000000.01"),
        (" 7 ", "7"),
    ],
)
def test_plain_arithmetic_is_exact_and_rounded_to_cents(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("__import__('os')", "'_' is not allowed|\"'\" is not allowed"),
        ("2 ** 9", "more than"),
        ("7 // 2", "more than"),
        ("1e9", "'e' is not allowed"),
        ("1, 2", "',' is not allowed"),
        ("2(3)", "more than"),
        ("()", "more than"),
        ("1 +", "not an arithmetic expression"),
        ("", "not an arithmetic expression"),
        ("007", "not an arithmetic expression"),
        ("5 / (2 - 2)", "divides by zero"),
        ("1" * 201, "201 characters"),
        ("-" * 150 + "1", "nested more than"),
    ],
)
def test_anything_else_is_refused_with_its_reason(expression: str, problem: str) -> None:
    with pytest.raises(ArgumentError, match=problem):
        calculate(expression)


def test_the_largest_expressions_are_quick() -> None:
    start = perf_counter()
    calculate("9*" * 99 + "9")
    assert perf_counter() - start < 1


AMOUNTS = st.integers(0, 10**7).map(lambda value: str(Decimal(value) / 100))


@given(st.lists(AMOUNTS, min_size=1, max_size=12))
def test_sums_of_amounts_are_exact(amounts: list[str]) -> None:
    assert Decimal(calculate(" + ".join(amounts))) == sum(map(Decimal, amounts))


@given(st.text(alphabet="0123456789.+-*/() ", max_size=60))
def test_any_text_of_the_allowed_characters_is_calculated_or_refused(expression: str) -> None:
    with suppress(ArgumentError):
        assert Decimal(calculate(expression)).is_finite()
