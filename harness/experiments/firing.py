"""Fires groups of trials: fresh processes or forks of a zygote, classified one by one as first attempts."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby, takewhile
from typing import TYPE_CHECKING

import msgspec

from harness.dialects import BUILT_IN
from harness.engine.draw import draw
from harness.engine.loop import Engine, Life
from harness.engine.policy import Policy
from harness.evidence import spelling
from harness.experiments.fates import fate_of, fates_elsewhere
from harness.experiments.tally import BLOCK, GROUP, Trial
from harness.scenarios.live import host_of, limits_of, mode_of
from harness.supervisor import Command, Shot, Stop, Zygote, supervise
from harness.wire.policy import DEFAULT_PRESET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from harness.dialects.protocol import Dialect
    from harness.evidence import Evidence
    from harness.experiments.variant import Variant
    from harness.wire.errors import TaskError

BLOCK_TRIALS = GROUP * BLOCK
KEPT = 3
"""Failures of each kind whose whole evidence a worker keeps."""


class GroupRunner:
    """Fires groups of trials, on one thread, and keeps its zygotes between them. `dialects` has those of variants."""

    def __init__(self, stop: Stop | None, dialects: Mapping[str, Dialect] = BUILT_IN) -> None:
        self._stop, self._dialects = stop, dialects
        self._zygotes: dict[str, Zygote] = {}
        self._kept: Counter[tuple[str, str | None, str]] = Counter()

    def fire(self, variant: Variant, numbers: Sequence[int], until_s: float = math.inf) -> list[Trial]:
        """Return the trials of these numbers. Raises InfraError when the harness could not do its part.

        A command's trial that would begin after `until_s`, by the monotonic clock, is left out, and so are those after.
        """
        load = os.getloadavg()[0]
        delays = partial(draw, variant.seed, numbers[0], "delay")
        engine = Engine(_policy(variant), self._dialects[variant.dialect], delays)
        lives = self._lives(variant, numbers, until_s)
        trials = [_trial(variant, number, engine, life, load) for number, life in zip(numbers, lives, strict=False)]
        return [self._keep(trial, life) for trial, life in trials]

    def _keep(self, trial: Trial, life: Life) -> Trial:
        """Keep the whole evidence of the first failures of each kind."""
        if not trial.failed:
            return trial
        kind = trial.ended, trial.code, trial.cause
        self._kept[kind] += 1
        return msgspec.structs.replace(trial, evidence=life.evidence) if self._kept[kind] <= KEPT else trial

    def _lives(self, variant: Variant, numbers: Iterable[int], until_s: float) -> Iterator[Life]:
        if variant.case is None:
            in_time = takewhile(lambda _: time.monotonic() < until_s, numbers)
            yield from (Life(self._run(variant, number)) for number in in_time)
            return
        shot = Shot(variant.case.victim.fault, "", variant.case.victim.values(), variant.host)
        plans = [(mode_of(variant.case, n, variant.seed), host_of(variant.case, n)) for n in numbers]
        for mode, alike in groupby(plans, key=lambda plan: plan[0]):
            aimed, hosts = msgspec.structs.replace(shot, mode=mode), [host for _, host in alike]
            fired = self._zygote(variant).fire(aimed, len(hosts), variant.case.limits.timeout_s)
            for host, one in zip(hosts, fired, strict=True):
                yield Life(one.evidence(), host, mode)

    def _run(self, variant: Variant, number: int) -> Evidence:
        """Run the command, which finds the number of its trial and the seed in its environment, and only here."""
        told = {"CRASH_HARNESS_TRIAL": str(number), "CRASH_HARNESS_SEED": str(variant.seed)}
        command, env = Command(variant.command), {**os.environ, **told}
        held = variant.containment
        return supervise(command, variant.limits, variant.timeout_s, stop=self._stop, env=env, containment=held)

    def _zygote(self, variant: Variant) -> Zygote:
        """A life of a zygote is a block, so that likeness by a shared layout shows as likeness within blocks."""
        if variant.name not in self._zygotes and variant.case:
            self._zygotes[variant.name] = Zygote(
                variant.host,
                variant.start,
                limits_of(variant.case),
                renew_every=BLOCK_TRIALS,
                containment=variant.containment,
            )
        return self._zygotes[variant.name]

    def cancel(self) -> None:
        """From another thread: end what is running."""
        for zygote in list(self._zygotes.values()):
            zygote.cancel()

    def close(self) -> None:
        """End the zygotes."""
        for zygote in self._zygotes.values():
            zygote.close()


def _policy(variant: Variant) -> Policy:
    return variant.case.policy.checked() if variant.case else Policy()


def _trial(variant: Variant, number: int, engine: Engine, life: Life, load: float) -> tuple[Trial, Life]:
    """Classify a life as a first attempt, and keep what an experiment needs of it."""
    machine = engine.policy.machine or DEFAULT_PRESET
    attempt, fate = engine.judge(life, 1, machine), fate_of(life, engine.dialect, machine)
    evidence, fault, group = life.evidence, life.evidence.fault, (number - 1) // GROUP
    code = _code(attempt.enhanced) if attempt.enhanced else None
    trial = Trial(
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
        fates_elsewhere=fates_elsewhere(life, fate, machine),
    )
    return trial, life


def codes_of(evidence: Evidence) -> dict[str, str | None]:
    """Return the error code that each built-in dialect gives an attempt; None where it finds no error."""
    found = {name: (dialect, dialect.classify(evidence).error) for name, dialect in BUILT_IN.items()}
    return {name: _code(dialect.enhance(error)) if error else None for name, (dialect, error) in found.items()}


def _code(error: TaskError) -> str | None:
    return error.code if isinstance(error.code, str) else None


class GroupRunners:
    """Group runners on as many threads as there are jobs."""

    def __init__(self, jobs: int, stop: Stop, dialects: Mapping[str, Dialect] = BUILT_IN) -> None:
        self._stop, self._local, self._runners = stop, threading.local(), list[GroupRunner]()
        self._dialects = dialects
        self._pool = ThreadPoolExecutor(jobs)
        self.submit = self._pool.submit

    def fire(self, variant: Variant, numbers: Sequence[int], until_s: float) -> list[Trial]:
        """Fire a group on this thread."""
        if not hasattr(self._local, "runner"):
            self._local.runner = GroupRunner(self._stop, self._dialects)
            self._runners.append(self._local.runner)
        return self._local.runner.fire(variant, numbers, until_s)  # type: ignore[no-any-return]  # thread-local members have no type

    def close(self) -> None:
        """Give up what is not begun, let what is running end, and end the zygotes."""
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for runner in self._runners:
            runner.cancel()
        self._pool.shutdown()
        for runner in self._runners:
            runner.close()
