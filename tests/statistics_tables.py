"""`make statistics`: what the numbers of an experiment are worth, by simulation; writes docs/statistics.md."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from simulations import alike, chain, coverage, in_groups, tallied
from vectorised import alike_many, apart, cochran_many, levels, p_values

from harness.experiments.advice import advise
from harness.experiments.attempts import all_fail
from harness.experiments.paired import real_level
from harness.experiments.statistics import wilson
from harness.experiments.tally import GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

ICCS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.45)
SIZES = (20, 100)
SIGNIFICANT = 0.05
MANY = 10_000  # of what is simulated many at once
HEAD = """# What the numbers are worth

Attempts may resemble each other: a state file, a warm cache or a load that comes and goes makes neighbours alike. The
intra-class correlation (ICC) says how much: 0 for independent attempts, 1 where all ten of a group end alike. Every
figure below is simulated from a known truth, {times:,} times where nothing else is said, by

    make statistics ARGS='--times {times}'

A group is ten trials that follow each other. Groups are beta-binomial; "a chain" keeps its state from trial to trial
with probability .9, so its memory outlasts a group.
"""

INTERVALS = """## The 95 % interval, by groups: how often it covers the true rate

The last column is its width over Wilson's for independent trials. Below a rate of .1 it covers less than it says where
attempts are much alike."""
COMPARISONS = """## `--vs`: how often two equal variants are said to differ (5 % is nominal)

{times:,} simulations a figure. Power is how often two that differ are told apart, by so much that the test of Cochran,
Mantel and Haenszel, which takes trials as independent, finds it as often as the last column says. Where memory outlasts
a group and there are fewer than five blocks of a hundred, no verdict is given."""
LEVELS = """Below a thousand trials an experiment says how often equal variants differ at worst: over rates of .1, .3
and .5, over all ICCs where likeness ends with a group, and over both chains where it does not."""
ADVICE = """## Advice at a rate of .3, target 1 %

`independent` is the share of advices that take attempts as independent, and say so. `left broken` is how often more is
left than an advice says, which for those is a bound for independent attempts only; `worst broken` how often more than
its worst case, which is a 95 % bound for all. A tenth of the simulations each."""


def table(columns: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


class Tables:
    """All tables, from one stream of draws."""

    def __init__(self, times: int) -> None:
        self.times, self.random = times, np.random.default_rng(15)

    def _often(self, happens: Callable[[], bool]) -> str:
        return _share(sum(happens() for _ in range(self.times)) / self.times)

    def intervals(self) -> Iterator[tuple[str, ...]]:
        """Coverage by rate and ICC, and the width that independent trials pay."""
        for groups in SIZES:
            for p in (0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9):
                found = [coverage(self.random, groups, p, icc, self.times) for icc in ICCS]
                failures = max(1, round(p * groups * GROUP))
                paid = found[0][1] / (2 * wilson(failures, groups * GROUP).half_width)
                yield str(groups * GROUP), f"{p:g}", *(_share(covered) for covered, _ in found), f"{paid:.2f} ×"

    def _drifts(self, icc: float, course: NDArray[np.float64]) -> str:
        return self._often(lambda: tallied(alike(self.random, 100, course, icc)).drift.p_value < SIGNIFICANT)

    def comparisons(self, times: int) -> Iterator[tuple[str, ...]]:
        """How often two equal variants are said to differ, and two that do."""
        for groups in (20, 50, 100, 200):
            equal = levels(self.random, times, groups, 0.3, ICCS)
            rates = (0.3, apart(groups, 0.3))
            pair = tuple(alike_many(self.random, times, groups, rate, 0.0) for rate in rates)
            power = [float((test(*pair) < SIGNIFICANT).mean()) for test in (p_values, cochran_many)]
            yield str(groups * GROUP), *map(_share, (*equal, *power))

    def levels(self, times: int) -> Iterator[tuple[str, ...]]:
        """What a comparison of fewer trials says of itself, and what is so."""
        for groups in (5, 8, 10, 15, 20, 25, 30, 40, 50, 70, 99, 100):
            found = [list(levels(self.random, times, groups, p, ICCS)) for p in (0.1, 0.3, 0.5)]
            within, beyond = (max(max(row[part]) for row in found) for part in (slice(0, -2), slice(-2, None)))
            yield str(groups * GROUP), _share(within), _share(beyond), _share(real_level(groups * GROUP))

    def drift(self) -> Iterator[tuple[str, ...]]:
        """How often drift is named in a thousand trials, without it and with it."""
        for low, high in ((0.3, 0.3), (0.2, 0.4), (0.1, 0.5)):
            course = np.linspace(low, high, 100)
            yield f".{low * 10:.0f} to .{high * 10:.0f}", *(self._drifts(icc, course) for icc in ICCS)
        memory = self._often(lambda: tallied(in_groups(chain(self.random, 1000))).drift.p_value < SIGNIFICANT)
        yield "a chain, .3", memory, *([""] * (len(ICCS) - 1))

    def advice(self) -> Iterator[tuple[str, ...]]:
        """How often an advice takes attempts as independent, how often its bounds are broken, and its median."""
        for groups in SIZES:
            for icc in ICCS:
                found = [advise(tallied(alike(self.random, groups, 0.3, icc))) for _ in range(self.times // 10)]
                left = [(one, all_fail(0.3, icc, one.attempts or 0)) for one in found]
                shares = (
                    sum(one.is_independent for one in found),
                    sum(true > one.left for one, true in left),
                    sum(true > one.worst for one, true in left),
                )
                middle = sorted(one.attempts or 0 for one in found)[len(found) // 2]
                yield str(groups * GROUP), f"{icc:g}", *(_share(one / len(found)) for one in shares), str(middle)


def page(times: int) -> str:
    """The whole page."""
    tables, iccs = Tables(times), tuple(f"ICC {icc:g}" for icc in ICCS)
    parts = [
        HEAD.format(times=times),
        INTERVALS,
        table(("trials", "rate", *iccs, "width"), tables.intervals()),
        COMPARISONS.format(times=MANY),
        table(("trials", *iccs, "a chain, shared", "a chain each", "power", "theirs"), tables.comparisons(MANY)),
        LEVELS,
        table(("trials", "within a group", "beyond", "what is said"), tables.levels(MANY)),
        "## Drift: how often it is named in a thousand trials",
        table(("rate", *iccs), tables.drift()),
        ADVICE,
        table(("trials", "ICC", "independent", "left broken", "worst broken", "attempts (median)"), tables.advice()),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10_000)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    made = page(options.times)
    if options.write:
        options.write.write_text(made)
    print(made)  # noqa: T201 -- a script's answer


if __name__ == "__main__":
    main()
