"""An experiment in words: a line while it goes on, a page when it has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import TaskID

from harness.experiments.conduct import corrected, ranked
from harness.experiments.groups import FEWEST_GROUPS, grouped_interval
from harness.experiments.paired import SURE_TRIALS, Method
from harness.experiments.shares import by_host, chance
from harness.experiments.tally import GROUP
from harness.report.words import WHY, counted, printable
from harness.wire.request import Branch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import Progress as Bar

    from harness.experiments.conduct import Conclusion, Progress
    from harness.experiments.findings import Difference, Finding
    from harness.experiments.groups import Overdispersion
    from harness.experiments.series import Slope
    from harness.experiments.statistics import Interval
    from harness.experiments.variant import Experiment

NOTEWORTHY = 0.05
LOW_RATE = 0.1
SHOWN_WAITS = 5
READING_S = 0.2
RANKING = ("rank", "failures", "rate", "95 %, all together", "what was tried")
SHOWN_LINES = 3


def _percent(interval: Interval) -> str:
    return f"{interval.low:.1%} to {interval.high:.1%}"


def progress_line(one: Experiment, now: Progress) -> str:
    """Trials, rate, interval and time left, as far as it is known."""
    leading = now.tallies[one.variants[0].name]
    left = one.stopping.seconds_left(leading, now.elapsed_s)
    rate = f"{leading.rate:.1%} ({_percent(grouped_interval(leading.units))})"
    return f"{leading.trials} trials, {rate}" + (f", about {left:.0f} s left" if left is not None else "")


class Shown:
    """Shows experiments under way on a progress bar, no faster than a person reads."""

    def __init__(self, bar: Bar) -> None:
        self._bar, self._tasks, self._last_s = bar, dict[str, TaskID](), 0.0

    def __call__(self, one: Experiment, now: Progress) -> None:
        """Show where an experiment is."""
        if time.monotonic() - self._last_s < READING_S:
            return
        self._last_s = time.monotonic()
        if one.title not in self._tasks:
            self._tasks[one.title] = self._bar.add_task("", total=one.stopping.most_trials())
        done = now.tallies[one.variants[0].name].trials
        line = f"{one.title}: {progress_line(one, now)}"
        self._bar.update(self._tasks[one.title], completed=done, description=escape(printable(line)))


def conclusion_lines(told: Conclusion) -> Iterator[str]:
    """The whole answer of an experiment, for people."""
    one = told.experiment
    for variant, finding in zip(one.variants, told.findings, strict=False):
        how = f"{variant.host}, {variant.start}" if variant.case else "a new process each"
        yield f"{finding.variant}   ({variant.dialect}, {how}, seed {variant.seed}, {one.jobs} at a time)"
        yield from (f"  {line}" for line in finding_lines_of(finding))
    if told.difference:
        yield from difference_lines(told.difference)
        yield from (f"  {line}" for line in _schedule_lines(one, told.difference))
    if one.stopping.sequential:
        yield "a sequential test stops where its rate looks extreme: the rates and the advice above are biased that way"
    kept = [f"  {line}" for line in kept_lines(told)]
    if kept:
        yield from ("the first failure of each kind", *kept)
    yield from share_lines(told)
    if told.lost:
        yield f"{counted(told.lost, 'worker')} lost; what was not answered was fired again"
        yield from (f"  {line}" for line in _again_lines(told))
    if told.verdict:
        yield f"verdict: {told.verdict}"
    yield f"stopped: {told.ended or 'not ended'}; {told.elapsed_s:.1f} s"
    yield ""


def _again_lines(told: Conclusion) -> Iterator[str]:
    """How many trials of each variant lost workers had, and what that means for the numbers."""
    for variant in told.experiment.variants:
        if again := told.again.get(variant.name, 0):
            biased = "their rate is left to chance, and may be biased by that"
            meaning = biased if variant.is_wild else "their seeds say the same again"
            yield f"{variant.name}: at most {counted(again, 'trial')}: {meaning}"


def _schedule_lines(one: Experiment, found: Difference) -> Iterator[str]:
    """Whether a schedule helps, where one of two variants has it."""
    first, second = (variant.schedule is not None for variant in one.variants)
    if first == second:
        return
    gain = found.rate_difference if second else -found.rate_difference
    if found.p_value < NOTEWORTHY and gain > 0:
        yield "the schedule raises the rate: the window lies between calls that synchronise"
    else:
        yield "the schedule does not raise the rate: what meets by atomic operations alone is out of its reach"


def difference_lines(found: Difference) -> Iterator[str]:
    """What came of a comparison."""
    yield f"{found.first} and {found.second}, side by side"
    yield f"  {found.text}"
    if found.trials < SURE_TRIALS and found.method in {Method.GROUPS, Method.BLOCKS}:
        often = f"with {found.trials} trials each, equal variants differ in up to {found.level:.0%} of cases"
        yield f"  {often}, where outcomes follow each other beyond a group; in up to 6% otherwise"


def corrected_lines(told: Sequence[Conclusion]) -> Iterator[str]:
    """All comparisons of a run, corrected for each other; nothing where there is one or none."""
    found = [one.difference for one in corrected(told) if one.difference]
    if len(found) > 1:
        yield f"{len(found)} comparisons, corrected for there being so many (Holm)"
        yield from (f"  {line}" for one in found for line in difference_lines(one))
        yield ""


def ranking_rows(told: Sequence[Conclusion]) -> Iterator[tuple[str, str, str, str, str]]:
    """All rates of a run with several, the highest first; their intervals hold all together with 95 %."""
    if len(told) < 2:  # noqa: PLR2004 -- one has no rank
        return
    for place, one in enumerate(ranked(told), 1):
        yield str(place), f"{one.failures} of {one.trials}", f"{one.rate:.1%}", _percent(one.among), one.variant


def share_lines(told: Conclusion) -> Iterator[str]:
    """Who fired how much of each variant, how often it failed there, and whether that differs."""
    for variant, shares in told.shares.items():
        yield f"{variant}, fired by {counted(len(shares), 'worker')}"
        for name, one in sorted(shares.items()):
            yield f"  {name}: {one.groups * GROUP} trials, {one.failures / one.groups / GROUP:.1%} failed"
        hosts = by_host(shares)
        if len(hosts) > 1:
            p = chance(hosts.values())
            what = "hosts" if hosts.keys() != shares.keys() else "workers"
            yield f"  {f'the {what} differ' if p < NOTEWORTHY else f'no difference between {what} seen'} (p {p:.2g})"


def kept_lines(told: Conclusion) -> Iterator[str]:
    """The first failure of each kind: which trial it was, the end of its stderr, and its backtrace."""
    first = {(trial.variant, trial.kind): trial for trial in reversed(told.kept)}
    for trial in reversed(first.values()):
        if trial.evidence is None:
            continue
        yield f"trial {trial.number} of {trial.variant}: {printable(str(trial.evidence))}; {trial.rule} ({trial.cause})"
        yield from (f"  stderr: {line}" for line in trial.evidence.stderr.splitlines()[-SHOWN_LINES:])
        yield from (f"  {line}" for line in (trial.evidence.backtrace or "").splitlines())


def brief_lines(told: Conclusion) -> Iterator[str]:
    """A line for each variant, with the verdict where one was asked for."""
    for one in told.findings:
        verdict = f"{told.verdict} " if told.verdict else ""
        rate = f"{one.rate:.1%} ({_percent(one.interval)})"
        yield f"{verdict}{one.failures} of {one.trials} failed, {rate}: {one.variant}"


def finding_lines_of(finding: Finding) -> Iterator[str]:
    """One variant's answer."""
    for row in finding.outcomes:
        truth = f"{row.injected} -> " if row.injected else ""
        then = WHY[Branch(row.branch)] if row.branch else ""
        words = ", ".join(filter(None, (row.ended, row.cause, row.code, then)))
        yield f"{row.count:>8}  {truth}{words}"
    yield from fact_lines(finding)


