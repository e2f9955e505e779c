"""n trials of one case or command, in groups, under a stopping rule; two variants interleaved to be compared."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from harness.dialects import BUILT_IN
from harness.engine.draw import draw
from harness.engine.loop import Engine, Life
from harness.engine.policy import Policy
from harness.evidence import spelling
from harness.experiments.paired import Pairing
from harness.experiments.tally import BLOCK, GROUP, Tally, Trial
from harness.scenarios.live import host_of, limits_of, mode_of
from harness.supervisor import Command, Shot, Stop, Zygote, supervise
from harness.supervisor.interrupt import uninterrupted
from harness.wire.policy import DEFAULT_PRESET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from harness.dialects.protocol import Dialect
    from harness.evidence import Evidence
    from harness.experiments.variant import Experiment, Variant
    from harness.journal import History
    from harness.wire.errors import TaskError

BLOCK_TRIALS = GROUP * BLOCK
AHEAD = 2  # groups a job
INTERRUPTED = "interrupted"


class Gunner:
    """Fires groups of trials, on one thread, and keeps its zygotes between them. `dialects` has those of variants."""

    def __init__(self, stop: Stop | None, dialects: Mapping[str, Dialect] = BUILT_IN) -> None:
        self._stop, self._dialects = stop, dialects
        self._zygotes: dict[str, Zygote] = {}

    def fire(self, variant: Variant, numbers: Sequence[int]) -> list[Trial]:
        """Return the trials of these numbers. Raises InfraError when the harness could not do its part."""
        load = os.getloadavg()[0]
        delays = partial(draw, variant.seed, numbers[0], "delay")
        engine = Engine(_policy(variant), self._dialects[variant.dialect], delays)
        lives = self._lives(variant, numbers)
        return [_trial(variant, number, engine, life, load) for number, life in zip(numbers, lives, strict=True)]

    def _lives(self, variant: Variant, numbers: Iterable[int]) -> Iterator[Life]:
        if variant.case is None:
            yield from (Life(self._run(variant)) for _ in numbers)
            return
        shot = Shot(variant.case.victim.fault, "", variant.case.victim.values(), variant.host)
        plans = [(mode_of(variant.case, n, variant.seed), host_of(variant.case, n)) for n in numbers]
        for mode, alike in groupby(plans, key=lambda plan: plan[0]):
            aimed, hosts = msgspec.structs.replace(shot, mode=mode), [host for _, host in alike]
            fired = self._zygote(variant).fire(aimed, len(hosts), variant.case.limits.timeout_s)
            for host, one in zip(hosts, fired, strict=True):
                yield Life(one.evidence(), host, mode)

    def _run(self, variant: Variant) -> Evidence:
        return supervise(Command(variant.command), variant.limits, variant.timeout_s, stop=self._stop)

    def _zygote(self, variant: Variant) -> Zygote:
        """A life of a zygote is a block, so that likeness by a shared layout shows as likeness within blocks."""
        if variant.name not in self._zygotes and variant.case:
            limits = limits_of(variant.case)
            self._zygotes[variant.name] = Zygote(variant.host, variant.start, limits, renew_every=BLOCK_TRIALS)
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


def _trial(variant: Variant, number: int, engine: Engine, life: Life, load: float) -> Trial:
    """Classify a life as a first attempt, and keep what an experiment needs of it."""
    attempt = engine.judge(life, 1, engine.policy.machine or DEFAULT_PRESET)
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
    )


def codes_of(evidence: Evidence) -> dict[str, str | None]:
    """Return the error code that each built-in dialect gives an attempt; None where it finds no error."""
    found = {name: (dialect, dialect.classify(evidence).error) for name, dialect in BUILT_IN.items()}
    return {name: _code(dialect.enhance(error)) if error else None for name, (dialect, error) in found.items()}


def _code(error: TaskError) -> str | None:
    return error.code if isinstance(error.code, str) else None


class Gunnery:
    """Gunners on as many threads as there are jobs."""

    def __init__(self, jobs: int, stop: Stop, dialects: Mapping[str, Dialect] = BUILT_IN) -> None:
        self._stop, self._local, self._gunners = stop, threading.local(), list[Gunner]()
        self._dialects = dialects
        self._pool = ThreadPoolExecutor(jobs)
        self.submit = self._pool.submit

    def fire(self, variant: Variant, index: int) -> list[Trial]:
        """Fire a group on this thread."""
        if not hasattr(self._local, "gunner"):
            self._local.gunner = Gunner(self._stop, self._dialects)
            self._gunners.append(self._local.gunner)
        return self._local.gunner.fire(variant, range(index * GROUP + 1, (index + 1) * GROUP + 1))  # type: ignore[no-any-return]  # thread-local members have no type

    def close(self) -> None:
        """Give up what is not begun, let what is running end, and end the zygotes."""
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for gunner in self._gunners:
            gunner.cancel()
        self._pool.shutdown()
        for gunner in self._gunners:
            gunner.close()


class Progress(msgspec.Struct):
    """Where an experiment is, and why it ended: a tally of each variant, and blocks of two side by side."""

    tallies: dict[str, Tally]
    elapsed_s: float = 0.0
    ended: str = ""
    pairing: Pairing = msgspec.field(default_factory=Pairing)

    @classmethod
    def begin(cls, experiment: Experiment) -> Progress:
        """Nothing has happened yet."""
        return cls({variant.name: Tally() for variant in experiment.variants})

    def add(self, group: list[Trial]) -> None:
        """Count a group."""
        self.tallies[group[0].variant].add(group)
        if len(self.tallies) > 1 and len(group) == GROUP:
            which = int(group[0].variant != next(iter(self.tallies)))
            self.pairing.add(group[0].group, which, sum(trial.failed for trial in group), len(group))

    @property
    def is_level(self) -> bool:
        """Whether all variants have had as many trials."""
        return len({tally.trials for tally in self.tallies.values()}) == 1


def resume(experiment: Experiment, groups: Iterable[list[Trial]], elapsed_s: float) -> Progress:
    """Count what a history has."""
    progress = Progress.begin(experiment)
    progress.elapsed_s = elapsed_s
    for group in groups:
        progress.add(group)
    return progress


def conduct(
    experiment: Experiment,
    progress: Progress,
    history: History | None = None,
    observe: Callable[[Progress], object] | None = None,
    dialects: Mapping[str, Dialect] = BUILT_IN,
) -> None:
    """Fire groups until the stopping rule says stop, or Ctrl-C; `progress` says where to begin, and is kept up.

    Every group is journalled, and then counts, with no Ctrl-C between; what that cuts off does neither. `dialects` has
    those of the variants by their names. Raises InfraError when the harness could not do its part.
    """
    leading = progress.tallies[experiment.variants[0].name]
    before, began = progress.elapsed_s, time.monotonic()
    with Stop() as stop, closing(Gunnery(experiment.jobs, stop, dialects)) as gunnery:
        try:
            for group in _groups(experiment, gunnery, progress, history):
                with uninterrupted():
                    if history:
                        history.write_trials(group)
                    progress.add(group)
                progress.elapsed_s = before + time.monotonic() - began
                if observe:
                    observe(progress)
                if progress.is_level:
                    progress.ended = experiment.stopping.reason(leading, progress.elapsed_s) or ""
                if progress.ended:
                    return
        except KeyboardInterrupt:
            progress.ended = INTERRUPTED


def _groups(
    experiment: Experiment, gunnery: Gunnery, progress: Progress, history: History | None
) -> Iterator[list[Trial]]:
    """Groups in their order, with some of the next on their way already."""
    done = {name: tally.groups.groups for name, tally in progress.tallies.items()}
    order, waiting = experiment.order(done), deque[Future[list[Trial]]]()
    while True:
        while len(waiting) < AHEAD * experiment.jobs:
            variant, index = next(order)
            if history and (index % BLOCK == 0 or index == done[variant.name]):
                history.write("started", f"{variant.name}, from group {index}")
            waiting.append(gunnery.submit(gunnery.fire, variant, index))
        yield waiting.popleft().result()
