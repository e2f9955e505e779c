"""What the counts of an experiment say: rate, independence, drift, attempts to success, advice. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from harness.experiments.advice import TARGET, Advice, advise
from harness.experiments.attempts import expected_waits
from harness.experiments.groups import Overdispersion, grouped_interval, overdispersion
from harness.experiments.paired import Comparison, Method, holm, real_level
from harness.experiments.statistics import CONFIDENCE, Interval, clopper_pearson, wilson
from harness.scenarios.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.experiments.sequential import SequentialTest
    from harness.experiments.series import Slope
    from harness.experiments.tally import Tally


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


class Finding(msgspec.Struct, frozen=True):
    """One variant's answer.

    `interval` is the 95 % interval of the failure rate by groups, or by blocks where `has_memory` says that outcomes
    go together beyond a group; `exact` and `score` are those of independent trials. `among` is the same by groups, but
    wider: those of all experiments of one run hold together with 95 % (Bonferroni). `groups` tests for likeness within
    groups. `drift` is the change of the rate from first to last, with its p-value.
    """

    variant: str
    trials: int
    failures: int
    rate: float
    interval: Interval
    exact: Interval
    score: Interval
    outcomes: tuple[Row, ...]
    groups: Overdispersion
    has_memory: bool
    drift: Slope
    waits: tuple[Wait, ...]
    censored: int
    advice: Advice
    among: Interval


class Asked(NamedTuple):
    """`target` is what may be left of P(all attempts fail), `granted` how many attempts the policy in force allows.

    There are so many `looks` in one run, of which a finding is one.
    """

    target: float = TARGET
    granted: int | None = None
    looks: int = 1


PLAIN = Asked()


def find(variant: str, tally: Tally, asked: Asked = PLAIN) -> Finding:
    """Draw the conclusions."""
    groups = overdispersion(tally.groups)
    return Finding(
        variant=variant,
        trials=tally.trials,
        failures=tally.failures,
        rate=tally.rate,
        interval=grouped_interval(tally.units),
        exact=clopper_pearson(tally.failures, tally.trials),
        score=wilson(tally.failures, tally.trials),
        outcomes=tuple(_rows(tally)),
        groups=groups,
        has_memory=tally.has_memory,
        drift=tally.drift,
        waits=tuple(_waits(tally)),
        censored=tally.censored,
        advice=advise(tally, asked.target, asked.granted),
        among=grouped_interval(tally.units, 1 - (1 - CONFIDENCE) / asked.looks),
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


def verdict_of(tally: Tally, test: SequentialTest | None, below: float | None) -> Verdict | None:
    """Judge a failure rate for an exit code; None where nothing was asked that could be judged.

    A sequential test that decides for the lower of its rates is PASS, for the higher FAIL. `below` is PASS where the
    upper one-sided 95 % bound, by groups, is below it, and FAIL where the lower one is above. All else is UNKNOWN.
    """
    if test is not None:
        answer = test.decide(tally.failures, tally.trials)
        lower, higher = ("p0", "p1") if test.p0 < test.p1 else ("p1", "p0")
        return {lower: Verdict.PASS, higher: Verdict.FAIL}.get(answer or "", Verdict.UNKNOWN)
    if below is None:
        return None
    low, high = grouped_interval(tally.units, 2 * CONFIDENCE - 1)
    return Verdict.PASS if high < below else Verdict.FAIL if low > below else Verdict.UNKNOWN


class Difference(msgspec.Struct, frozen=True):
    """Two variants, observed side by side. Rates and odds go the same way round: the second's against the first's.

    `p_value` is adjusted for the `comparisons` that were made in one run (Holm), as far as all of them are known.
    `trials` are those of the one that has fewer, and `level` is how often two equal variants with so many are said to
    differ at 5 %, at worst.
    """

    first: str
    second: str
    rate_difference: float
    odds_ratio: float
    p_value: float
    method: Method
    comparisons: int
    text: str
    trials: int
    level: float


def differ(pairs: Sequence[tuple[Finding, Finding, Comparison]], comparisons: int = 1) -> list[Difference]:
    """Say how pairs differ that were interleaved: every pair of one run, so that looking at many is paid for.

    Where the run has more `comparisons` than these, nothing is decided yet.
    """
    adjusted = holm([found.p_value for _, _, found in pairs])
    return [
        _difference(*pair, p_value, len(pairs), open_ones=comparisons - len(pairs))
        for pair, p_value in zip(pairs, adjusted, strict=True)
    ]


def _difference(
    first: Finding, second: Finding, found: Comparison, p_value: float, comparisons: int, *, open_ones: int
) -> Difference:
    verdict = "differ: " if p_value < 1 - CONFIDENCE else "can't be told apart: "
    many = f", corrected for {comparisons} comparisons" if comparisons > 1 else ""
    if open_ones > 0:
        verdict, many = "", f" before it is corrected for {comparisons + open_ones} comparisons"
    odds = "∞" if math.isinf(found.odds_ratio) else f"{found.odds_ratio:.2f}"
    rates = f"{first.rate:.1%} against {second.rate:.1%}, odds ratio {odds}"
    text = f"{verdict}{rates}, p = {p_value:.3g}{many} ({found.method})"
    gap = second.rate - first.rate
    of_test, fewest = (found.odds_ratio, p_value, found.method), min(first.trials, second.trials)
    return Difference(first.variant, second.variant, gap, *of_test, comparisons, text, fewest, real_level(fewest))
