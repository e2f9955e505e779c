"""Trials in groups: whether those of one group resemble each other, and what their likeness does to an interval. Pure.

A group is ten trials that follow each other, a block ten groups. What a process leaves behind (a state file, a warm
cache, a load that comes and goes) makes neighbours alike, so a hundred trials tell less than a hundred.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from harness.experiments.statistics import (
    CONFIDENCE,
    NORMAL,
    Interval,
    check_counts,
    clopper_pearson,
    fisher_quantile,
    fisher_sf,
    score_interval,
    student_quantile,
)

FEWEST_GROUPS = 5
"""With fewer, nothing can be told of likeness, and an interval takes the trials as independent."""

LIKENESS_CONFIDENCE = 0.9
"""One-sided, of the bound of the intra-class correlation on which intervals rest."""


class Sums(NamedTuple):
    """What is needed of groups of n trials with x failures each, and does not grow with their number.

    The sums of n, x, n², nx, x² and x²/n: exact, so that groups may be added in any order.
    """

    groups: int = 0
    trials: int = 0
    failures: int = 0
    squares: int = 0
    products: int = 0
    failure_squares: int = 0
    ratios: Fraction = Fraction(0)

    def plus(self, trials: int, failures: int) -> Sums:
        """Add a group."""
        check_counts(failures, trials)
        return Sums(
            self.groups + 1,
            self.trials + trials,
            self.failures + failures,
            self.squares + trials * trials,
            self.products + trials * failures,
            self.failure_squares + failures * failures,
            self.ratios + Fraction(failures * failures, trials),
        )

    @property
    def size(self) -> float:
        """Trials a group: the mean size, less what its scatter takes away (the analysis of variance's n0)."""
        return (self.trials - self.squares / self.trials) / (self.groups - 1)

    @property
    def is_mute(self) -> bool:
        """Whether likeness can't show: fewer than two groups, groups of one trial, or one outcome in all."""
        return self.groups <= 1 or self.failures in (0, self.trials) or self.squares <= self.trials


def typical(failures: int, groups: int, size: int = 10) -> Sums:
    """Return the sums of independent trials as they are on average: the variance ratio is 1. For a plan."""
    trials = groups * size
    alike = Fraction(failures * failures, trials)
    ratios = (failures * (groups - 1) + alike * (trials - groups)) / (trials - 1)
    return Sums(groups, trials, failures, trials * size, failures * size, round(ratios * size), ratios)


class Overdispersion(NamedTuple):
    """Tarone's Z, standard normal when trials are independent; its one-sided p-value; the ICC estimate."""

    z: float
    p_value: float
    icc: float


def overdispersion(sums: Sums) -> Overdispersion:
    """Test whether trials of one group resemble each other more than independent ones would (Tarone 1979).

    The ICC is the analysis of variance's estimate. Where likeness can't show, z and ICC are 0.
    """
    if sums.is_mute:
        return Overdispersion(0.0, 0.5, 0.0)
    p = sums.failures / sums.trials
    scatter = (sums.failure_squares - 2 * p * sums.products + p * p * sums.squares) / (p * (1 - p))
    z = (scatter - sums.trials) / math.sqrt(2 * (sums.squares - sums.trials))
    return Overdispersion(z, 1 - NORMAL.cdf(z), _icc_at(sums, _variance_ratio(sums)))


def _variance_ratio(sums: Sums) -> float:
    """Mean square between groups over the one within: 1 on average where trials are independent."""
    between = float(sums.ratios - Fraction(sums.failures**2, sums.trials)) / (sums.groups - 1)
    within = float(sums.failures - sums.ratios) / (sums.trials - sums.groups)
    return between / within if within else math.inf


def chance_of_likeness(sums: Sums) -> float:
    """Probability of as large a variance ratio among independent trials, by the F distribution; 1 where none shows.

    Tarone's Z has more power against a weak likeness, but its normal tail is too thin where there are few groups.
    """
    if sums.is_mute:
        return 1.0
    return fisher_sf(_variance_ratio(sums), sums.groups - 1, sums.trials - sums.groups)


def _icc_at(sums: Sums, ratio: float) -> float:
    return 1.0 if math.isinf(ratio) else (ratio - 1) / (ratio + sums.size - 1)


def icc_bound(sums: Sums, confidence: float = LIKENESS_CONFIDENCE) -> float:
    """Upper one-sided bound of the intra-class correlation, 0 to 1, by the F distribution of the variance ratio.

    1 where likeness can't show.
    """
    if sums.is_mute:
        return 1.0
    least = fisher_quantile(1 - confidence, sums.groups - 1, sums.trials - sums.groups)
    return min(1.0, max(0.0, _icc_at(sums, _variance_ratio(sums) / least)))


def design_effect(sums: Sums, icc: float) -> float:
    """How many trials that resemble each other are worth one that is independent; at least 1."""
    return max(1.0, 1 + (sums.squares / sums.trials - 1) * icc)


def grouped_interval(sums: Sums, confidence: float = CONFIDENCE) -> Interval:
    """Two-sided interval of the failure rate for trials that may resemble each other within groups.

    A score interval of as many trials as they are worth at the ICC's upper bound, with Student's t for the number of
    groups. With fewer than five groups, or where likeness can't show, the exact interval of independent trials.
    How often it covers is simulated in tests/test_likeness.py and shown in docs/statistics.md.
    """
    if sums.groups < FEWEST_GROUPS or sums.is_mute:
        return clopper_pearson(sums.failures, sums.trials, confidence) if sums.trials else Interval(0.0, 1.0)
    worth = sums.trials / design_effect(sums, icc_bound(sums))
    t = student_quantile((1 + confidence) / 2, sums.groups - 1)
    return score_interval(sums.failures / sums.trials, worth, t)
