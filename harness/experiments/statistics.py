"""Statistics of crash experiments: numbers in, numbers out, by the standard library alone.

Counts are `failures` of `trials`; probabilities and confidences are in [0, 1]. A quantity that would be wrong use (more
failures than trials, a probability of 2) raises InvalidInputError.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from harness.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIDENCE = 0.95
NORMAL = NormalDist()
_TINY = 1e-300
_TURNS = 10_000


class Interval(NamedTuple):
    """Bounds of a probability."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the distance between the bounds."""
        return (self.high - self.low) / 2


def check_counts(failures: int, trials: int) -> None:
    """Raise InvalidInputError for more failures than trials."""
    if not 0 <= failures <= trials:
        raise InvalidInputError(f"expected 0 <= failures <= trials, not {failures} of {trials}")


def check_probability(name: str, value: float, *, open_ended: bool = True) -> None:
    """Raise InvalidInputError for a number outside (0, 1), or outside [0, 1] where the ends are allowed."""
    if not (0 < value < 1 if open_ended else 0 <= value <= 1):
        raise InvalidInputError(f"{name}: expected a probability, not {value}")


# --- the beta distribution, which all binomial bounds are ---


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function, by Lentz's continued fraction; a, b > 0."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _TURNS):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / _nonzero(1 + step * d), _nonzero(1 + step / c)
            value *= c * d
        if abs(c * d - 1) < 1e-15:  # noqa: PLR2004 -- the last bit of a double
            break
    return value


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def beta_quantile(p: float, a: float, b: float) -> float:
    """Return x with beta_cdf(x, a, b) = p, by bisection to the last bit."""
    return _bisect(lambda x: beta_cdf(x, a, b) < p, 0.0, 1.0)


def _bisect(below: Callable[[float], bool], low: float, high: float) -> float:
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        low, high = (middle, high) if below(middle) else (low, middle)


def student_sf(t: float, freedom: float) -> float:
    """Probability that Student's t with `freedom` degrees of freedom is above t >= 0."""
    return beta_cdf(freedom / (freedom + t * t), freedom / 2, 0.5) / 2


@lru_cache(maxsize=256)
def student_quantile(p: float, freedom: float) -> float:
    """Return t >= 0 with student_sf(t, freedom) = 1 - p, for p of one half and more."""
    x = beta_quantile(2 * (1 - p), freedom / 2, 0.5)
    return math.sqrt(freedom * (1 - x) / x)


def fisher_sf(ratio: float, above: float, below: float) -> float:
    """Probability that the F distribution with `above` and `below` degrees of freedom is above `ratio` >= 0."""
    return beta_cdf(below / (below + above * ratio), below / 2, above / 2)


@lru_cache(maxsize=256)
def fisher_quantile(p: float, above: float, below: float) -> float:
    """Quantile of the F distribution with `above` and `below` degrees of freedom."""
    x = beta_quantile(p, above / 2, below / 2)
    return below * x / (above * (1 - x))


# --- intervals ---


def clopper_pearson(failures: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Two-sided exact interval: covers at least as often as it says, whatever the rate. For decisions."""
    tail = (1 - confidence) / 2
    return Interval(lower_bound(failures, trials, 1 - tail), upper_bound(failures, trials, 1 - tail))


def lower_bound(failures: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """One-sided Clopper-Pearson bound."""
    check_counts(failures, trials)
    check_probability("confidence", confidence)
    return beta_quantile(1 - confidence, failures, trials - failures + 1) if failures else 0.0


def upper_bound(failures: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """One-sided Clopper-Pearson bound."""
    check_counts(failures, trials)
    check_probability("confidence", confidence)
    return beta_quantile(confidence, failures + 1, trials - failures) if failures < trials else 1.0


def wilson(failures: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Two-sided score interval for independent trials: it covers about as often as it says."""
    check_counts(failures, trials)
    if trials == 0:
        return Interval(0.0, 1.0)
    found = score_interval(failures / trials, trials, NORMAL.inv_cdf((1 + confidence) / 2))
    return Interval(found.low if failures else 0.0, found.high if failures < trials else 1.0)


def score_interval(rate: float, trials: float, z: float) -> Interval:
    """Rates from which `rate`, seen in `trials` independent trials, lies less than `z` standard errors away."""
    share = z * z / trials
    middle = rate + share / 2
    spread = z * math.sqrt(rate * (1 - rate) / trials + share / (4 * trials))
    return Interval((middle - spread) / (1 + share), (middle + spread) / (1 + share))


# --- exact tests ---


def binomial_cdf(failures: int, trials: int, p: float) -> float:
    """Probability of at most that many."""
    if failures < 0:
        return 0.0
    return 1.0 if failures >= trials else 1 - beta_cdf(p, failures + 1, trials - failures)


def binomial_sf(failures: int, trials: int, p: float) -> float:
    """Probability of at least that many."""
    return 1.0 if failures <= 0 else beta_cdf(p, failures, trials - failures + 1) if failures <= trials else 0.0
