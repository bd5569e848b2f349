"""Intervals and tests, against answers that are known."""

import numpy as np
import pytest
from scipy.stats import norm

from tasks.core.statistics import Floats, mcnemar, share_differences, share_intervals


def column(*values: float) -> Floats:
    return np.array(values, dtype=np.float64).reshape(-1, 1)


def test_with_one_decision_a_cluster_the_interval_is_the_binomial_one() -> None:
    hits = column(*([1.0] * 280 + [0.0] * 120))
    [interval] = share_intervals(hits, np.ones_like(hits), samples=20_000, confidence=0.95, seed=1)
    assert interval is not None
    half = norm.ppf(0.975) * np.sqrt(0.7 * 0.3 / 400)
    assert interval.value == pytest.approx(0.7)
    assert interval.low == pytest.approx(0.7 - half, abs=0.004)
    assert interval.high == pytest.approx(0.7 + half, abs=0.004)


def test_decisions_that_stand_and_fall_together_count_once() -> None:
    """Ten copies of a decision in each cluster say no more than one: the interval must be that of the clusters."""
    once = column(*([1.0] * 28 + [0.0] * 12))
    [alone] = share_intervals(once, np.ones_like(once), samples=2_000, confidence=0.95, seed=1)
    [tenfold] = share_intervals(10 * once, 10 * np.ones_like(once), samples=2_000, confidence=0.95, seed=1)
    assert alone == tenfold


def test_clusters_of_different_sizes_are_weighed_by_their_decisions() -> None:
    hits, trials = column(9, 0, 1), column(10, 1, 1)
    [interval] = share_intervals(hits, trials, samples=500, confidence=0.9, seed=1)
    assert interval is not None
    assert interval.value == pytest.approx(10 / 12)


def test_the_interval_of_a_ratio_agrees_with_its_linear_approximation() -> None:
    random = np.random.default_rng(5)
    trials = random.integers(1, 9, size=(400, 1)).astype(np.float64)
    hits = random.binomial(trials.astype(int), random.beta(4, 2, size=(400, 1))).astype(np.float64)
    [interval] = share_intervals(hits, trials, samples=10_000, confidence=0.95, seed=1)
    assert interval is not None
    share = hits.sum() / trials.sum()
    half = norm.ppf(0.975) * np.sqrt(((hits - share * trials) ** 2).sum()) / trials.sum()
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.05)


def test_equal_seeds_give_equal_intervals_and_others_do_not() -> None:
    hits = np.random.default_rng(0).random((50, 1))
    made = [share_intervals(hits, np.ones_like(hits), samples=300, confidence=0.9, seed=seed) for seed in (3, 3, 4)]
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_a_share_that_never_varies_gets_the_exact_bound_of_its_clusters() -> None:
    ones = np.ones((60, 1))
    [perfect] = share_intervals(ones, ones, samples=200, confidence=0.95, seed=1)
    [none] = share_intervals(0 * ones, ones, samples=200, confidence=0.95, seed=1)
    assert perfect is not None
    assert none is not None
    assert perfect.low == pytest.approx(0.025 ** (1 / 60))
    assert perfect.high == 1.0
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 60))


def test_one_cluster_says_nothing_and_no_trial_says_less() -> None:
    hits, trials = np.array([[3.0, 0.0]]), np.array([[4.0, 0.0]])
    one, nothing = share_intervals(hits, trials, samples=100, confidence=0.95, seed=1)
    assert one == (0.75, 0.0, 1.0)
    assert nothing is None


def test_resamples_without_a_trial_are_left_out() -> None:
    hits, trials = column(1, 0, 0, 0), column(1, 1, 0, 0)
    [interval] = share_intervals(hits, trials, samples=400, confidence=0.9, seed=1)
    assert interval == (0.5, 0.0, 1.0)


def test_a_paired_difference_is_tighter_than_two_unpaired_intervals() -> None:
    random = np.random.default_rng(2)
    base = (random.random((300, 1)) < 0.5).astype(np.float64)
    better = np.maximum(base, (random.random((300, 1)) < 0.2).astype(np.float64))
    ones = np.ones_like(base)
    [difference] = share_differences((base, ones), (better, ones), samples=10_000, confidence=0.95, seed=1)
    assert difference is not None
    gain = (better - base).ravel()
    half = norm.ppf(0.975) * gain.std() / np.sqrt(300)
    assert difference.value == pytest.approx(gain.mean())
    assert difference.low == pytest.approx(gain.mean() - half, abs=0.005)
    assert difference.high == pytest.approx(gain.mean() + half, abs=0.005)


def test_a_model_compared_with_itself_differs_by_nothing() -> None:
    hits = column(1, 0, 1, 1)
    ones = np.ones_like(hits)
    assert share_differences((hits, ones), (hits, ones), samples=100, confidence=0.95, seed=1) == [(0.0, 0.0, 0.0)]
    assert share_differences((hits, 0 * ones), (hits, ones), samples=100, confidence=0.95, seed=1) == [None]


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 6, 2 * 0.5**6), (1, 8, 2 * (1 + 9) * 0.5**9)],
)
def test_mcnemar_is_the_exact_binomial_test_of_the_discordant_pairs(
    only_first: int, only_second: int, p_value: float
) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(p_value)
    assert mcnemar(only_second, only_first) == pytest.approx(p_value)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """250 sets of 100 clusters whose decisions share a success rate: the 95 % interval holds the true share."""
    random = np.random.default_rng(11)
    covered = 0
    for seed in range(250):
        rates = random.beta(3, 1, size=(100, 1))
        trials = random.integers(1, 8, size=(100, 1))
        hits = random.binomial(trials, rates).astype(np.float64)
        [interval] = share_intervals(hits, trials.astype(np.float64), samples=500, confidence=0.95, seed=seed)
        assert interval is not None
        covered += interval.low <= 0.75 <= interval.high
    assert 0.92 <= covered / 250 <= 0.98
