"""How sure a measured share is: clustered bootstrap, paired differences, McNemar's exact test.

Decisions of one conversation succeed and fail together, so conversations (clusters) are resampled, not decisions.
A share is a ratio of sums, and a resample recomputes both sums: right also where clusters hold different numbers of
decisions, or none. This is the one module of `tasks.core` on numpy and scipy.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binomtest  # type: ignore[import-untyped]  # scipy ships no types

Floats = NDArray[np.float64]

# Resamples are drawn in blocks, so that memory stays at block x clusters.
_BLOCK = 256


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
    """Return each share with its interval by clustered bootstrap (percentile method).

    Resampling cannot see beyond what it saw: where every cluster agrees (a share of exactly 0 or 1) it has no spread,
    and the exact binomial bound over the clusters takes its place; one cluster alone says nothing, hence 0 to 1.

    Args:
        hits: Sums of successes, of shape (clusters, shares).
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
        low, high = _bounds(resampled[:, column], confidence)
        if clusters == 1:
            low, high = 0.0, 1.0
        elif value in (0.0, 1.0):
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
        low, high = _bounds(both[:, shares + column] - both[:, column], confidence)
        found.append(Interval(value, min(low, value), max(high, value)))
    return found


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test; the arguments count the items that just one got right.

    It takes items as independent, which clustered decisions are not: read it beside the clustered interval.
    """
    discordant = only_first + only_second
    return float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0


def _resampled_shares(hits: Floats, trials: Floats, samples: int, seed: int) -> Floats:
    """Return the shares of each resample, of shape (samples, shares); NaN where a resample holds no trial."""
    shares = np.empty((samples, hits.shape[1]))
    for rows, weights in _resamples(len(hits), samples, seed):
        made = weights @ trials
        np.divide(weights @ hits, made, out=shares[rows], where=made > 0)
        shares[rows][made == 0] = np.nan
    return shares


def _resamples(clusters: int, samples: int, seed: int) -> Iterator[tuple[slice, Floats]]:
    """Yield blocks of resamples as how often each cluster was drawn, of shape (block, clusters)."""
    random = np.random.default_rng(seed)
    for start in range(0, samples, _BLOCK):
        block = min(_BLOCK, samples - start)
        drawn = random.multinomial(clusters, np.full(clusters, 1 / clusters), size=block)
        yield slice(start, start + block), drawn.astype(np.float64)


def _bounds(values: Floats, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
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
