"""An experiment in words: a line while it goes on, a page when it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.experiments.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.experiments.conduct import Progress
    from harness.experiments.findings import Difference, Finding
    from harness.experiments.statistics import Interval, Overdispersion
    from harness.experiments.variant import Experiment

NOTEWORTHY = 0.05
SHOWN_WAITS = 5


def _percent(interval: Interval) -> str:
    return f"{interval.low:.1%} to {interval.high:.1%}"


def progress_line(one: Experiment, now: Progress) -> str:
    """Trials, rate, interval and time left, as far as it is known."""
    leading = now.tallies[one.variants[0].name]
    most = one.stopping.most_trials()
    left = ""
    if most and leading.trials and now.elapsed_s:
        left = f", {now.elapsed_s * (most - leading.trials) / leading.trials:.0f} s left"
    rate = f"{leading.rate:.1%} ({_percent(wilson(leading.failures, leading.trials))})"
    return f"{leading.trials} trials, {rate}{left}"


def finding_lines(
    one: Experiment, reached: Progress, findings: Sequence[Finding], difference: Difference | None
) -> Iterator[str]:
    """The whole answer, for people."""
    for variant, finding in zip(one.variants, findings, strict=False):
        how = f"{variant.host}, {variant.start}" if variant.case else "fresh"
        yield f"{finding.variant}   ({variant.dialect}, {how}, seed {variant.seed}, {one.jobs} at a time)"
        yield from (f"  {line}" for line in finding_lines_of(finding))
    if difference:
        yield f"{difference.first} and {difference.second}, side by side"
        yield f"  {difference.text}"
    yield f"stopped: {reached.ended}; {reached.elapsed_s:.1f} s"
    yield ""


def finding_lines_of(finding: Finding) -> Iterator[str]:
    """One variant's answer."""
    for row in finding.outcomes:
        truth = f"{row.injected} -> " if row.injected else ""
        words = ", ".join(filter(None, (row.ended, row.cause, row.code, row.branch)))
        yield f"{row.count:>8}  {truth}{words}"
    yield from fact_lines(finding)


def fact_lines(finding: Finding) -> Iterator[str]:
    """Rate, independence and advice, without the table of outcomes."""
    yield f"failures {finding.failures} of {finding.trials}: {finding.rate:.1%}"
    yield f"95 % interval {_percent(finding.score)} (Wilson), {_percent(finding.exact)} (Clopper-Pearson)"
    yield f"within groups of ten: {_alike(finding.groups)}"
    yield f"over blocks: {_alike(finding.blocks)}"
    waits = [wait for wait in finding.waits if wait.observed or wait.expected >= 1][:SHOWN_WAITS]
    told = ", ".join(f"{wait.attempts}: {wait.observed} ({wait.expected:.0f})" for wait in waits)
    if told:
        yield f"attempts to success, observed (expected of independent attempts): {told}; {finding.censored} cut off"
    yield f"advice: {finding.advice.text}"


def _alike(found: Overdispersion) -> str:
    verdict = "attempts resemble each other" if found.p_value < NOTEWORTHY else "no likeness seen"
    return f"{verdict} (Tarone's Z {found.z:.2f}, p {found.p_value:.2g}, ICC {found.icc:.2f})"
