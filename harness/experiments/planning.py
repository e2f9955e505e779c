"""How many trials an experiment will take, before its first one. Pure.

Trials are counted in groups of ten, since a rule is looked at after each group. What the plan rests on are independent
trials: those that resemble each other take more, which only the experiment itself can see.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from harness.experiments.groups import FEWEST_GROUPS, grouped_interval, typical
from harness.experiments.statistics import CONFIDENCE, binomial_cdf
from harness.experiments.tally import GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.experiments.groups import Sums
    from harness.experiments.sequential import SequentialTest
    from harness.experiments.stopping import Stopping

RATES: Final = (0.5, 0.1, 0.01)
"""Rates for which the trials to a width are given; the first takes the most."""

MOST_GROUPS: Final = 10**8
WITHIN: Final = 0.95


class Forecast(msgspec.Struct, frozen=True):
    """What one stopping rule takes if the failure rate is `rate`; None where the rate has no part.

    `trials` of each variant: the mean of a sequential test, else as many as it takes; None where no number of trials
    is enough. A sequential test ends within `within` trials in 95 of 100 cases, and decides rightly with probability
    `right`.
    """

    rule: str
    rate: float | None
    trials: int | None
    within: int | None = None
    right: float | None = None


def forecasts(stopping: Stopping, expect_below: float | None) -> list[Forecast]:
    """Say what each rule takes."""
    found = []
    if stopping.trials is not None:
        found.append(Forecast(f"--trials {stopping.trials}", None, stopping.trials))
    if stopping.width is not None:
        found += [_width(stopping.width, rate) for rate in RATES]
    if stopping.sequential is not None:
        found += _sequential(stopping.sequential, stopping.cap)
    if expect_below is not None:
        found += [_below(expect_below, share * expect_below) for share in (0.0, 0.5, 0.8)]
    return found


def _width(width: float, rate: float) -> Forecast:
    def is_narrow(groups: int) -> bool:
        return grouped_interval(_seen(rate, groups)).half_width <= width

    return Forecast(f"--width {width:g}", rate, _trials(is_narrow))


def _below(limit: float, rate: float) -> Forecast:
    """Count the trials with which the upper bound is below the limit in 95 of 100 experiments."""

    def is_shown(groups: int) -> bool:
        failures = _quantile(WITHIN, groups * GROUP, rate)
        return grouped_interval(typical(failures, groups), 2 * CONFIDENCE - 1).high < limit

    return Forecast(f"--expect-below {limit:g}", rate, _trials(is_shown), right=WITHIN)


def _seen(rate: float, groups: int) -> Sums:
    return typical(max(1, round(rate * groups * GROUP)), groups)


def _trials(is_enough: Callable[[int], bool]) -> int | None:
    """Search for the fewest groups that are enough, and give their trials."""
    high = FEWEST_GROUPS
    while not is_enough(high):
        high *= 2
        if high > MOST_GROUPS:
            return None
    low = FEWEST_GROUPS - 1 if high == FEWEST_GROUPS else high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high * GROUP


def _quantile(q: float, trials: int, rate: float) -> int:
    """Fewest failures that are not exceeded with probability `q`."""
    low, high = -1, trials
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if binomial_cdf(middle, trials, rate) >= q else (middle, high)
    return high if rate else 0


def _sequential(test: SequentialTest, cap: int) -> Iterator[Forecast]:
    """At both rates, and where it takes longest: between them, where neither draws."""
    up, down = math.log(test.p1 / test.p0), math.log((1 - test.p0) / (1 - test.p1))
    for rate in (test.p0, down / (up + down), test.p1):
        seen = test.operating(rate, test.cap(cap))
        right = {test.p0: seen.accepts_p0, test.p1: seen.accepts_p1}.get(rate)
        yield Forecast(
            f"--sprt {test.p0:g}:{test.p1:g}", rate, _whole(seen.mean_trials), _whole(seen.quantile(WITHIN)), right
        )


def _whole(trials: float) -> int:
    """Round up to a group."""
    return math.ceil(trials / GROUP) * GROUP
