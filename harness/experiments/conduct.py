"""Conducts experiments: groups under a stopping rule, journalled and taken up again, and two variants interleaved."""

from __future__ import annotations

import math
import time
from collections import deque
from concurrent.futures import Future
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from harness.dialects import BUILT_IN
from harness.dialects.custom import opened_all
from harness.experiments.fates import attempts_granted
from harness.experiments.findings import Asked, Difference, Finding, differ, find, verdict_of
from harness.experiments.firing import KEPT
from harness.experiments.kept import Ended, endings, give_back, groups, returned, save
from harness.experiments.paired import Comparison, Pairing
from harness.experiments.pool import here
from harness.experiments.shares import Share
from harness.experiments.tally import BLOCK, GROUP, Tally, Trial
from harness.experiments.variant import Experiment, Variant  # noqa: TC001 -- msgspec reads the annotations of records
from harness.journal import Kind
from harness.scenarios.campaign import as_they_end
from harness.scenarios.verdict import Verdict  # noqa: TC001 -- as above
from harness.supervisor import Stop
from harness.supervisor.interrupt import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from harness.dialects.protocol import Dialect
    from harness.experiments.pool import OpenPool, Pool
    from harness.journal import History, Reading

AHEAD = 2  # pieces of work a job
INTERRUPTED = "interrupted"


class Progress(msgspec.Struct):
    """Where an experiment is, and why it ended: a tally of each variant, and blocks of two side by side.

    `kept` has the first failures of each kind, by the variants' names, with the whole evidence. `lost` counts workers
    that ended before they had answered, and `again` the trials of each variant that they had: those were fired again.
    `shares` say who fired what of each variant.
    """

    tallies: dict[str, Tally]
    elapsed_s: float = 0.0
    ended: str = ""
    pairing: Pairing = msgspec.field(default_factory=Pairing)
    kept: dict[str, list[Trial]] = {}
    lost: int = 0
    again: dict[str, int] = {}
    shares: dict[str, dict[str, Share]] = {}

    @classmethod
    def begin(cls, experiment: Experiment) -> Progress:
        """Make the progress of an experiment that has not begun."""
        return cls({variant.name: Tally() for variant in experiment.variants})

    def add(self, group: list[Trial]) -> None:
        """Count a group."""
        self.tallies[group[0].variant].add(group)
        if len(self.tallies) > 1 and len(group) == GROUP:
            which = int(group[0].variant != next(iter(self.tallies)))
            self.pairing.add(group[0].group, which, sum(trial.failed for trial in group), len(group))
        if group[0].worker and len(group) == GROUP:
            shares = self.shares.setdefault(group[0].variant, {})
            before = shares.get(group[0].worker, Share())
            shares[group[0].worker] = before.plus(sum(trial.failed for trial in group))
        for trial in group:
            self._keep(trial)

    def lose(self, variant: str, trials: int, *, is_first: bool) -> None:
        """Count trials that a lost worker had; `is_first` of its loss."""
        self.again[variant] = self.again.get(variant, 0) + trials
        self.lost += is_first

    def _keep(self, trial: Trial) -> None:
        """Keep the first failures of each kind whose whole evidence there is."""
        kept = self.kept.setdefault(trial.variant, [])
        if trial.evidence and sum(one.kind == trial.kind for one in kept) < KEPT:
            kept.append(trial)

    @property
    def is_level(self) -> bool:
        """Whether all variants have had as many trials."""
        return len({tally.trials for tally in self.tallies.values()}) == 1


class Conclusion(msgspec.Struct, frozen=True):
    """The answer of one experiment, or what can be said of it so far: then `ended` is "interrupted", or empty.

    `verdict` is the first variant's, where a sequential test or a rate to stay below was asked for. `comparison` is
    what `difference` tells, before it is corrected for looking at several. `kept` are the first failures of each kind,
    `lost` the workers that were lost, `again` the trials of each variant that they had, at most, and that were fired
    again; `shares` who fired what of each variant.
    """

    experiment: Experiment
    ended: str
    elapsed_s: float
    findings: tuple[Finding, ...]
    difference: Difference | None
    verdict: Verdict | None = None
    comparison: Comparison | None = None
    kept: tuple[Trial, ...] = ()
    lost: int = 0
    again: dict[str, int] = {}
    shares: dict[str, dict[str, Share]] = {}


