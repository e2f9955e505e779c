"""Conducts experiments: groups under a stopping rule, journalled and taken up again, and two variants interleaved."""

from __future__ import annotations

import math
import time
from collections import deque
from concurrent.futures import Future
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from harness.dialects import BUILT_IN
from harness.dialects.custom import opened_all
from harness.experiments.findings import Difference, Finding, differ, find, verdict_of
from harness.experiments.firing import GroupRunners
from harness.experiments.kept import Ended, endings, groups, save
from harness.experiments.paired import Pairing
from harness.experiments.tally import BLOCK, GROUP, Tally, Trial
from harness.experiments.variant import Experiment  # noqa: TC001 -- msgspec reads the annotations of records
from harness.journal import Kind
from harness.scenarios.verdict import Verdict  # noqa: TC001 -- as above
from harness.supervisor import Stop
from harness.supervisor.interrupt import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from harness.dialects.protocol import Dialect
    from harness.journal import History, Reading

AHEAD = 2  # groups a job
INTERRUPTED = "interrupted"


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


class Conclusion(msgspec.Struct, frozen=True):
    """The answer of one experiment, or what can be said of it so far: then `ended` is "interrupted", or empty.

    `verdict` is the first variant's, where a sequential test or a rate to stay below was asked for.
    """

    experiment: Experiment
    ended: str
    elapsed_s: float
    findings: tuple[Finding, ...]
    difference: Difference | None
    verdict: Verdict | None = None


def conclude(experiment: Experiment, progress: Progress) -> Conclusion:
    """Draw the conclusions from what was counted."""
    for tally in progress.tallies.values():
        tally.close()
    findings = tuple(find(name, tally, experiment.target) for name, tally in progress.tallies.items() if tally.trials)
    difference = differ([(findings[0], findings[1], progress.pairing)])[0] if len(findings) > 1 else None
    leading = progress.tallies[experiment.variants[0].name]
    verdict = verdict_of(leading, experiment.stopping.sequential, experiment.expect_below)
    return Conclusion(experiment, progress.ended, progress.elapsed_s, findings, difference, verdict)


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
    for title, ended in endings(reading).items():
        counted[title].ended, counted[title].elapsed_s = ended.reason, ended.elapsed_s
    return counted


def conduct_all(
    experiments: Sequence[Experiment],
    history: History | None = None,
    observe: Callable[[Experiment, Progress], object] | None = None,
) -> Iterator[Conclusion]:
    """Conduct experiments one after the other, and yield what each says; an interrupted one is the last.

    One that a history has is gone on with, and one that ended there is only told again.
    """
    before = recount(history, experiments) if history else {one.title: Progress.begin(one) for one in experiments}
    for one in experiments:
        progress = before[one.title]
        if not progress.ended:
            _go_on(one, progress, history, observe)
        yield conclude(one, progress)
        if progress.ended == INTERRUPTED:
            return


def _go_on(
    one: Experiment,
    progress: Progress,
    history: History | None,
    observe: Callable[[Experiment, Progress], object] | None,
) -> None:
    """A process may have been killed after the last group, and before it said that it was the last."""
    leading = progress.tallies[one.variants[0].name]
    progress.ended = (progress.is_level and one.stopping.reason(leading, progress.elapsed_s)) or ""
    if not progress.ended:
        with opened_all(variant.dialect for variant in one.variants) as dialects:
            conduct(one, progress, history, (lambda now: observe(one, now)) if observe else None, dialects)
    if history and progress.ended != INTERRUPTED:
        history.write(Kind.DECIDED, one.title, body=Ended(progress.ended, progress.elapsed_s))


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
    left_s = math.inf if experiment.stopping.time_s is None else experiment.stopping.time_s - before
    with Stop() as stop, closing(GroupRunners(experiment.jobs, stop, dialects)) as runners:
        try:
            for group in _groups(experiment, runners, progress, history, began + left_s):
                with uninterrupted():
                    if history and group:
                        save(history, group)
                    if group:
                        progress.add(group)
                progress.elapsed_s = before + time.monotonic() - began
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


def _groups(
    experiment: Experiment, runners: GroupRunners, progress: Progress, history: History | None, until_s: float
) -> Iterator[list[Trial]]:
    """Groups in their order, with some of the next on their way already; none begins a trial after `until_s`."""
    done = {name: tally.groups.groups for name, tally in progress.tallies.items()}
    order, waiting = experiment.order(done), deque[Future[list[Trial]]]()
    while True:
        while len(waiting) < AHEAD * experiment.jobs:
            variant, index = next(order)
            numbers = experiment.stopping.numbers(index)
            if not numbers:
                break
            if history and (index % BLOCK == 0 or index == done[variant.name]):
                history.write(Kind.STARTED, variant.name, index + 1)
            waiting.append(runners.submit(runners.fire, variant, numbers, until_s))
        if not waiting:
            return
        yield waiting.popleft().result()
