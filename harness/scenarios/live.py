"""One seeded run of a scenario's case: draws the doses, places the hosts, and leaves the rest to the one runner."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from harness.api import live
from harness.engine.draw import draw
from harness.engine.executor import Bounds
from harness.engine.loop import Life
from harness.scenarios.schema import Case  # noqa: TC001 -- msgspec reads the annotations of OfCase
from harness.supervisor import Limits, Shot, supervise
from harness.wire.policy import memory_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.dialects.protocol import Dialect
    from harness.engine.executor import Executor
    from harness.engine.loop import Attempt, Run
    from harness.supervisor import Journal, Stop

    Elsewhere = Callable[[Case, Stop | None, Callable[[int], Journal] | None], Executor]


def host_of(case: Case, number: int) -> str | None:
    """Attempts go round the hosts; None when the case names none."""
    return case.hosts.names[(number - 1) % len(case.hosts.names)] if case.hosts else None


def mode_of(case: Case, number: int, seed: int) -> str:
    """What attempt `number` injects: the truth that its evidence is held against."""
    if case.hosts:
        return "forced" if host_of(case, number) == case.hosts.bad else "safe"
    if case.victim.tier == "dosed":
        return "forced" if draw(seed, number, "dose") < (case.victim.dose or 0) else "safe"
    return case.victim.tier


def limits_of(case: Case) -> Limits:
    """Limits of a case on the machine that its policy begins on: the preset's memory, scaled."""
    spec = case.limits
    if spec.memory_scale is None:
        return Limits(memory_by=spec.memory_by, **spec.counts())
    memory = memory_bytes(case.policy.machine, spec.memory_scale)
    data = round(memory * spec.data_fraction) if spec.data_fraction else None
    return Limits(memory, spec.memory_by, data, **spec.counts())


def seed_of(case: Case, override: int | None) -> int:
    """Return the seed in force: the command line's, else the case's own."""
    return override if override is not None else case.victim.seed or 0


class OfCase(msgspec.Struct, frozen=True):
    """The executor of a case: its fault, fired as the seed and the hosts say of each attempt."""

    case: Case
    seed: int

    def live(self, number: int, bounds: Bounds) -> Life:
        """Fire once."""
        victim, mode = self.case.victim, mode_of(self.case, number, self.seed)
        evidence = bounds.live(Shot(victim.fault, mode, victim.values()))
        return Life(evidence, host_of(self.case, number), mode)


def run_case(
    case: Case,
    dialect: Dialect,
    seed: int | None = None,
    *,
    stop: Stop | None = None,
    observe: Callable[[Attempt], object] | None = None,
    journal: Callable[[int], Journal] | None = None,
    elsewhere: Elsewhere | None = None,
) -> Run:
    """Live the case once. Raises InfraError when the harness could not do its part.

    `observe` sees each attempt as it ends; `journal(number)` is told before each starts and before it is killed.
    `elsewhere` makes the executor of a case whose hosts are real.
    """
    chosen, policy = seed_of(case, seed), case.policy.checked()
    held = partial(supervise, stop=stop, containment=case.limits.containment, observe=case.limits.observe)
    bounds = Bounds(limits_of(case), case.limits.timeout_s, policy.machine, held)
    executor = elsewhere(case, stop, journal) if elsewhere else OfCase(case, chosen)
    journal = None if elsewhere else journal  # a host elsewhere journals nothing here
    return live(executor, policy, bounds, dialect, chosen, observe=observe, journal=journal)
