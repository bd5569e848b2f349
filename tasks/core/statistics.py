"""How sure a measured share is: clustered bootstrap, paired differences and tests, and what a set could detect.

Decisions of one conversation succeed and fail together, so conversations (clusters) are resampled, not decisions.
A share is a ratio of sums, and a resample recomputes both sums: right also where clusters hold different numbers of
decisions, or none. This is the one module of `tasks.core` on numpy and scipy.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binomtest, norm, t  # type: ignore[import-untyped]  # scipy ships no types

Floats = NDArray[np.float64]

# Resamples are drawn in blocks, so that memory stays at block x clusters; those that are so few in all are kept.
_BLOCK = 256
_MOST_KEPT = 2_000_000
# As many clusters that differ have few enough sign patterns to go through all of them.
_ENUMERABLE = 12


class Interval(NamedTuple):
    """A value with its interval; `low` and `high` lie around it at the confidence asked for."""

    value: float
    low: float
    high: float


def by_cluster(clusters: Sequence[str], counts: Sequence[Sequence[tuple[float, float]]]) -> tuple[Floats, Floats]:
    """Sum the (hits, trials) pairs of each item by cluster.

    Args:
        clusters: The cluster of each item.
        counts: One row an item, one (hits, trials) pair a share.

    Returns:
        Hits and trials, each of shape (clusters, shares), clusters in sorted order.
    """
    names, rows = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    values = np.asarray(counts, dtype=np.float64)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, rows, values)
    return sums[..., 0], sums[..., 1]


def share_intervals(
    hits: Floats, trials: Floats, *, samples: int, confidence: float, seed: int
) -> list[Interval | None]:
    """Return each share with its interval by clustered bootstrap (percentile method, widened for few clusters).

    Resampling cannot see beyond what it saw: where every cluster agrees (a share of exactly 0 or 1) it has no spread,
    and the exact binomial bound over the clusters takes its place; one cluster alone says nothing, hence 0 to 1.

    Args:
        hits: Sums of successes, of shape (clusters, shares); below 0 where a share counts points that can be lost.
        trials: Sums of trials, of the same shape; hits <= trials.
        samples: Number of resamples.
        confidence: Such as 0.95.
        seed: Of the resampling; equal input gives equal output.

    Returns:
        One interval a share, in order; None for a share with no trials.
    """
    resampled = _resampled_shares(hits, trials, samples, seed)
    found: list[Interval | None] = []
    for column in range(hits.shape[1]):
        total = trials[:, column].sum()
        if not total:
            found.append(None)
            continue
        value = float(hits[:, column].sum() / total)
        clusters = int((trials[:, column] > 0).sum())
        low, high = _bounds(resampled[:, column], confidence, clusters)
        if clusters == 1:
            low, high = 0.0, 1.0
        elif not hits[:, column].any() or (hits[:, column] == trials[:, column]).all():
            low, high = _exact_bounds(clusters, value, confidence)
        found.append(Interval(value, min(low, value), max(high, value)))
    return found


def share_differences(
    first: tuple[Floats, Floats], second: tuple[Floats, Floats], *, samples: int, confidence: float, seed: int
) -> list[Interval | None]:
    """Return each share of the second model minus that of the first, with its interval over the same resamples.

    Args:
        first: Hits and trials of the first model, each of shape (clusters, shares).
        second: Those of the second, with the same clusters in the same order.
        samples: Number of resamples.
        confidence: Such as 0.95.
        seed: Of the resampling; both models see the same resamples, which is what makes the difference paired.

    Returns:
        One interval a share; None where either model has no trials.
    """
    shares = first[0].shape[1]
    both = _resampled_shares(np.hstack([first[0], second[0]]), np.hstack([first[1], second[1]]), samples, seed)
    found: list[Interval | None] = []
    for column in range(shares):
        totals = first[1][:, column].sum(), second[1][:, column].sum()
        if not all(totals):
            found.append(None)
            continue
        value = float(second[0][:, column].sum() / totals[1] - first[0][:, column].sum() / totals[0])
        clusters = int(((first[1][:, column] > 0) | (second[1][:, column] > 0)).sum())
        low, high = _bounds(both[:, shares + column] - both[:, column], confidence, clusters)
        found.append(Interval(value, min(low, value), max(high, value)))
    return found


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test; the arguments count the items that just one got right.

    It takes items as independent, which clustered decisions are not: read it beside `paired_p_values`.
    """
    discordant = only_first + only_second
    return float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0


def paired_p_values(first: Floats, second: Floats, *, samples: int, seed: int) -> list[float]:
    """Return the two-sided p-value of each share's difference by a paired permutation test over clusters.

    Were the models the same, each cluster's difference could as well have had the other sign. All sign patterns are
    gone through where few clusters differ, else `samples` random ones.

    Args:
        first: Hits of the first model, of shape (clusters, shares).
        second: Hits of the second, over the same trials and clusters.
        samples: Number of random sign patterns.
        seed: Of the patterns.
    """
    differences = second - first
    random = np.random.default_rng(seed)
    drawn = random.choice([-1.0, 1.0], size=(samples, len(differences)))
    p_values = []
    for column in differences.T:
        moved = column[column != 0]
        if len(moved) <= _ENUMERABLE:
            p_values.append(float(_as_far(_sign_patterns(len(moved)), moved).mean()))
        else:
            # The observed pattern is one of the random ones: no p-value is 0, and the test keeps its size.
            p_values.append(float((_as_far(drawn[:, : len(moved)], moved).sum() + 1) / (samples + 1)))
    return p_values