class Among(NamedTuple):
    """How many rates, and how many comparisons, there are in one run: what looking at many is corrected by."""

    looks: int = 1
    comparisons: int = 1

    @classmethod
    def of(cls, experiments: Sequence[Experiment]) -> Among:
        """Count them."""
        return cls(sum(len(one.variants) for one in experiments), sum(len(one.variants) > 1 for one in experiments))


ALONE = Among()


def conclude(experiment: Experiment, progress: Progress, among: Among = ALONE) -> Conclusion:
    """Draw the conclusions from what was counted, as one of as many as there are in its run."""
    for tally in progress.tallies.values():
        tally.close()
    findings = tuple(
        find(one.name, progress.tallies[one.name], Asked(experiment.target, _granted(one, progress), among.looks))
        for one in experiment.variants
        if progress.tallies[one.name].trials
    )
    comparison = progress.pairing.compare() if len(findings) > 1 else None
    difference = differ([(findings[0], findings[1], comparison)], among.comparisons)[0] if comparison else None
    leading = progress.tallies[experiment.variants[0].name]
    verdict = verdict_of(leading, experiment.stopping.sequential, experiment.expect_below)
    kept = tuple(trial for trials in progress.kept.values() for trial in trials)
    told = (
        progress.ended,
        progress.elapsed_s,
        findings,
        difference,
        verdict,
        comparison,
        kept,
        progress.lost,
        progress.again,
        progress.shares,
    )
    return Conclusion(experiment, *told)


def _granted(variant: Variant, progress: Progress) -> int | None:
    """How many attempts the variant's own policy gives a failure that it retries, where that can be said."""
    dialect, kept = BUILT_IN.get(variant.dialect), progress.kept.get(variant.name, [])
    ends = [trial.evidence for trial in kept if trial.evidence]
    return attempts_granted(ends, dialect, variant.judged_under) if dialect else None


def ranked(told: Iterable[Conclusion]) -> list[Finding]:
    """All rates of one run, the highest first; `among` says between what they lie, all of them together."""
    return sorted((found for one in told for found in one.findings), key=lambda one: (-one.rate, one.variant))


def corrected(told: Sequence[Conclusion]) -> list[Conclusion]:
    """Correct all comparisons of one run for there being several."""
    pairs = [(one.findings[0], one.findings[1], one.comparison) for one in told if one.comparison]
    found = iter(differ(pairs))
    return [msgspec.structs.replace(one, difference=next(found)) if one.comparison else one for one in told]


def recount(
    reading: Reading,
    experiments: Iterable[Experiment],
    observe: Callable[[Experiment, Progress, list[Trial]], object] | None = None,
) -> dict[str, Progress]:
    """Count what a history has of each experiment, by its title; `observe` sees each group once it counts."""
    counted = {one.title: Progress.begin(one) for one in experiments}
    whose = {variant.name: one for one in experiments for variant in one.variants}
    spans = dict[tuple[str, int], tuple[int, int]]()
    for group in groups(reading):
        one = whose[group.trials[0].variant]
        counted[one.title].add(group.trials)
        began, _ = spans.setdefault((one.title, group.session), (group.at_ms, 0))
        spans[one.title, group.session] = began, group.at_ms
        if observe:
            observe(one, counted[one.title], group.trials)
    for (title, _), (began, last) in spans.items():
        counted[title].elapsed_s += (last - began) / 1000
    for name, back in returned(reading):
        counted[whose[name].title].lose(name, back.trials, is_first=back.is_first)
    for title, ended in endings(reading).items():
        counted[title].ended, counted[title].elapsed_s = ended.reason, ended.elapsed_s
    return counted


def conduct_all(
    experiments: Sequence[Experiment],
    history: History | None = None,
    observe: Callable[[Experiment, Progress], object] | None = None,
    *,
    open_pool: OpenPool = here,
) -> Iterator[Conclusion]:
    """Conduct experiments one after the other, and yield what each says; an interrupted one is the last.

    One that a history has is gone on with, and one that ended there is only told again.
    """
    before = recount(history, experiments) if history else {one.title: Progress.begin(one) for one in experiments}
    for one in experiments:
        progress = before[one.title]
        if not progress.ended:
            _go_on(one, progress, history, observe, open_pool)
        yield conclude(one, progress, Among.of(experiments))
        if progress.ended == INTERRUPTED:
            return


