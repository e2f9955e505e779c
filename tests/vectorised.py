"""The comparison of two variants many times at once, by numpy: the same answers as harness.experiments.paired gives.

`tests/test_likeness.py` holds both against each other; tables need more simulations than the other one does in time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from simulations import RATE, STAYS, turns

from harness.experiments.paired import FEWEST_PAIRS, GROUPS_A_BLOCK
from harness.experiments.series import MEMORY_Z, MOST_LAG
from harness.experiments.tally import GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Rows: TypeAlias = NDArray[np.int64]  # failures a group: a row a simulation, a column a group
Numbers: TypeAlias = NDArray[np.float64]

PART = 1000


def alike_many(random: np.random.Generator, times: int, groups: int, p: float, icc: float) -> Rows:
    """Beta-binomial groups of ten; independent trials at ICC 0."""
    shape = (times, groups)
    mass = (1 - icc) / icc if icc else 0.0
    rates = random.beta(p * mass, (1 - p) * mass, shape) if icc else np.full(shape, p)
    return np.asarray(random.binomial(GROUP, rates))


def chain_many(random: np.random.Generator, times: int, groups: int, p: float = RATE) -> Rows:
    """Groups of a two-state chain."""
    shape = (times, groups * GROUP)
    fresh, drawn = random.random(shape) > STAYS, random.random(shape) < p
    fresh[:, 0] = True
    latest = np.maximum.accumulate(np.where(fresh, np.arange(shape[1]), 0), axis=1)
    return np.asarray(np.take_along_axis(drawn, latest, 1).reshape(times, groups, GROUP).sum(axis=2))


def _chain_pairs(random: np.random.Generator, groups: int, p: float, files: int, times: int) -> tuple[Rows, Rows]:
    """Two equal variants with a chain each (two files), or both with one (one file), which they meet in turn."""
    if files > 1:
        return chain_many(random, times, groups, p), chain_many(random, times, groups, p)
    whose = np.array([which for _, which in turns(groups)])
    fired = chain_many(random, times, 2 * groups, p)
    return fired[:, whose == 0], fired[:, whose == 1]


def p_values(first: Rows, second: Rows) -> Numbers:
    """P-value of each row's comparison."""
    times, groups = first.shape
    if groups < FEWEST_PAIRS:
        return np.ones(times)
    order = np.empty((times, 2 * groups), dtype=np.int64)
    for at, (index, which) in enumerate(turns(groups)):
        order[:, at] = (second if which else first)[:, index]
    lag = np.maximum(lags(order), (lags(first) + lags(second)) / 2)
    remembers = lag * np.sqrt(2 * groups) > MEMORY_Z
    differences = second - first
    return np.where(remembers, _by_blocks(differences, lag), t_tests(differences, np.ones(times)))


def _by_blocks(differences: Rows, lag: Numbers) -> Numbers:
    count = differences.shape[1] // GROUPS_A_BLOCK
    if count < FEWEST_PAIRS:
        return np.ones(len(differences))
    blocks = differences[:, : count * GROUPS_A_BLOCK].reshape(-1, count, GROUPS_A_BLOCK).sum(axis=2)
    held = np.clip(lag, 0.0, MOST_LAG)
    return t_tests(blocks, 1 + 2 * held / (GROUPS_A_BLOCK * (1 - held * held)))


def lags(rows: Rows) -> Numbers:
    """Lag-1 correlation of what each row's straight line leaves."""
    index = np.arange(rows.shape[1]) - (rows.shape[1] - 1) / 2
    slope = rows @ index / (index @ index)
    left = rows - rows.mean(axis=1, keepdims=True) - slope[:, None] * index
    squares = (left * left).sum(axis=1)
    is_flat = squares <= 1e-9 * (rows * rows).sum(axis=1)
    return np.where(is_flat, 0.0, (left[:, 1:] * left[:, :-1]).sum(axis=1) / np.where(is_flat, 1.0, squares))


def t_tests(differences: Rows, excess: Numbers) -> Numbers:
    """Two-sided p-value of each row's mean."""
    count, mean, variance = differences.shape[1], differences.mean(axis=1), differences.var(axis=1, ddof=1)
    is_flat = variance == 0
    t = np.abs(mean) / np.sqrt(np.where(is_flat, 1.0, variance) * excess / count)
    return np.where(is_flat, np.where(mean == 0, 1.0, 0.0), 2 * stats.t.sf(t, count - 1))


def cochran_many(first: Rows, second: Rows) -> Numbers:
    """P-values of Cochran, Mantel and Haenszel on groups of ten, which takes trials as independent."""
    both = first + second
    variance = (both * (2 * GROUP - both) / (4 * (2 * GROUP - 1))).sum(axis=1)
    gap = np.abs((first - both / 2).sum(axis=1))
    return np.asarray(2 * stats.norm.sf(gap / np.sqrt(np.where(variance == 0, 1.0, variance))))


def share_that_differs(pairs: Callable[[int], tuple[Rows, Rows]], times: int) -> float:
    """How often two variants differ at 5 %; a part of the pairs is made at a time, to be sparing of memory."""
    parts = [min(PART, times - begun) for begun in range(0, times, PART)]
    return float(sum((p_values(*pairs(part)) < 0.05).sum() for part in parts) / times)


def levels(random: np.random.Generator, times: int, groups: int, p: float, iccs: tuple[float, ...]) -> Iterator[float]:
    """How often two equal variants differ: at each ICC, then with one chain for both, and with a chain each."""
    for icc in iccs:
        yield share_that_differs(partial(_alike_pairs, random, groups, p, icc), times)
    for files in (1, 2):
        yield share_that_differs(partial(_chain_pairs, random, groups, p, files), times)


def _alike_pairs(random: np.random.Generator, groups: int, p: float, icc: float, times: int) -> tuple[Rows, Rows]:
    return alike_many(random, times, groups, p, icc), alike_many(random, times, groups, p, icc)


def apart(groups: int, p: float) -> float:
    """The rate that a test for independent trials tells from `p` 87 times in 100."""
    second, wanted = p, stats.norm.ppf(0.975) + stats.norm.ppf(0.87)
    for _ in range(20):
        second = p + wanted * ((p * (1 - p) + second * (1 - second)) / (groups * GROUP)) ** 0.5
    return float(second)
