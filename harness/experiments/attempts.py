"""How many attempts it takes until one succeeds, independent or alike (beta-binomial). Pure."""

from __future__ import annotations

import math

from harness.experiments.statistics import check_probability

MOST_ATTEMPTS = 10_000
_SLACK = 1 + 1e-12  # .1 * .1 is not above .01


def all_fail(p: float, icc: float, attempts: int) -> float:
    """Probability that all attempts fail, at rate p and intra-class correlation `icc` >= 0 (beta-binomial)."""
    check_probability("p", p, open_ended=False)
    return math.prod(_one_more(p, icc, failed) for failed in range(attempts))


def _one_more(p: float, icc: float, failed: int) -> float:
    """Probability that an attempt fails after so many that did."""
    if failed == 0 or icc <= 0:
        return p
    mass = (1 - icc) / icc if icc < 1 else 0.0
    return (p * mass + failed) / (mass + failed)


def attempts_needed(p: float, target: float, icc: float = 0.0) -> int | None:
    """Fewest attempts for which all fail with probability `target` or less; None when 10,000 do not do."""
    check_probability("target", target)
    left = 1.0
    for attempt in range(MOST_ATTEMPTS):
        left *= _one_more(p, icc, attempt)
        if left <= target * _SLACK:
            return attempt + 1
    return None


def expected_waits(p: float, groups: int, size: int) -> list[float]:
    """Expected counts of first successes after 1, 2, … `size` attempts, in `groups` rows of `size` attempts.

    A wait begins at the row's start and after each success; what the row's end cuts off is not counted. Independent
    attempts that fail at rate p: the geometric distribution, censored.
    """
    success = 1 - p
    return [groups * success * p ** (k - 1) * (1 + (size - k) * success) for k in range(1, size + 1)]
