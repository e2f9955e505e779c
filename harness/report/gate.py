"""A gate's findings, for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness.experiments.statistics import wilson
from harness.report import words
from harness.scenarios.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.gate.check import Finding

SHOWN = 12  # reasons of a finding; --json has them all


def finding_lines(finding: Finding) -> Iterator[str]:
    """Verdict, id and the rate where it says something; then the reasons."""
    yield " ".join(filter(None, [f"{finding.judgement.verdict:<5}", finding.id, _rate(finding)]))
    reasons = finding.judgement.reasons
    yield from (f"      {reason}" for reason in reasons[:SHOWN])
    if len(reasons) > SHOWN:
        yield f"      and {len(reasons) - SHOWN} more; --json has them"


def _rate(finding: Finding) -> str:
    """Say how often first attempts failed; never a rate alone."""
    if finding.tier not in ("dosed", "wild") or not finding.trials:
        return ""
    low, high = wilson(finding.failures, finding.trials)
    judged = ", reported only" if finding.tier == "wild" else ""
    seed = f", seed {finding.seed}" if finding.seed is not None else ""
    return f"({finding.failures} of {finding.trials} failed at once, {low:.2f} to {high:.2f}{judged}{seed})"


def summary(findings: Sequence[Finding]) -> str:
    """Count the verdicts in one line."""
    counts = Counter(one.judgement.verdict for one in findings)
    parts = [f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]]
    return f"{words.counted(len(findings), 'finding')}: {', '.join(parts) or 'none'}"
