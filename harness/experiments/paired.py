"""Two variants, fired in turn, compared group by group. Pure.

Trials of one group may resemble each other, so groups are the units and not trials: what likeness adds to both is in
the scatter of their differences. Where memory outlasts a group, as the lag-1 correlations show, the units are blocks.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

import msgspec

from harness.experiments.series import Series, has_memory, left_over
from harness.experiments.statistics import student_sf

GROUPS_A_BLOCK = 10
FEWEST_PAIRS = 5
SURE_TRIALS = 1000
"""From so many trials of each variant on, equal ones differ in at most 6 % of cases whatever their memory."""

LEVELS = ((300, 0.06), (250, 0.09), (200, 0.1), (150, 0.16), (0, 0.23))
"""From so many trials on: how often equal variants differ at worst, where outcomes follow each other beyond a group.

Where likeness ends with a group it is at most 6 % from the first test on. All simulated: docs/statistics.md.
"""


class Method(StrEnum):
    """What was tested."""

    GROUPS = "paired t test on groups of ten"
    BLOCKS = "paired t test on blocks of a hundred, since outcomes follow each other beyond a group"
    TOO_FEW = "no test: too few trials for one"
    MEMORY = "no test: outcomes follow each other beyond a group, and there are too few blocks of a hundred"


class Comparison(NamedTuple):
    """`odds_ratio` is the second variant's odds of failure over the first's (0 to infinity), pooled over pairs."""

    method: Method
    p_value: float
    odds_ratio: float


class Pairing(msgspec.Struct):
    """What is kept of two interleaved variants: sums, which do not grow with the trials.

    `differences` are the second variant's failures less the first's, by pairs of whole groups, and by blocks of ten
    such pairs; `order` has the failures of all groups as they were fired. `cross` are the sums of the common odds
    ratio of Mantel and Haenszel: one variant's failures times the other's successes.
    """

    differences: Series = Series()
    blocks: Series = Series()
    order: Series = Series()
    each: tuple[Series, Series] = (Series(), Series())
    cross: tuple[int, int] = (0, 0)
    open_block: int = 0
    waiting: dict[int, tuple[int, int]] = {}

    def add(self, index: int, which: int, failures: int, trials: int) -> None:
        """Add a whole group: the `index`th of the first variant (`which` 0) or of the second (1)."""
        self.order = self.order.plus(failures)
        first, second = self.each
        self.each = (first, second.plus(failures)) if which else (first.plus(failures), second)
        other = self.waiting.pop(index, None)
        if other is None:
            self.waiting[index] = (failures, trials)
            return
        pair = (other, (failures, trials)) if which else ((failures, trials), other)
        self._pair(*pair)

    def _pair(self, first: tuple[int, int], second: tuple[int, int]) -> None:
        (x, n), (y, m) = first, second
        self.cross = self.cross[0] + y * (n - x), self.cross[1] + x * (m - y)
        self.differences = self.differences.plus(y - x)
        self.open_block += y - x
        if self.differences.length % GROUPS_A_BLOCK == 0:
            self.blocks, self.open_block = self.blocks.plus(self.open_block), 0

    @property
    def lag(self) -> float:
        """The larger of two lag-1 correlations of groups: in the order fired, and within the variants."""
        first, second = self.each
        return max(self.order.lag, (first.lag + second.lag) / 2)

    def compare(self) -> Comparison:
        """Choose the test by what the data shows, and run it. p is 1 where nothing can be told."""
        up, down = self.cross
        odds = up / down if down else math.inf if up else 1.0
        if self.differences.length < FEWEST_PAIRS:
            return Comparison(Method.TOO_FEW, 1.0, odds)
        if not has_memory(self.lag, self.order.length):
            return Comparison(Method.GROUPS, _t_test(self.differences), odds)
        if self.blocks.length < FEWEST_PAIRS:
            return Comparison(Method.MEMORY, 1.0, odds)
        return Comparison(Method.BLOCKS, _t_test(self.blocks, left_over(self.lag, GROUPS_A_BLOCK)), odds)


def real_level(trials: int) -> float:
    """How often two equal variants with so many trials each are said to differ at 5 %, at worst."""
    return next(level for fewest, level in LEVELS if trials >= fewest)


def _t_test(differences: Series, excess: float = 1.0) -> float:
    """Two-sided p-value of no difference; `excess` multiplies the variance."""
    if differences.variance == 0:
        return 1.0 if differences.total == 0 else 0.0
    t = differences.mean / math.sqrt(differences.variance * excess / differences.length)
    return 2 * student_sf(abs(t), differences.length - 1)


def holm(p_values: list[float]) -> list[float]:
    """Adjust p-values for looking at several comparisons (Holm 1979): same order, each at most 1."""
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, p_values[at] * (len(p_values) - rank)))
        adjusted[at] = worst
    return adjusted
