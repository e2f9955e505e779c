"""The setting of a wild race's dial at which it strikes as often as wanted: a sequential search, then a measurement.

A wild rate belongs to this machine, now. It is found for an experiment that follows at once, never to be stored.
"""

from __future__ import annotations

import math
from contextlib import closing
from typing import TYPE_CHECKING, Final

import msgspec

from harness.dialects import BUILT_IN, DEFAULT
from harness.exceptions import InvalidInputError
from harness.experiments.findings import Finding, find
from harness.experiments.firing import GroupRunner
from harness.experiments.statistics import clopper_pearson
from harness.experiments.tally import GROUP, Tally
from harness.experiments.variant import Variant
from harness.scenarios.schema import Case, Expectation, ExpectedAttempt, VictimSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.evidence import Host, Start
    from harness.faults.catalogue import Row

DIAL: Final = "window"
LARGEST: Final = 1 << 24
MOST_TRIALS: Final = 400  # of one setting: if the target is still inside its interval then, the setting is taken
FINAL_TRIALS: Final = 500
CONFIDENCE: Final = 0.99
MOST_SETTINGS: Final = 60
NARROW: Final = 1.02
REOPENED: Final = 8
MOST_ROUNDS: Final = 3
EVERYWHERE: Final = (0, LARGEST)


class Tried(msgspec.Struct, frozen=True):
    """One setting, and how often it struck."""

    setting: int
    trials: int
    failures: int

    @property
    def rate(self) -> float:
        """Share of trials that it struck."""
        return self.failures / self.trials

    def side(self, target: float) -> int:
        """-1: too rare; 1: too often; 0: the target is inside the 99 % interval."""
        low, high = clopper_pearson(self.failures, self.trials, CONFIDENCE)
        return -1 if high < target else int(low > target)


class Calibration(msgspec.Struct, frozen=True):
    """The answer: the setting, what it was measured to give, and all that was tried on the way.

    `holds` says whether the target is inside the 95 % interval of that last measurement, after so many `rounds`.
    """

    race: str
    target: float
    setting: int
    finding: Finding
    tried: tuple[Tried, ...]
    rounds: int
    holds: bool


def variant(race: str, setting: int, host: Host, start: Start) -> Variant:
    """A wild race at one setting, as an experiment would have it."""
    victim = VictimSpec(race, "wild", parameters={DIAL: setting})
    seen = Expectation(tuple(BUILT_IN), (ExpectedAttempt("exited 0"),))
    return Variant(f"{race} at {setting}", DEFAULT, 0, Case("calibration", victim, (seen,)), (), host, start)


def check(fault: Row, target: float) -> None:
    """Raise InvalidInputError for what has no dial, and for a rate that none can give."""
    if "wild" not in fault.tiers or DIAL not in {one.name for one in fault.parameters}:
        raise InvalidInputError(f"{fault.name}: it has no dial; those that have are the wild races")
    if not 0 < target < 1:
        raise InvalidInputError(f"--target: expected a rate between 0 and 1, not {target}")


def calibrate(
    fault: Row, target: float, host: Host, start: Start, observe: Callable[[Tried], object] | None = None
) -> Calibration:
    """Halve the range of settings, on a logarithmic scale, until one can't be told from the target; measure that one.

    A measurement that refutes its setting begins another round, near it; the third one's is the answer in any case.
    `observe` sees each setting as it is given up or taken. Raises InvalidInputError where the widest setting is still
    too rare, or the narrowest strikes too often.
    """
    check(fault, target)
    tried: list[Tried] = []
    with closing(GroupRunner(None)) as runner:

        def ask(setting: int) -> int:
            found = _try(runner, variant(fault.name, setting, host, start), setting, target)
            tried.append(found)
            if observe:
                observe(found)
            return found.side(target)

        setting, found, rounds = settled(
            lambda near: _search(ask, fault.name, target, near),
            lambda at: find(f"{fault.name} at {at}", _measure(runner, variant(fault.name, at, host, start))),
            target,
        )
    return Calibration(fault.name, target, setting, found, tuple(tried), rounds, _holds(found, target))


def settled(
    search: Callable[[tuple[int, int]], int], measure: Callable[[int], Finding], target: float
) -> tuple[int, Finding, int]:
    """Search and measure until the measurement agrees, three rounds at most; return the setting, and what it gave."""
    near = EVERYWHERE
    for done in range(1, MOST_ROUNDS + 1):
        setting = search(near)
        found = measure(setting)
        if _holds(found, target) or done == MOST_ROUNDS:
            break
        near = (setting // REOPENED, min(setting * REOPENED + 1, LARGEST))
    return setting, found, done


def _holds(found: Finding, target: float) -> bool:
    return found.interval.low <= target <= found.interval.high


def _search(ask: Callable[[int], int], race: str, target: float, near: tuple[int, int] = EVERYWHERE) -> int:
    low, high = near
    for end, wrong, word in ((low, 1, "often"), (high, -1, "rarely")) if near == EVERYWHERE else ():
        if ask(end) == wrong:
            raise InvalidInputError(f"{race}: at {DIAL} {end} it strikes too {word} for a rate of {target:g}")
    for _ in range(MOST_SETTINGS):
        middle = max(1, round(math.sqrt(max(low, 1) * high)))
        side = ask(middle)
        if side == 0 or (low, high) == (middle, middle + 1):
            return middle
        low, high = (middle, high) if side < 0 else (low, middle)
        if high <= max(low, 1) * NARROW:  # the rate moved meanwhile: what was too rare is too often now
            low, high = low // REOPENED, min(high * REOPENED, LARGEST)
    raise InvalidInputError(f"{race}: the rate does not hold still here; try again while the machine is less busy")


def _try(runner: GroupRunner, one: Variant, setting: int, target: float) -> Tried:
    """Fire until the target is outside the interval, or it is not worth more."""
    found = Tried(setting, 0, 0)
    while found.trials < MOST_TRIALS:
        group = runner.fire(one, range(found.trials + 1, found.trials + GROUP + 1))
        found = Tried(setting, found.trials + GROUP, found.failures + sum(trial.failed for trial in group))
        if found.side(target):
            break
    return found


def _measure(runner: GroupRunner, one: Variant) -> Tally:
    tally = Tally()
    for first in range(1, FINAL_TRIALS + 1, GROUP):
        tally.add(runner.fire(one, range(first, first + GROUP)))
    tally.close()
    return tally
