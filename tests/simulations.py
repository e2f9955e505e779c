"""Simulated experiments whose truth is known: trials alike within groups, and a chain that remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.experiments.groups import Sums, grouped_interval
from harness.experiments.paired import Pairing
from harness.experiments.series import Series
from harness.experiments.tally import GROUP, Tally, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Counts: TypeAlias = NDArray[np.int64]

STAYS = 0.9  # the chain keeps its state with this probability, and draws it anew otherwise
RATE = 0.3


def alike(random: np.random.Generator, groups: int, p: float | NDArray[np.float64], icc: float) -> Counts:
    """Failures of groups of ten whose rates scatter around `p` (beta-binomial); independent trials at ICC 0."""
    rates = np.broadcast_to(np.asarray(p, float), (groups,))
    if icc:
        mass = (1 - icc) / icc
        rates = random.beta(rates * mass, (1 - rates) * mass)
    return np.asarray(random.binomial(GROUP, rates))


def chain(random: np.random.Generator, trials: int) -> Counts:
    """Outcomes of a two-state chain that fails in one of its states, at a long-run rate of .3."""
    fresh, drawn = random.random(trials) > STAYS, random.random(trials) < RATE
    fresh[0] = True
    latest = np.maximum.accumulate(np.where(fresh, np.arange(trials), 0))
    return drawn[latest].astype(np.int64)


def in_groups(outcomes: Counts) -> Counts:
    """Failures of each group of ten."""
    return np.asarray(outcomes.reshape(-1, GROUP).sum(axis=1))


def turns(groups: int) -> Iterator[tuple[int, int]]:
    """Index and variant of each group in the order in which an experiment fires them."""
    for index in range(groups):
        yield from ((index, which) for which in ((0, 1) if index % 2 == 0 else (1, 0)))


def paired(first: Sequence[int] | Counts, second: Sequence[int] | Counts) -> Pairing:
    """Both variants' groups, as an experiment would have added them."""
    made = Pairing()
    for index, which in turns(len(first)):
        made.add(index, which, int((second if which else first)[index]), GROUP)
    return made


def chains(random: np.random.Generator, groups: int, files: int) -> tuple[Counts, Counts]:
    """Two equal variants: each with a chain of its own (two files), or both with one (one file)."""
    if files > 1:
        return in_groups(chain(random, groups * GROUP)), in_groups(chain(random, groups * GROUP))
    order, fired = list(turns(groups)), in_groups(chain(random, 2 * groups * GROUP))
    return tuple(np.array([fired[at] for at, (_, w) in enumerate(order) if w == which]) for which in (0, 1))  # type: ignore[return-value]  # two of them


def sums(failures: Counts) -> Sums:
    """Groups of ten as an interval sees them."""
    made = Sums()
    for one in failures:
        made = made.plus(GROUP, int(one))
    return made


def series(failures: Counts) -> Series:
    """Groups of ten as a test for drift sees them."""
    made = Series()
    for one in failures:
        made = made.plus(int(one))
    return made


def tallied(failures: Counts) -> Tally:
    """The tally of an experiment with these failures a group, each group's first."""
    made = Tally()
    for group, failed in enumerate(failures):
        made.add([_trial(group, at, at < failed) for at in range(GROUP)])
    made.close()
    return made


def _trial(group: int, at: int, failed: bool) -> Trial:
    ended, code = ("SIGSEGV", "TASK_PROCESS_SIGSEGV") if failed else ("exited 0", None)
    return Trial("v", group * GROUP + at + 1, group, group // GROUP, 0, None, ended, failed, code, "", "", None)


def coverage(random: np.random.Generator, groups: int, p: float, icc: float, times: int) -> tuple[float, float]:
    """How often the interval by groups holds `p`, and its mean width."""
    found = [grouped_interval(sums(alike(random, groups, p, icc))) for _ in range(times)]
    return sum(one.low <= p <= one.high for one in found) / times, sum(one.high - one.low for one in found) / times
