"""Fires groups of trials: fresh processes or forks of a zygote, classified one by one as first attempts."""

from __future__ import annotations

import math
import os
import time
from collections import Counter, deque
from functools import partial
from itertools import groupby, takewhile
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from harness.dialects import BUILT_IN
from harness.engine.draw import draw
from harness.engine.loop import Engine, Life
from harness.evidence import spelling
from harness.experiments.fates import fate_of, fates_elsewhere
from harness.experiments.tally import BLOCK, GROUP, Trial
from harness.scenarios.live import host_of, limits_of, mode_of
from harness.supervisor import Command, Shot, Stop, Zygote, supervise
from harness.supervisor.schedule import scheduled
from harness.wire.policy import DEFAULT_PRESET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.dialects.protocol import Dialect
    from harness.evidence import Evidence, Termination
    from harness.experiments.tally import EndKind
    from harness.experiments.variant import Variant
    from harness.wire.errors import TaskError

    Order = tuple[Variant, Sequence[int]]

BLOCK_TRIALS = GROUP * BLOCK
KEPT = 3
"""Failures of each kind whose whole evidence a worker keeps."""

TRACED = 6
"""Crashes of each signal whose cores a worker has gdb read, where backtraces are asked for."""


class Loss(NamedTuple):
    """A worker that was lost, and the groups that it had: they are fired again."""

    worker: str
    orders: tuple[Order, ...]


class GroupRunner:
    """Fires groups of trials, on one thread, and keeps its zygotes between them. `dialects` has those of variants."""

    def __init__(self, stop: Stop | None, dialects: Mapping[str, Dialect] = BUILT_IN) -> None:
        self.losses: deque[Loss] = deque()  # none: what fires is this process itself
        self._stop, self._dialects = stop, dialects
        self._zygotes: dict[str, Zygote] = {}
        self._blocks: dict[str, int] = {}
        self._layouts: dict[tuple[str, int], int] = {}
        self._kept: Counter[EndKind] = Counter()
        self._traced: Counter[str] = Counter()

    def fire(self, variant: Variant, numbers: Sequence[int], until_s: float = math.inf) -> list[Trial]:
        """Return the trials of these numbers. Raises InfraError when the harness could not do its part.

        A command's trial that would begin after `until_s`, by the monotonic clock, is left out, and so are those after.
        """
        load = os.getloadavg()[0]
        delays = partial(draw, variant.seed, numbers[0], "delay")
        engine = Engine(variant.judged_under, self._dialects[variant.dialect], delays)
        lives = self._lives(variant, numbers, until_s)
        return [
            self._keep(self._named(_trial(variant, number, engine, life, load)), life.evidence)
            for life, number in zip(lives, numbers, strict=False)  # lives to their end, or their zygote is closed
        ]

    def _named(self, trial: Trial) -> Trial:
        """Call its layout by the first trial of it, which names one process only, whatever other runners fire."""
        if trial.layout is None:
            return trial
        first = self._layouts.setdefault((trial.variant, trial.layout), trial.number)
        return msgspec.structs.replace(trial, layout=first)

    def _keep(self, trial: Trial, evidence: Evidence) -> Trial:
        """Keep the whole evidence of the first failures of each kind."""
        if not trial.failed:
            return trial
        self._kept[trial.kind] += 1
        return msgspec.structs.replace(trial, evidence=evidence) if self._kept[trial.kind] <= KEPT else trial

    def _lives(self, variant: Variant, numbers: Sequence[int], until_s: float) -> Iterator[Life]:
        if variant.case is None:
            in_time = takewhile(lambda _: time.monotonic() < until_s, numbers)
            yield from (Life(self._run(variant, number)) for number in in_time)
            return
        shot = Shot(variant.case.victim.fault, "", variant.case.victim.values(), variant.host)
        plans = [(mode_of(variant.case, n, variant.seed), host_of(variant.case, n)) for n in numbers]
        for mode, alike in groupby(plans, key=lambda plan: plan[0]):
            aimed, hosts = msgspec.structs.replace(shot, mode=mode), [host for _, host in alike]
            fired = self._zygote(variant, numbers[0]).fire(aimed, len(hosts), variant.case.limits.timeout_s)
            for host, one in zip(hosts, fired, strict=True):
                yield Life(one.evidence(), host, mode)

    def _run(self, variant: Variant, number: int) -> Evidence:
        """Run the command, which finds the number of its trial and the seed in its environment, and only here."""
        told = {"CRASH_HARNESS_TRIAL": str(number), "CRASH_HARNESS_SEED": str(variant.seed)}
        return supervise(
            Command(variant.command),
            variant.limits,
            variant.timeout_s,
            stop=self._stop,
            env=scheduled({**os.environ, **variant.env, **told}, variant.schedule, number),
            directory=variant.directory,
            containment=variant.containment,
            observe=variant.observe,
            backtrace=self._is_traced if variant.backtrace else False,
        )

    def _is_traced(self, end: Termination) -> bool:
        """Whether gdb is to read this crash's core: of each signal it reads the first."""
        self._traced[str(end)] += 1
        return self._traced[str(end)] <= TRACED

    def _zygote(self, variant: Variant, number: int) -> Zygote:
        """A life of a zygote is a block, so that likeness by a shared layout shows as likeness within blocks."""
        name, block = variant.name, (number - 1) // BLOCK_TRIALS
        if name not in self._zygotes and variant.case:
            limits = limits_of(variant.case)
            self._zygotes[name] = Zygote(
                variant.host,
                variant.start,
                limits,
                renew_every=BLOCK_TRIALS,
                containment=variant.containment,
                env=scheduled(os.environ, variant.schedule),
            )
        if self._blocks.setdefault(name, block) != block:
            self._zygotes[name].close()  # the next trial starts another
            self._blocks[name] = block
        return self._zygotes[name]

    def cancel(self) -> None:
        """From another thread: end what is running."""
        for zygote in list(self._zygotes.values()):
            zygote.cancel()

    def close(self) -> None:
        """End the zygotes."""
        for zygote in self._zygotes.values():
            zygote.close()


