"""A gate's findings, for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.progress import TaskID

from harness.experiments.statistics import wilson
from harness.report import words
from harness.report.terminal import shown
from harness.scenarios.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import Progress

    from harness.gate.baseline import Entry
    from harness.gate.check import CaseFinding
    from harness.gate.live import Unit

SHOWN = 12  # reasons of a finding; --json has them all


def finding_lines(finding: CaseFinding) -> Iterator[str]:
    """Verdict, id and the rate where it says something; then the reasons."""
    yield " ".join(filter(None, [f"{finding.judgement.verdict:<5}", finding.id, _rate(finding)]))
    reasons = finding.judgement.reasons
    yield from (f"      {reason}" for reason in reasons[:SHOWN])
    if len(reasons) > SHOWN:
        yield f"      and {len(reasons) - SHOWN} more; --json has them"


def _rate(finding: CaseFinding) -> str:
    """Say how often first attempts failed; never a rate alone."""
    if finding.tier not in ("dosed", "wild") or not finding.trials:
        return ""
    low, high = wilson(finding.failures, finding.trials)
    judged = ", reported only" if finding.tier == "wild" else ""
    seed = f", seed {finding.seed}" if finding.seed is not None else ""
    return f"({finding.failures} of {finding.trials} failed at once, {low:.2f} to {high:.2f}{judged}{seed})"


def summary(findings: Sequence[CaseFinding]) -> str:
    """Count the verdicts in one line."""
    counts = Counter(one.judgement.verdict for one in findings)
    parts = [f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]]
    return f"{words.counted(len(findings), 'finding')}: {', '.join(parts) or 'none'}"


class GateShown:
    """Shows the runs of a gate on a progress bar, and how many there have been."""

    def __init__(self, bar: Progress, what: str) -> None:
        self._bar, self._what, self.runs = bar, what, 0
        self._task = bar.add_task(what, total=None)  # how many there will be is not known before the baseline is read
        self._fresh = dict[str, TaskID]()

    def lived(self, unit: Unit) -> None:
        """Count a run."""
        self.runs += 1
        self._bar.update(self._task, advance=1, description=shown(f"{self._what} {unit.title}"))

    def fired(self, entry: Entry, trials: int) -> None:
        """Show how many fresh trials of a case there are."""
        if entry.id not in self._fresh:
            self._fresh[entry.id] = self._bar.add_task(shown(f"fresh seeds: {entry.id}"), total=entry.cap)
        self._bar.update(self._fresh[entry.id], completed=trials)

    def interrupted(self) -> str:
        """Return the line for a gate that Ctrl-C or SIGTERM has ended."""
        return f"interrupted after {words.counted(self.runs, 'run')}: a gate decides nothing before all are lived"