def _as_far(signs: Floats, differences: Floats) -> NDArray[np.bool_]:
    """Return of each sign pattern whether it takes the sum at least as far from 0 as it is."""
    far: NDArray[np.bool_] = np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9
    return far


def _sign_patterns(length: int) -> Floats:
    bits = np.arange(2**length)[:, np.newaxis] >> np.arange(length) & 1
    return (2 * bits - 1).astype(np.float64)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being several, in their order (Holm 1979): the chance of any false alarm is kept."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def standard_errors(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> list[float]:
    """Return the standard error of each share's paired difference, linearised over clusters; NaN where there is none.

    Args:
        first: Hits and trials of the first model, each of shape (clusters, shares).
        second: Those of the second, with the same clusters in the same order.
    """
    clusters = len(first[0])
    if clusters < 2:
        return [math.nan] * first[0].shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        residuals = _residuals(*second) - _residuals(*first)
    errors: list[float] = np.sqrt(clusters / (clusters - 1) * (residuals**2).sum(axis=0)).tolist()
    return errors


def _residuals(hits: Floats, trials: Floats) -> Floats:
    """Return how much each cluster moves each share; they sum to 0."""
    total = trials.sum(axis=0)
    residuals: Floats = (hits - hits.sum(axis=0) / total * trials) / total
    return residuals


class Reach(NamedTuple):
    """With what chance (`power`) a true difference is to show, in a test at this confidence."""

    confidence: float
    power: float

    @property
    def _quantiles(self) -> tuple[float, float]:
        return float(norm.ppf((1 + self.confidence) / 2)), float(norm.ppf(self.power))

    def standard_error(self, low: float, high: float) -> float:
        """Return the standard error that an interval at this confidence tells of."""
        return (high - low) / 2 / self._quantiles[0]

    def detectable(self, standard_error: float, clusters: int) -> float:
        """Return the smallest true difference that a set with this standard error would show; infinite if none.

        The permutation test counts the difference itself as spread, d^2 / clusters beside the squared error, so that
        the difference solves d = z_test * sqrt(error^2 + d^2 / clusters) + z_power * error, a quadratic equation.
        """
        test, power = self._quantiles
        shrunk = 1 - test**2 / clusters
        if shrunk <= 0:
            return math.inf
        return standard_error * (power + math.sqrt(power**2 + shrunk * (test**2 - power**2))) / shrunk

    def items_needed(self, items: int, standard_error: float, clusters: int, wanted: float) -> int:
        """Return how many items like these would show a wanted difference, in as many more clusters."""
        test, power = self._quantiles
        spread = math.sqrt(standard_error**2 + wanted**2 / clusters)
        return math.ceil(items * ((test * spread + power * standard_error) / wanted) ** 2)


def _resampled_shares(hits: Floats, trials: Floats, samples: int, seed: int) -> Floats:
    """Return the shares of each resample, of shape (samples, shares); NaN where a resample holds no trial."""
    shares = np.empty((samples, hits.shape[1]))
    for rows, weights in _resamples(len(hits), samples, seed):
        made = weights @ trials
        np.divide(weights @ hits, made, out=shares[rows], where=made > 0)
        shares[rows][made == 0] = np.nan
    return shares


def _resamples(clusters: int, samples: int, seed: int) -> Iterable[tuple[slice, Floats]]:
    """Return blocks of resamples as how often each cluster was drawn, of shape (block, clusters)."""
    draw = _kept if clusters * samples <= _MOST_KEPT else _drawn
    return draw(clusters, samples, seed)


@lru_cache(maxsize=2)
def _kept(clusters: int, samples: int, seed: int) -> tuple[tuple[slice, Floats], ...]:
    """Keep what is drawn: the shares of one set, for each arm and many a slice, see the same resamples."""
    return tuple(_drawn(clusters, samples, seed))


def _drawn(clusters: int, samples: int, seed: int) -> Iterator[tuple[slice, Floats]]:
    random = np.random.default_rng(seed)
    for start in range(0, samples, _BLOCK):
        block = min(_BLOCK, samples - start)
        drawn = random.multinomial(clusters, np.full(clusters, 1 / clusters), size=block)
        yield slice(start, start + block), drawn.astype(np.float64)


def _bounds(values: Floats, confidence: float, clusters: int) -> tuple[float, float]:
    """Return the percentiles, further out the fewer clusters there are, as Student's t is (Hesterberg 2015)."""
    tail = (1 - confidence) / 2
    if clusters > 1:
        tail = float(norm.cdf(math.sqrt(clusters / (clusters - 1)) * t.ppf(tail, clusters - 1)))
    known = values[~np.isnan(values)]
    if not len(known):
        return np.inf, -np.inf
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _exact_bounds(clusters: int, value: float, confidence: float) -> tuple[float, float]:
    """Return Clopper and Pearson's bounds where all of `clusters` failed (0.0) or all succeeded (1.0)."""
    tail = (1 - confidence) / 2
    if value == 0.0:
        return 0.0, float(beta.ppf(1 - tail, 1, clusters))
    return float(beta.ppf(tail, clusters, 1)), 1.0