def _trial(variant: Variant, number: int, engine: Engine, life: Life, load: float) -> Trial:
    """Classify a life as a first attempt, and keep what an experiment needs of it."""
    machine = engine.policy.machine or DEFAULT_PRESET
    attempt, fate = engine.judge(life, 1, machine), fate_of(life, engine.dialect, engine.policy)
    evidence, fault, group = life.evidence, life.evidence.fault, (number - 1) // GROUP
    code = _code(attempt.enhanced) if attempt.enhanced else None
    return Trial(
        variant=variant.name,
        number=number,
        group=group,
        block=group // BLOCK,
        seed=variant.seed,
        injected=life.injected,
        ended=spelling(evidence),
        failed=attempt.error is not None,
        code=code,
        rule=attempt.rule,
        cause=attempt.cause,
        branch=str(attempt.decision.branch) if attempt.decision else None,
        si_code=fault.code if fault else None,
        address=fault.address if fault else None,
        peak_rss_bytes=evidence.memory.peak_rss_bytes,
        oom_kills=evidence.memory.oom_kills,
        allocation_failures=evidence.memory.allocation_failures,
        duration_s=evidence.duration_s,
        load=load,
        layout=evidence.group,
        host=life.host,
        victim_host=evidence.host,
        start=evidence.start,
        elsewhere={name: other for name, other in codes_of(evidence).items() if other != code},
        fate=fate,
        fates_elsewhere=fates_elsewhere(life, fate, engine.policy),
    )


def codes_of(evidence: Evidence) -> dict[str, str | None]:
    """Return the error code that each built-in dialect gives an attempt; None where it finds no error."""
    found = {name: (dialect, dialect.classify(evidence).error) for name, dialect in BUILT_IN.items()}
    return {name: _code(dialect.enhance(error)) if error else None for name, (dialect, error) in found.items()}


def _code(error: TaskError) -> str | None:
    return error.code if isinstance(error.code, str) else None