def fact_lines(finding: Finding) -> Iterator[str]:
    """Rate, independence and advice, without the table of outcomes."""
    yield f"failures {finding.failures} of {finding.trials}: {finding.rate:.1%}"
    units = "by blocks of a hundred" if finding.has_memory else "by groups of ten"
    units = units if finding.trials >= FEWEST_GROUPS * GROUP else "for so few trials, as if they were independent"
    yield f"95 % interval {_percent(finding.interval)} {units}; {_percent(finding.exact)} if trials were independent"
    if finding.rate < LOW_RATE and finding.groups.icc > 0:
        yield "so low a rate of attempts that resemble each other is covered less often: docs/statistics.md"
    yield f"within groups of ten: {_alike(finding.groups)}"
    yield f"over the whole time: {_drift(finding.drift)}"
    waits = [wait for wait in finding.waits if wait.observed or wait.expected >= 1][:SHOWN_WAITS]
    told = ", ".join(f"{wait.attempts}: {wait.observed} ({wait.expected:.0f})" for wait in waits)
    if told:
        yield f"attempts to success, observed (expected of independent attempts): {told}; {finding.censored} cut off"
    yield f"advice: {finding.advice.text}"
    yield from (f"        {note}" for note in finding.advice.notes)


def _drift(found: Slope) -> str:
    if found.p_value >= NOTEWORTHY:
        return f"no drift seen (p {found.p_value:.2g})"
    return f"the failure rate drifts by {found.change:+.1%} from first to last (p {found.p_value:.2g})"


def _alike(found: Overdispersion) -> str:
    verdict = "attempts resemble each other" if found.p_value < NOTEWORTHY else "no likeness seen"
    return f"{verdict} (Tarone's Z {found.z:.2f}, p {found.p_value:.2g}, ICC {found.icc:.2f})"
