"""Intervals and tests, against answers that are known."""

import numpy as np
import pytest
from scipy.stats import norm, permutation_test

from tasks.core.statistics import (
    Floats,
    Reach,
    holm,
    mcnemar,
    paired_p_values,
    share_differences,
    share_intervals,
    standard_errors,
)


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


def clustered(random: np.random.Generator, share: float, alike: float, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return hits and trials of many sets at once; the higher `alike`, the less do decisions of a cluster differ."""
    rates = random.beta(share / alike, (1 - share) / alike, size=shape)
    trials = random.integers(2, 9, size=shape)
    return random.binomial(trials, rates).astype(np.float64), trials.astype(np.float64)


@pytest.mark.parametrize(
    ("share", "alike", "clusters"), [(0.5, 0.25, 70), (0.75, 0.25, 70), (0.9, 0.25, 70), (0.95, 0.12, 150)]
)
def test_a_95_percent_interval_covers_the_truth_93_to_97_times_in_100(
    share: float, alike: float, clusters: int
) -> None:
    sets = 3000
    hits, trials = clustered(np.random.default_rng(11), share, alike, (clusters, sets))
    intervals = share_intervals(hits, trials, samples=1000, confidence=0.95, seed=1)
    covered = sum(interval is not None and interval.low <= share <= interval.high for interval in intervals)
    assert 0.93 <= covered / sets <= 0.97


def paired(
    random: np.random.Generator, shares: tuple[float, float], clusters: int, sets: int
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Return two models on the same sets: conversations that are hard for one are hard for the other."""
    hardness = random.normal(size=(clusters, sets))
    trials = random.integers(2, 9, size=(clusters, sets))
    made = []
    for share in shares:
        own = 0.6 * hardness + 0.8 * random.normal(size=(clusters, sets))
        # Half of a decision's success lies with its conversation: a threshold on a normal keeps the share exact.
        rates = norm.cdf(np.sqrt(2) * norm.ppf(share) - own)
        made.append((random.binomial(trials, rates).astype(np.float64), trials.astype(np.float64)))
    return made[0], made[1]


def test_the_interval_of_a_difference_covers_the_truth_as_often_as_it_says() -> None:
    sets = 3000
    first, second = paired(np.random.default_rng(3), (0.6, 0.75), 70, sets)
    intervals = share_differences(first, second, samples=1000, confidence=0.95, seed=1)
    covered = sum(interval is not None and interval.low <= 0.15 <= interval.high for interval in intervals)
    assert 0.93 <= covered / sets <= 0.97


def test_the_paired_test_keeps_its_size_where_one_that_ignores_clusters_does_not() -> None:
    sets = 2000
    first, second = paired(np.random.default_rng(4), (0.7, 0.7), 70, sets)
    p_values = np.array(paired_p_values(first[0], second[0], samples=1000, seed=1))
    assert 0.035 <= (p_values < 0.05).mean() <= 0.065
    # The normal test as if every decision stood alone: it cries wolf three times as often as it says.
    gains = (second[0] - first[0]).sum(axis=0)
    discordant = np.abs(second[0] - first[0]).sum(axis=0)
    assert (np.abs(gains) / np.sqrt(discordant) > norm.ppf(0.975)).mean() > 0.1


REACH = Reach(confidence=0.95, power=0.8)


@pytest.mark.parametrize("clusters", [30, 70])
def test_the_paired_test_finds_the_difference_that_is_called_detectable_as_often_as_is_promised(clusters: int) -> None:
    sets, share, difference = 2000, 0.6, 0.1
    for _ in range(4):  # the error depends a little on the difference that it makes detectable
        first, second = paired(np.random.default_rng(5), (share, share + difference), clusters, sets)
        error = float(np.mean(standard_errors(first, second)))
        difference = REACH.detectable(error, clusters)
    p_values = paired_p_values(first[0], second[0], samples=1000, seed=1)
    assert (np.array(p_values) < 0.05).mean() == pytest.approx(0.8, abs=0.04)


def test_the_standard_error_is_the_spread_of_the_difference_over_many_sets() -> None:
    first, second = paired(np.random.default_rng(6), (0.6, 0.75), 70, 4000)
    gains = second[0].sum(axis=0) / second[1].sum(axis=0) - first[0].sum(axis=0) / first[1].sum(axis=0)
    assert np.mean(standard_errors(first, second)) == pytest.approx(gains.std(), rel=0.04)


@pytest.mark.parametrize("clusters", [8, 40])
def test_the_paired_test_agrees_with_scipy(clusters: int) -> None:
    random = np.random.default_rng(clusters)
    first, second = (random.integers(0, 5, size=(clusters, 1)).astype(np.float64) for _ in range(2))
    second += random.random((clusters, 1)) < 0.5
    [ours] = paired_p_values(first, second, samples=20_000, seed=1)
    theirs = permutation_test(
        (first.ravel(), second.ravel()),
        lambda a, b, axis: (a - b).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    )
    assert ours == pytest.approx(theirs.pvalue, abs=0.015)


def test_models_that_do_the_same_are_not_told_apart() -> None:
    hits = column(1, 0, 1)
    assert paired_p_values(hits, hits, samples=10, seed=1) == [1.0]


def test_holm_adjusts_as_in_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_with_many_conversations_the_textbook_holds() -> None:
    assert REACH.detectable(0.01, 10**9) == pytest.approx((1.959964 + 0.841621) * 0.01)
    needed = [REACH.items_needed(1_000_000, 0.01, 10**9, wanted) for wanted in (0.014, 0.028)]
    assert needed[0] == pytest.approx(4 * needed[1], rel=1e-5)
    assert REACH.detectable(0.01, 3) == np.inf  # no test over three conversations can come below 5 %


@pytest.mark.parametrize(("error", "clusters"), [(0.02, 10), (0.03, 70), (0.001, 400)])
def test_what_a_set_detects_it_has_the_items_for(error: float, clusters: int) -> None:
    detectable = REACH.detectable(error, clusters)
    assert REACH.items_needed(1000, error, clusters, detectable) in {1000, 1001}
    assert REACH.items_needed(1000, error, clusters, detectable / 2) > 2000
    assert REACH.items_needed(1000, error, clusters, detectable * 2) < 1000


def test_one_cluster_has_no_standard_error() -> None:
    one = np.array([[1.0]])
    assert np.isnan(standard_errors((one, one), (one, one))).all()


def test_points_that_can_be_lost_have_an_interval_below_nothing() -> None:
    hits, trials = column(*[-3.0] * 20, *[3.0] * 20), column(*[3.0] * 40)
    [interval] = share_intervals(hits, trials, samples=500, confidence=0.95, seed=1)
    assert interval is not None
    assert interval.low < interval.value == 0.0 < interval.high
