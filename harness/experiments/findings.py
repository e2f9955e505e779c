"""What the counts of an experiment say: rate, independence, attempts to success, advice. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from harness.experiments.statistics import (
    CONFIDENCE,
    Comparison,
    Interval,
    Overdispersion,
    all_fail,
    attempts_needed,
    clopper_pearson,
    compare,
    expected_waits,
    lower_bound,
    overdispersion,
    upper_bound,
    wilson,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.experiments.tally import Tally

TARGET = 0.01
SUSPICIOUS = 0.05  # p-value below which the ICC is taken into account


class Row(msgspec.Struct, frozen=True):
    """One kind of trial and how many there were."""

    injected: str
    ended: str
    code: str
    cause: str
    branch: str
    count: int


class Wait(msgspec.Struct, frozen=True):
    """First successes after so many attempts: observed, and expected of independent attempts."""

    attempts: int
    observed: int
    expected: float


class Advice(msgspec.Struct, frozen=True):
    """How many attempts it takes until all fail with probability `target` at most; None is more than 10,000.

    `rate` is the upper 95 % bound of the failure rate, `icc` the correlation that was taken into account.
    """

    target: float
    attempts: int | None
    rate: float
    icc: float
    text: str


class Finding(msgspec.Struct, frozen=True):
    """One variant's answer. `groups` and `blocks` test for likeness within groups and for drift over blocks."""

    variant: str
    trials: int
    failures: int
    rate: float
    exact: Interval
    score: Interval
    outcomes: tuple[Row, ...]
    groups: Overdispersion
    blocks: Overdispersion
    waits: tuple[Wait, ...]
    censored: int
    advice: Advice


def find(variant: str, tally: Tally, target: float = TARGET) -> Finding:
    """Draw the conclusions; `target` is what may be left of P(all attempts fail)."""
    groups = overdispersion(tally.groups)
    return Finding(
        variant=variant,
        trials=tally.trials,
        failures=tally.failures,
        rate=tally.rate,
        exact=clopper_pearson(tally.failures, tally.trials),
        score=wilson(tally.failures, tally.trials),
        outcomes=tuple(_rows(tally)),
        groups=groups,
        blocks=overdispersion(tally.blocks),
        waits=tuple(_waits(tally)),
        censored=tally.censored,
        advice=advise(tally, target),
    )


def _rows(tally: Tally) -> Iterator[Row]:
    for kind, count in sorted(tally.outcomes.items(), key=lambda item: (-item[1], item[0])):
        yield Row(kind.injected, kind.ended, kind.code, kind.cause, kind.branch, count)


def _waits(tally: Tally) -> list[Wait]:
    sums = tally.groups
    if not sums.groups:
        return []
    size = round(sums.trials / sums.groups)
    expected = expected_waits(tally.rate, sums.groups, size)
    return [Wait(k, tally.waits[k], expected[k - 1]) for k in range(1, size + 1)]


def advise(tally: Tally, target: float = TARGET) -> Advice:
    """Recommend max attempts, from the upper bound and not from the rate itself, which would be too few.

    Attempts that resemble each other count for less: the bound is that of n / (1 + (size - 1) ICC) trials.
    """
    groups, failures, trials = overdispersion(tally.groups), tally.failures, tally.trials
    icc = groups.icc if groups.icc > 0 and groups.p_value < SUSPICIOUS else 0.0
    if failures == trials:
        excluded = 1 - lower_bound(failures, trials)
        text = f"retrying will not help: no success in {trials}; a success rate above {excluded:.1%} is excluded (95 %)"
        return Advice(target, None, 1.0, icc, text)
    worth = 1 + (tally.groups.trials / tally.groups.groups - 1) * icc
    rate = upper_bound(round(failures / worth), max(round(trials / worth), round(failures / worth) + 1))
    needed = attempts_needed(rate, target, icc)
    return Advice(target, needed, rate, icc, _advice_text(needed, rate, icc, target))


def _advice_text(needed: int | None, rate: float, icc: float, target: float) -> str:
    because = f"at a failure rate of at most {rate:.1%} (95 %)"
    if icc:
        alone = attempts_needed(rate, target)
        because += f", for attempts that resemble each other (ICC {icc:.2f}; independent ones would need {alone})"
    if needed is None:
        return f"no number of attempts up to 10,000 brings P(all fail) to {target:.1%} {because}"
    return f"max attempts {needed}: P(all fail) is {all_fail(rate, icc, needed):.2%} or less {because}"


class Difference(msgspec.Struct, frozen=True):
    """Two variants, observed side by side in blocks: Cochran, Mantel and Haenszel."""

    first: str
    second: str
    rate_difference: float
    odds_ratio: float
    p_value: float
    text: str


def differ(first: Finding, second: Finding, blocks: Sequence[tuple[int, int, int, int]]) -> Difference:
    """Compare what was interleaved; `blocks` as compare() takes them."""
    found: Comparison = compare(blocks)
    gap = second.rate - first.rate
    verdict = "differ" if found.p_value < 1 - CONFIDENCE else "can't be told apart"
    odds = "∞" if math.isinf(found.odds_ratio) else f"{found.odds_ratio:.2f}"
    text = f"{verdict}: {first.rate:.1%} against {second.rate:.1%}, odds ratio {odds}, p = {found.p_value:.3g}"
    return Difference(first.variant, second.variant, gap, found.odds_ratio, found.p_value, text)
