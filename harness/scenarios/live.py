"""One seeded run of a scenario's case: draws the doses, places the hosts, scales the limits, asks the engine."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from harness.engine.draw import draw
from harness.engine.loop import Attempt, Engine, Life, Policy, Run
from harness.supervisor import Limits, Shot, Stop, supervise
from harness.wire.policy import memory_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.dialects.protocol import Judge
    from harness.scenarios.schema import Case
    from harness.supervisor import Journal
    from harness.wire.codes import Dialect


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


def limits_of(case: Case, machine: str) -> Limits:
    """Limits of an attempt on `machine`: its preset's memory, scaled."""
    spec = case.limits
    if spec.memory_scale is None:
        return Limits(memory_by=spec.memory_by, processes=spec.processes)
    memory = memory_bytes(machine, spec.memory_scale)
    data = round(memory * spec.data_fraction) if spec.data_fraction else None
    return Limits(memory, spec.memory_by, data, spec.processes)


def seed_of(case: Case, override: int | None) -> int:
    """Return the seed in force: the command line's, else the case's own."""
    return override if override is not None else case.victim.seed or 0


def run_case(
    case: Case,
    dialect: Dialect,
    seed: int | None = None,
    *,
    stop: Stop | None = None,
    observe: Callable[[Attempt], object] | None = None,
    journal: Callable[[int], Journal] | None = None,
    foreign: Judge | None = None,
) -> Run:
    """Live the case once. Raises InfraError when the harness could not do its part.

    `observe` sees each attempt as it ends; `journal(number)` is told before each starts and before it is killed.
    `foreign` is asked in the dialect's place, if there is one.
    """
    chosen = seed_of(case, seed)
    parameters = case.victim.values()
    decisions = count(1)

    def execute(number: int, machine: str) -> Life:
        mode = mode_of(case, number, chosen)
        shot = Shot(case.victim.fault, mode, parameters)
        told = journal(number) if journal else None
        evidence = supervise(shot, limits_of(case, machine), case.limits.timeout_s, stop=stop, journal=told)
        return Life(evidence, host_of(case, number), mode)

    policy = Policy(case.policy.max_attempts, case.policy.retry, case.policy.machine)
    engine = Engine(policy, dialect, lambda: draw(chosen, next(decisions), "delay"), foreign=foreign)
    return engine.run(execute, observe)
