"""The statistics: against scipy over a grid, by exact summation, and the tables that the design rests on."""

import itertools
import math

import pytest
from scipy import stats

from harness.exceptions import InvalidInputError
from harness.experiments.attempts import all_fail, attempts_needed, expected_waits
from harness.experiments.groups import Sums, overdispersion
from harness.experiments.sequential import SequentialTest, critical, fixed_trials
from harness.experiments.statistics import (
    beta_cdf,
    beta_quantile,
    binomial_cdf,
    binomial_sf,
    clopper_pearson,
    fisher_quantile,
    fisher_sf,
    lower_bound,
    student_quantile,
    student_sf,
    upper_bound,
    wilson,
)

CLOSE = pytest.approx
SIZES = (1, 2, 7, 30, 100, 1000, 100_000)
RATES = (1e-6, 0.01, 0.3, 0.5, 0.77, 0.999)


def counts(trials: int) -> list[int]:
    """Failures worth a look among `trials`."""
    return sorted({0, 1, trials // 10, trials // 3, trials // 2, trials - 1, trials})


GRID = [(failures, trials) for trials in SIZES for failures in counts(trials)]


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_intervals_agree_with_scipy(confidence: float) -> None:
    """Clopper-Pearson and Wilson, over the grid."""
    for failures, trials in GRID:
        tested = stats.binomtest(failures, trials)
        exact, score = (tested.proportion_ci(confidence, method) for method in ("exact", "wilson"))
        assert clopper_pearson(failures, trials, confidence) == CLOSE((exact.low, exact.high), rel=1e-9, abs=1e-12)
        assert wilson(failures, trials, confidence) == CLOSE((score.low, score.high), rel=1e-9, abs=1e-12)


def test_one_sided_bounds_agree_with_scipy() -> None:
    """The bounds that advice rests on."""
    for failures, trials in GRID:
        high = stats.binomtest(failures, trials, alternative="less").proportion_ci(0.95).high
        low = stats.binomtest(failures, trials, alternative="greater").proportion_ci(0.95).low
        assert upper_bound(failures, trials) == CLOSE(high, rel=1e-9)
        assert lower_bound(failures, trials) == CLOSE(low, rel=1e-9, abs=1e-15)


def test_binomials_agree_with_scipy() -> None:
    """Both tails, over the grid and the rates."""
    for (failures, trials), p in itertools.product(GRID, RATES):
        assert binomial_cdf(failures, trials, p) == CLOSE(stats.binom.cdf(failures, trials, p), rel=1e-9, abs=1e-12)
        assert binomial_sf(failures, trials, p) == CLOSE(stats.binom.sf(failures - 1, trials, p), rel=1e-9, abs=1e-12)


def test_beta_agrees_with_scipy() -> None:
    """The function under all of it, and its inverse."""
    for a, b, x in itertools.product((0.5, 1, 3, 50, 5000), (0.5, 1, 20, 999), (0.001, 0.2, 0.5, 0.9)):
        assert beta_cdf(x, a, b) == CLOSE(stats.beta.cdf(x, a, b), rel=1e-9, abs=1e-12)
        assert beta_quantile(x, a, b) == CLOSE(stats.beta.ppf(x, a, b), rel=1e-9)


def test_quantiles_agree_with_scipy() -> None:
    """Student's t and the F distribution, on which intervals by groups rest."""
    for freedom, p in itertools.product((1, 4, 19, 99, 9999), (0.6, 0.9, 0.975, 0.999)):
        assert student_quantile(p, freedom) == CLOSE(stats.t.ppf(p, freedom), rel=1e-8)
        assert student_sf(1.7, freedom) == CLOSE(stats.t.sf(1.7, freedom), rel=1e-9)
    assert fisher_sf(1.4, 19, 180) == CLOSE(stats.f.sf(1.4, 19, 180), rel=1e-9)
    for above, below, p in itertools.product((4, 19, 99), (45, 180, 90_000), (0.025, 0.1, 0.5)):
        assert fisher_quantile(p, above, below) == CLOSE(stats.f.ppf(p, above, below), rel=1e-8)


@pytest.mark.parametrize("trials", [1, 5, 20, 50])
def test_clopper_pearson_covers_what_it_says(trials: int) -> None:
    """By exact summation, at 200 true rates: never less than 95 %."""
    intervals = [clopper_pearson(failures, trials) for failures in range(trials + 1)]
    for step in range(1, 200):
        p = step / 200
        covered = sum(stats.binom.pmf(x, trials, p) for x, one in enumerate(intervals) if one.low <= p <= one.high)
        assert covered >= 0.95 - 1e-12


def sums_of(groups: list[tuple[int, int]]) -> Sums:
    """Add groups of (trials, failures)."""
    sums = Sums()
    for trials, failures in groups:
        sums = sums.plus(trials, failures)
    return sums


def test_tarone_is_its_definition() -> None:
    """The streaming sums give what the formula gives for the groups themselves."""
    groups = [(10, 3), (10, 7), (8, 0), (12, 12), (10, 5)]
    trials, failures = sum(n for n, _ in groups), sum(x for _, x in groups)
    p = failures / trials
    scatter = sum((x - n * p) ** 2 for n, x in groups) / (p * (1 - p))
    z = (scatter - trials) / math.sqrt(2 * sum(n * (n - 1) for n, _ in groups))
    found = overdispersion(sums_of(groups))
    assert found.z == CLOSE(z)
    assert found.p_value == CLOSE(stats.norm.sf(z))


def test_the_icc_is_that_of_the_analysis_of_variance() -> None:
    """Equal groups: the mean squares of scipy's one-way analysis, combined."""
    groups = [[0] * 8 + [1] * 2, [1] * 9 + [0], [0] * 10, [1] * 5 + [0] * 5]
    ratio = stats.f_oneway(*groups).statistic
    found = overdispersion(sums_of([(10, sum(group)) for group in groups]))
    assert found.icc == CLOSE((ratio - 1) / (ratio + 9))


@pytest.mark.parametrize("groups", [[], [(10, 3)], [(10, 0), (10, 0)], [(5, 5), (5, 5)], [(1, 1), (1, 0), (1, 1)]])
def test_where_nothing_can_be_told_nothing_is(groups: list[tuple[int, int]]) -> None:
    """One group, one outcome, groups of one: no overdispersion is claimed."""
    assert overdispersion(sums_of(groups)) == (0.0, 0.5, 0.0)


@pytest.mark.long
@pytest.mark.parametrize(
    ("test", "fixed", "figures"),
    [
        (SequentialTest(0.30, 0.35, 0.05, 0.05), 960, (479, 470, 1688)),
        (SequentialTest(0.30, 0.35, 0.01, 0.01), 1899, (807, 790, 2567)),
        (SequentialTest(0.01, 0.03, 0.05, 0.05), 521, (297, 230, 912)),
        (SequentialTest(0.01, 0.03, 0.01, 0.01), 1014, (492, 372, 1377)),
    ],
)
@pytest.mark.slow
def test_the_table_of_trials_needed(test: SequentialTest, fixed: int, figures: tuple[int, int, int]) -> None:
    """Fixed size, and Wald's test's mean at p0 and p1 and its 99th percentile, all exact; errors within his bounds."""
    calm, alarmed = test.operating(test.p0, 8 * fixed), test.operating(test.p1, 8 * fixed)
    assert fixed_trials(*test) == fixed
    assert (round(calm.mean_trials), round(alarmed.mean_trials), calm.quantile(0.99)) == figures
    assert calm.accepts_p1 <= test.alpha / (1 - test.beta)
    assert alarmed.accepts_p0 <= test.beta / (1 - test.alpha)


def test_a_sequential_test_against_every_sequence() -> None:
    """Operating characteristics equal those summed over all sequences of ten trials, one by one."""
    test, p, cap = SequentialTest(0.2, 0.8, 0.1, 0.1), 0.35, 10
    ends, answers = [0.0] * cap, {"p0": 0.0, "p1": 0.0, None: 0.0}
    for sequence in itertools.product((0, 1), repeat=cap):
        weight = math.prod(p if one else 1 - p for one in sequence)
        decided = next((n for n in range(1, cap + 1) if test.decide(sum(sequence[:n]), n)), cap)
        ends[decided - 1] += weight
        answers[test.decide(sum(sequence[:decided]), decided)] += weight
    found = test.operating(p, cap)
    assert found.ends == CLOSE(ends)
    assert (found.accepts_p0, found.accepts_p1, found.undecided) == CLOSE(tuple(answers.values()))


def test_a_downward_test_is_its_mirror() -> None:
    """A drop is found as a rise is."""
    assert SequentialTest(0.3, 0.15).decide(0, 40) == "p1"
    assert SequentialTest(0.3, 0.15).decide(20, 40) == "p0"
    assert SequentialTest(0.3, 0.15).cap() == 3 * fixed_trials(0.15, 0.3, 0.05, 0.05)


@pytest.mark.parametrize(
    ("trials", "rate", "needed", "naive"),
    [
        *((30, 0.1, 4, 2), (30, 0.3, 7, 4), (30, 0.5, 12, 7)),
        *((100, 0.1, 3, 2), (100, 0.3, 5, 4), (100, 0.5, 9, 7)),
        *((1000, 0.1, 3, 2), (1000, 0.3, 5, 4), (1000, 0.5, 8, 7)),
    ],
)
def test_the_table_of_attempts(trials: int, rate: float, needed: int, naive: int) -> None:
    """Attempts for P(all fail) of 1 %, from the upper bound; and from the rate itself, which is too few."""
    assert attempts_needed(upper_bound(round(trials * rate), trials), 0.01) == needed
    assert attempts_needed(rate, 0.01) == naive


def test_correlation_dominates() -> None:
    """At .3 and ICC 0, .1, .2, .5: 4, 6, 9, 151 attempts; by the beta-binomial of scipy as well."""
    assert [attempts_needed(0.3, 0.01, icc) for icc in (0, 0.1, 0.2, 0.5)] == [4, 6, 9, 151]
    assert all_fail(0.3, 0.2, 9) == CLOSE(stats.betabinom.pmf(9, 9, 0.3 * 4, 0.7 * 4))
    assert all_fail(0.3, 0, 4) == CLOSE(0.3**4)
    assert attempts_needed(1.0, 0.01) is None


@pytest.mark.parametrize(("trials", "left"), [(3, 0.63), (10, 0.26), (300, 0.01)])
def test_deterministic_is_never_proved(trials: int, left: float) -> None:
    """No success in n still allows a success rate of 63 %, 26 %, 1 %."""
    assert 1 - lower_bound(trials, trials) == CLOSE(left, abs=0.005)


def test_expected_waits_are_those_of_every_row() -> None:
    """Summed over all rows of five attempts, one by one."""
    p, size = 0.3, 5
    counted = [0.0] * size
    for row in itertools.product((0, 1), repeat=size):
        weight, wait = math.prod(p if one else 1 - p for one in row), 0
        for failed in row:
            wait += 1
            if not failed:
                counted[wait - 1] += weight
                wait = 0
    assert expected_waits(p, 7, size) == CLOSE([7 * one for one in counted])


def test_critical_is_the_least_that_is_too_many() -> None:
    """One fewer would come too often."""
    for trials, p0, alpha in itertools.product((10, 100, 1000), (0.01, 0.3), (0.05, 0.001)):
        least = critical(trials, p0, alpha)
        assert binomial_sf(least, trials, p0) <= alpha < binomial_sf(least - 1, trials, p0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: clopper_pearson(3, 2),
        lambda: wilson(-1, 2),
        lambda: upper_bound(1, 2, 1.0),
        lambda: all_fail(1.5, 0, 2),
        lambda: attempts_needed(0.5, 0),
        lambda: SequentialTest(0.3, 0.3).check(),
        lambda: SequentialTest(0.3, 1.2).check(),
        lambda: fixed_trials(0, 0.5, 0.05, 0.05),
    ],
)
def test_what_is_no_probability_is_wrong_use(wrong: object) -> None:
    """One line, no figure."""
    assert callable(wrong)
    with pytest.raises(InvalidInputError):
        wrong()
