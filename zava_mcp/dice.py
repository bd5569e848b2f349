"""Seeded draws that come out the same everywhere."""

import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

from zava_mcp.entities import CENT

T = TypeVar("T")


class Dice:
    """Draws that are the same on every machine and Python: only `random()` itself is promised to stay."""

    def __init__(self, seed: int) -> None:
        """Start from a seed."""
        self._random = random.Random(seed)
        self._taken: set[str] = set()

    def below(self, limit: int) -> int:
        """Return an integer from 0 to below `limit`."""
        return int(self._random.random() * limit)

    def between(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """Return True in so many of 100 cases."""
        return self.below(100) < percent

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices."""
        return choices[self.below(len(choices))]

    def weighted(self, choices: Sequence[tuple[T, int]]) -> T:
        """Return one of the choices, each as often as its weight says."""
        point = self.below(sum(weight for _, weight in choices))
        for choice, weight in choices:
            point -= weight
            if point < 0:
                return choice
        raise AssertionError("the weights add up to more than any point")

    def sample(self, choices: Sequence[T], count: int) -> list[T]:
        """Return so many different choices in random order."""
        rest = list(choices)
        return [rest.pop(self.below(len(rest))) for _ in range(count)]

    def digits(self, count: int) -> str:
        """Return so many digits, the first of which is not 0."""
        return str(self.between(10 ** (count - 1), 10**count - 1))

    def cents(self, low: int, high: int) -> Decimal:
        """Return an amount between two whole numbers of dollars."""
        return Decimal(self.between(low * 100, high * 100)) * CENT

    def fresh(self, make: Callable[[], str]) -> str:
        """Return a made text that was not returned before."""
        while (text := make()) in self._taken:
            pass
        self._taken.add(text)
        return text
