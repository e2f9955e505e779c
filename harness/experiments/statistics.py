"""Statistics of crash experiments: numbers in, numbers out, by the standard library alone.

Counts are `failures` of `trials`; probabilities and confidences are in [0, 1]. A quantity that would be wrong use (more
failures than trials, a probability of 2) raises InvalidInputError.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from harness.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONFIDENCE = 0.95
MOST_ATTEMPTS = 10_000
_NORMAL = NormalDist()
_TINY = 1e-300
_TURNS = 10_000
_WELL_BELOW = 0.8  # of what the normal approximation gives, the search begins
_SLACK = 1 + 1e-12  # .1 * .1 is not above .01


class Interval(NamedTuple):
    """Bounds of a probability."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the distance between the bounds."""
        return (self.high - self.low) / 2


def _check(failures: int, trials: int) -> None:
    if not 0 <= failures <= trials:
        raise InvalidInputError(f"expected 0 <= failures <= trials, not {failures} of {trials}")


def _check_probability(name: str, value: float, *, open_ended: bool = True) -> None:
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


# --- intervals ---


def clopper_pearson(failures: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Two-sided exact interval: covers at least as often as it says, whatever the rate. For decisions."""
    tail = (1 - confidence) / 2
    return Interval(lower_bound(failures, trials, 1 - tail), upper_bound(failures, trials, 1 - tail))


def lower_bound(failures: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """One-sided Clopper-Pearson bound."""
    _check(failures, trials)
    _check_probability("confidence", confidence)
    return beta_quantile(1 - confidence, failures, trials - failures + 1) if failures else 0.0


def upper_bound(failures: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """One-sided Clopper-Pearson bound."""
    _check(failures, trials)
    _check_probability("confidence", confidence)
    return beta_quantile(confidence, failures + 1, trials - failures) if failures < trials else 1.0


def wilson(failures: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Two-sided score interval: for display, since it covers about as often as it says."""
    _check(failures, trials)
    if trials == 0:
        return Interval(0.0, 1.0)
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    rate, share = failures / trials, z * z / trials
    middle = rate + share / 2
    spread = z * math.sqrt(rate * (1 - rate) / trials + share / (4 * trials))
    low, high = (middle - spread) / (1 + share), (middle + spread) / (1 + share)
    return Interval(low if failures else 0.0, high if failures < trials else 1.0)


# --- exact tests ---


def binomial_pmf(failures: int, trials: int, p: float) -> float:
    """Probability of exactly that many."""
    if p in (0, 1):
        return float(failures == trials * p)
    combinations = math.lgamma(trials + 1) - math.lgamma(failures + 1) - math.lgamma(trials - failures + 1)
    return math.exp(combinations + failures * math.log(p) + (trials - failures) * math.log1p(-p))


def binomial_cdf(failures: int, trials: int, p: float) -> float:
    """Probability of at most that many."""
    if failures < 0:
        return 0.0
    return 1.0 if failures >= trials else 1 - beta_cdf(p, failures + 1, trials - failures)


def binomial_sf(failures: int, trials: int, p: float) -> float:
    """Probability of at least that many."""
    return 1.0 if failures <= 0 else beta_cdf(p, failures, trials - failures + 1) if failures <= trials else 0.0


def fixed_trials(p0: float, p1: float, alpha: float, beta: float) -> int:
    """Fewest trials with which an exact one-sided test of p0 < p1 keeps both error rates."""
    for name, value in (("p0", p0), ("p1", p1), ("alpha", alpha), ("beta", beta)):
        _check_probability(name, value)
    one, two = _NORMAL.inv_cdf(1 - alpha), _NORMAL.inv_cdf(1 - beta)
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


class Comparison(NamedTuple):
    """Two variants, compared within blocks: the common odds ratio (0 to infinity) and its p-value."""

    odds_ratio: float
    p_value: float


def compare(blocks: Sequence[tuple[int, int, int, int]]) -> Comparison:
    """Compare variants by Cochran, Mantel and Haenszel, without continuity correction.

    A block is (failures, trials) of the one and (failures, trials) of the other, observed side by side: what drifts
    from block to block cancels. p is 1 where nothing can be told.
    """
    surplus = variance = up = down = 0.0
    for first, first_trials, second, second_trials in blocks:
        both, failures = first_trials + second_trials, first + second
        if both <= 1:
            continue
        surplus += first - first_trials * failures / both
        variance += first_trials * second_trials * failures * (both - failures) / (both * both * (both - 1))
        up += first * (second_trials - second) / both
        down += second * (first_trials - first) / both
    odds = up / down if down else math.inf if up else 1.0
    if variance == 0:
        return Comparison(odds, 1.0)
    return Comparison(odds, math.erfc(abs(surplus) / math.sqrt(2 * variance)))


# --- independence ---


class Sums(NamedTuple):
    """What is needed of groups of n trials with x failures each, and does not grow with their number.

    The sums of n, x, n², nx, x² and x²/n.
    """

    groups: int = 0
    trials: int = 0
    failures: int = 0
    squares: int = 0
    products: int = 0
    failure_squares: int = 0
    ratios: float = 0.0

    def plus(self, trials: int, failures: int) -> Sums:
        """Add a group."""
        _check(failures, trials)
        return Sums(
            self.groups + 1,
            self.trials + trials,
            self.failures + failures,
            self.squares + trials * trials,
            self.products + trials * failures,
            self.failure_squares + failures * failures,
            self.ratios + failures * failures / trials,
        )


class Overdispersion(NamedTuple):
    """Tarone's Z, standard normal when trials are independent; its one-sided p-value; the ICC estimate."""

    z: float
    p_value: float
    icc: float


def overdispersion(sums: Sums) -> Overdispersion:
    """Test whether trials of one group resemble each other more than independent ones would (Tarone 1979).

    The ICC is the analysis of variance's estimate. Nothing can be told of groups of one trial, or of one outcome:
    then z and ICC are 0.
    """
    if sums.groups <= 1 or sums.failures in (0, sums.trials) or sums.squares <= sums.trials:
        return Overdispersion(0.0, 0.5, 0.0)
    p = sums.failures / sums.trials
    scatter = (sums.failure_squares - 2 * p * sums.products + p * p * sums.squares) / (p * (1 - p))
    z = (scatter - sums.trials) / math.sqrt(2 * (sums.squares - sums.trials))
    return Overdispersion(z, 1 - _NORMAL.cdf(z), _icc(sums))


def _icc(sums: Sums) -> float:
    between = (sums.ratios - sums.failures**2 / sums.trials) / (sums.groups - 1)
    within = (sums.failures - sums.ratios) / (sums.trials - sums.groups)
    size = (sums.trials - sums.squares / sums.trials) / (sums.groups - 1)
    whole = between + (size - 1) * within
    return (between - within) / whole if whole else 0.0


# --- attempts ---


def all_fail(p: float, icc: float, attempts: int) -> float:
    """Probability that all attempts fail, at rate p and intra-class correlation `icc` >= 0 (beta-binomial)."""
    _check_probability("p", p, open_ended=False)
    return math.prod(_one_more(p, icc, failed) for failed in range(attempts))


def _one_more(p: float, icc: float, failed: int) -> float:
    """Probability that an attempt fails after so many that did."""
    if failed == 0 or icc <= 0:
        return p
    mass = (1 - icc) / icc if icc < 1 else 0.0
    return (p * mass + failed) / (mass + failed)


def attempts_needed(p: float, target: float, icc: float = 0.0) -> int | None:
    """Fewest attempts for which all fail with probability `target` or less; None when 10,000 do not do."""
    _check_probability("target", target)
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


# --- sequential tests ---


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
        """Raise InvalidInputError for a test that is none."""
        for name, value in zip(self._fields, self, strict=True):
            _check_probability(name, value)
        if self.p0 == self.p1 or self.alpha + self.beta >= 1:
            raise InvalidInputError("expected p0 and p1 apart, and alpha + beta below 1")

    def decide(self, failures: int, trials: int) -> str | None:
        """Answer "p0" or "p1", or None while it is open."""
        ratio = failures * math.log(self.p1 / self.p0)
        ratio += (trials - failures) * math.log((1 - self.p1) / (1 - self.p0))
        if ratio >= math.log((1 - self.beta) / self.alpha):
            return "p1"
        return "p0" if ratio <= math.log(self.beta / (1 - self.alpha)) else None

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
