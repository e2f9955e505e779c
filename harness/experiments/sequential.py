"""Tests of a failure rate against two given ones: of fixed size, and sequential (Wald 1945). Pure."""

from __future__ import annotations

import math
from typing import NamedTuple

from harness.exceptions import InvalidInputError
from harness.experiments.statistics import NORMAL, binomial_cdf, binomial_sf, check_probability

_WELL_BELOW = 0.8  # of what the normal approximation gives, the search begins


def fixed_trials(p0: float, p1: float, alpha: float, beta: float) -> int:
    """Fewest trials with which an exact one-sided test of p0 < p1 keeps both error rates."""
    for name, value in (("p0", p0), ("p1", p1), ("alpha", alpha), ("beta", beta)):
        check_probability(name, value)
    one, two = NORMAL.inv_cdf(1 - alpha), NORMAL.inv_cdf(1 - beta)
    spread = one * math.sqrt(p0 * (1 - p0)) + two * math.sqrt(p1 * (1 - p1))
    trials = max(1, math.floor(_WELL_BELOW * (spread / (p1 - p0)) ** 2))
    while binomial_cdf(critical(trials, p0, alpha) - 1, trials, p1) > beta:
        trials += 1
    return trials


def critical(trials: int, p0: float, alpha: float) -> int:
    """Fewest failures that are too many for rate p0: as many or more come with probability alpha or less."""
    low, high = 0, trials + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if binomial_sf(middle, trials, p0) <= alpha else (middle + 1, high)
    return low


class Operating(NamedTuple):
    """What a sequential test does at one true rate: how it ends, and after how many trials."""

    accepts_p0: float
    accepts_p1: float
    undecided: float
    mean_trials: float
    ends: list[float]  # probability to end at trial 1, 2, …; the last has the undecided too

    def quantile(self, q: float) -> int:
        """Return the number of trials by which it has ended with probability `q`."""
        reached = 0.0
        for trial, share in enumerate(self.ends, 1):
            reached += share
            if reached >= q:
                return trial
        return len(self.ends)


class SequentialTest(NamedTuple):
    """Wald's test of a failure rate: p0 against p1, with error rates alpha (p1 chosen at p0) and beta."""

    p0: float
    p1: float
    alpha: float = 0.05
    beta: float = 0.05

    def check(self) -> None:
        """Raise InvalidInputError for rates that are equal, or that are no probabilities."""
        for name, value in zip(self._fields, self, strict=True):
            check_probability(name, value)
        if self.p0 == self.p1 or self.alpha + self.beta >= 1:
            raise InvalidInputError("expected p0 and p1 apart, and alpha + beta below 1")

    def decide(self, failures: int, trials: int) -> str | None:
        """Answer "p0" or "p1", or None while it is open."""
        ratio = failures * math.log(self.p1 / self.p0)
        ratio += (trials - failures) * math.log((1 - self.p1) / (1 - self.p0))
        if ratio >= math.log((1 - self.beta) / self.alpha):
            return "p1"
        return "p0" if ratio <= math.log(self.beta / (1 - self.alpha)) else None

    def steps_left(self, failures: int, trials: int) -> float:
        """Return about how many trials it still takes at the rate seen so far (Wald's approximation of the mean)."""
        rate = (failures + 0.5) / (trials + 1)
        up, down = math.log(self.p1 / self.p0), math.log((1 - self.p1) / (1 - self.p0))
        now, drift = failures * up + (trials - failures) * down, rate * up + (1 - rate) * down
        bound = math.log((1 - self.beta) / self.alpha) if drift > 0 else math.log(self.beta / (1 - self.alpha))
        return max(0.0, (bound - now) / drift) if abs(drift) > 1e-12 else math.inf  # noqa: PLR2004 -- nothing moves

    def cap(self, times: int = 3) -> int:
        """Return `times` the trials that a test of fixed size needs."""
        return times * fixed_trials(min(self.p0, self.p1), max(self.p0, self.p1), self.alpha, self.beta)

    def operating(self, p: float, cap: int) -> Operating:
        """Compute exactly how it behaves at the true rate `p` when it gives up after `cap` trials."""
        open_at, ends, accepted = {0: 1.0}, list[float](), {"p0": 0.0, "p1": 0.0}
        for trial in range(1, cap + 1):
            after: dict[int, float] = {}
            for failures, weight in open_at.items():
                after[failures] = after.get(failures, 0.0) + weight * (1 - p)
                after[failures + 1] = after.get(failures + 1, 0.0) + weight * p
            ended = {failures: self.decide(failures, trial) for failures in after}
            for failures, answer in ended.items():
                if answer:
                    accepted[answer] += after[failures]
            open_at = {failures: weight for failures, weight in after.items() if ended[failures] is None}
            ends.append(sum(after[failures] for failures, answer in ended.items() if answer))
        left = sum(open_at.values())
        ends[-1] += left
        mean = sum(trial * share for trial, share in enumerate(ends, 1))
        return Operating(accepted["p0"], accepted["p1"], left, mean, ends)
