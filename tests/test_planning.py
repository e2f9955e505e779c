"""Plans: how many trials a rule takes, before the first one."""

import random

import pytest

from harness.experiments.groups import FEWEST_GROUPS, Sums, grouped_interval, overdispersion, typical
from harness.experiments.planning import Forecast, forecasts
from harness.experiments.sequential import SequentialTest
from harness.experiments.stopping import Stopping
from harness.experiments.tally import GROUP

TEST = SequentialTest(0.3, 0.4, 0.05, 0.1)


def test_typical_groups_are_those_of_independent_trials() -> None:
    """Their variance ratio is 1, so that the estimated correlation is 0."""
    sums = typical(120, 40)
    assert (sums.groups, sums.trials, sums.failures) == (40, 400, 120)
    assert overdispersion(sums).icc == pytest.approx(0)


def test_a_number_of_trials_is_what_it_says() -> None:
    """Whatever the rate."""
    assert forecasts(Stopping(trials=70), None) == [Forecast("--trials 70", None, 70)]


def test_a_sequential_test_is_computed_exactly() -> None:
    """At both rates, and between them where it takes longest; the mean, not the cap, rounded up to groups."""
    low, between, high = forecasts(Stopping(sequential=TEST), None)
    exact = TEST.operating(0.3, TEST.cap())
    assert (low.rate, high.rate) == (0.3, 0.4)
    assert low.trials is not None
    assert 0 <= low.trials - exact.mean_trials < GROUP
    assert low.right == exact.accepts_p0 > 0.94
    assert high.right is not None
    assert high.right > 0.89
    assert (between.trials or 0) > max(low.trials, high.trials or 0)
    assert between.right is None
    assert TEST.cap() >= (between.within or 0) > (between.trials or 0)


def stopped(rate: float, width: float, draw: random.Random) -> int:
    """Trials until the interval of independent ones is as narrow."""
    sums = Sums()
    while sums.groups < FEWEST_GROUPS or grouped_interval(sums).half_width > width:
        sums = sums.plus(GROUP, sum(draw.random() < rate for _ in range(GROUP)))
    return sums.trials


@pytest.mark.slow
def test_a_width_takes_as_many_as_simulated() -> None:
    """On average, within a sixth; a rate of one half takes the most."""
    planned = {one.rate: one.trials or 0 for one in forecasts(Stopping(width=0.1), None)}
    draw = random.Random(5)
    for rate in (0.5, 0.1):
        seen = [stopped(rate, 0.1, draw) for _ in range(60)]
        assert sum(seen) / len(seen) == pytest.approx(planned[rate], rel=1 / 6)
    assert planned[0.5] == max(planned.values())


@pytest.mark.slow
def test_a_bound_is_shown_as_often_as_planned() -> None:
    """With so many independent trials at half the rate, the upper bound is below it in 19 of 20 experiments."""
    never, half, close = forecasts(Stopping(), 0.2)
    assert (never.trials or 0) < (half.trials or 0) < (close.trials or 0)
    assert half.trials
    draw, shown = random.Random(6), 0
    for _ in range(200):
        sums = Sums()
        for _ in range(half.trials // GROUP):
            sums = sums.plus(GROUP, sum(draw.random() < 0.1 for _ in range(GROUP)))
        shown += grouped_interval(sums, 0.9).high < 0.2
    assert 0.9 <= shown / 200 <= 0.99


def test_what_no_number_of_trials_shows_is_said() -> None:
    """A width that would take more than 10^9 trials."""
    assert forecasts(Stopping(width=1e-7), None)[0].trials is None
