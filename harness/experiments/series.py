"""Numbers in the order in which they came: whether neighbours go together, and whether they drift. Pure.

A series keeps sums only, so it does not grow. What is asked of it is asked of what is left when its straight line is
taken away, so that drift is not mistaken for memory.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from harness.experiments.statistics import NORMAL, student_sf

MEMORY_Z = NORMAL.inv_cdf(0.95)
"""Lag-1 correlations above this many standard errors mean that memory outlasts a group."""

MOST_LAG = 0.9


class Series(NamedTuple):
    """Integers y0, y1, … as sums: of y, y², i·y and y·(the one before), with the first and the last."""

    length: int = 0
    total: int = 0
    squares: int = 0
    indexed: int = 0
    lagged: int = 0
    first: int = 0
    last: int = 0

    def plus(self, value: int) -> Series:
        """Append a number."""
        return Series(
            self.length + 1,
            self.total + value,
            self.squares + value * value,
            self.indexed + self.length * value,
            self.lagged + self.last * value,
            value if self.length == 0 else self.first,
            value,
        )

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return self.total / self.length

    @property
    def variance(self) -> float:
        """Sample variance."""
        return (self.squares - self.total * self.total / self.length) / (self.length - 1)

    @property
    def slope(self) -> float:
        """Least squares' slope, by index."""
        return (self.indexed - (self.length - 1) / 2 * self.total) / self._spread

    @property
    def residual_squares(self) -> float:
        """Sum of the squares of what the straight line leaves."""
        around = self.squares - self.total * self.total / self.length
        return max(0.0, around - self.slope**2 * self._spread)

    @property
    def _spread(self) -> float:
        """Sum of the squared distances of the indices from their mean."""
        return self.length * (self.length**2 - 1) / 12

    @property
    def lag(self) -> float:
        """Lag-1 correlation of what the straight line leaves; 0 for fewer than three numbers or a constant."""
        if self.length < 3 or self.residual_squares <= 1e-9 * self.squares:  # noqa: PLR2004 -- rounding
            return 0.0
        return self._lagged_residuals() / self.residual_squares

    def _lagged_residuals(self) -> float:
        """Sum of e_i e_(i-1), with e_i = y_i - f_i and f_i = mean + slope (i - middle), multiplied out."""
        n, mean, slope, middle = self.length, self.mean, self.slope, (self.length - 1) / 2
        later, earlier = self.total - self.first, self.total - self.last
        line_before = mean * later + slope * (self.indexed - (1 + middle) * later)
        line_after = mean * earlier + slope * (self.indexed - (n - 1) * self.last + (1 - middle) * earlier)
        squares = (n - 1) * ((n - 1) ** 2 - 1) / 12
        lines = (n - 1) * (mean * mean - slope * slope / 4) + slope * slope * squares
        return self.lagged - line_before - line_after + lines


def has_memory(lag: float, count: int) -> bool:
    """Whether a lag-1 correlation among `count` numbers is more than chance (one-sided, 5 %)."""
    return lag * math.sqrt(count) > MEMORY_Z


def left_over(lag: float, size: int) -> float:
    """How much too small the variance of a mean of blocks is: blocks of `size` numbers go together at their edges.

    `lag` is the numbers' own lag-1 correlation; the factor is that of an autoregressive series.
    """
    lag = min(max(lag, 0.0), MOST_LAG)
    return 1 + 2 * lag / (size * (1 - lag * lag))


class Slope(NamedTuple):
    """Change from a series' first number to its last, along its straight line, and the two-sided p-value."""

    change: float
    p_value: float


def slope_test(series: Series, excess: float = 1.0) -> Slope:
    """Test for drift by Student's t of the slope; `excess` multiplies the variance. p is 1 where nothing shows."""
    if series.length < 3:  # noqa: PLR2004 -- two points always lie on a line
        return Slope(0.0, 1.0)
    change = series.slope * (series.length - 1)
    if series.residual_squares <= 1e-9 * series.squares:
        return Slope(change, 1.0 if abs(change) < 1e-9 else 0.0)  # noqa: PLR2004 -- as above
    error = math.sqrt(series.residual_squares * excess / (series.length - 2) / series._spread)  # noqa: SLF001 -- its own
    return Slope(change, 2 * student_sf(abs(series.slope) / error, series.length - 2))