def _go_on(
    one: Experiment,
    progress: Progress,
    history: History | None,
    observe: Callable[[Experiment, Progress], object] | None,
    open_pool: OpenPool,
) -> None:
    """Go on with an experiment, unless it was at its end: a process may be killed before it has written that."""
    leading = progress.tallies[one.variants[0].name]
    progress.ended = (progress.is_level and one.stopping.reason(leading, progress.elapsed_s)) or ""
    if not progress.ended:
        with opened_all(variant.dialect for variant in one.variants) as dialects:
            told = (lambda now: observe(one, now)) if observe else None
            conduct(one, progress, history, told, dialects, open_pool=open_pool)
    if history and progress.ended != INTERRUPTED:
        history.write(Kind.DECIDED, one.title, body=Ended(progress.ended, progress.elapsed_s))


def conduct(
    experiment: Experiment,
    progress: Progress,
    history: History | None = None,
    observe: Callable[[Progress], object] | None = None,
    dialects: Mapping[str, Dialect] = BUILT_IN,
    *,
    open_pool: OpenPool = here,
) -> None:
    """Fire groups until the stopping rule says stop, or Ctrl-C; `progress` says where to begin, and is kept up.

    Every group is journalled, and then counts, with no Ctrl-C between; what that cuts off does neither. `dialects` has
    those of the variants by their names, `open_pool` says where they are fired. Raises InfraError when the
    harness could not do its part.
    """
    leading = progress.tallies[experiment.variants[0].name]
    before, began = progress.elapsed_s, time.monotonic()
    left_s = math.inf if experiment.stopping.time_s is None else experiment.stopping.time_s - before
    with Stop() as stop, closing(open_pool(experiment, stop, dialects)) as pool:
        try:
            for group in _groups(experiment, pool, progress, history, began + left_s):
                with uninterrupted():
                    if history and group:
                        save(history, group)
                    if group:
                        progress.add(group)
                progress.elapsed_s = before + time.monotonic() - began
                _count_losses(pool, progress, history)
                if observe:
                    observe(progress)
                if progress.is_level:
                    progress.ended = experiment.stopping.reason(leading, progress.elapsed_s) or ""
                progress.ended = progress.ended or experiment.stopping.late(progress.elapsed_s) or ""
                if progress.ended:
                    return
        except KeyboardInterrupt:
            progress.ended = INTERRUPTED
            if history:
                history.interrupted()


def _count_losses(pool: Pool, progress: Progress, history: History | None) -> None:
    """Journal and count what workers had that were lost since the last group."""
    for loss in pool.losses():
        if history:
            give_back(history, loss)
        for at, (variant, numbers) in enumerate(loss.orders):
            progress.lose(variant.name, len(numbers), is_first=at == 0)


def _assign(piece: list[tuple[Variant, range]], done: Mapping[str, int], history: History) -> None:
    """Journal that blocks, or what is left of them, are about to be fired."""
    for variant, numbers in piece:
        index = (numbers[0] - 1) // GROUP
        if index % BLOCK == 0 or index == done[variant.name]:
            history.write(Kind.STARTED, variant.name, index + 1)


def _groups(
    experiment: Experiment, pool: Pool, progress: Progress, history: History | None, until_s: float
) -> Iterator[list[Trial]]:
    """Groups in their order, with some of the next on their way already; none begins a trial after `until_s`."""
    done = {name: tally.groups.groups for name, tally in progress.tallies.items()}
    work, waiting = experiment.work(done, in_blocks=pool.gives_blocks), deque[list[Future[list[Trial]]]]()
    while True:
        for piece in islice(work, AHEAD * pool.slots - len(waiting)):
            if history:
                _assign(piece, done, history)
            waiting.append(pool.submit(piece, until_s))
        if not waiting:
            return
        for answer in waiting.popleft():
            yield next(as_they_end([answer])).result()
