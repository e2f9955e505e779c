"""A history read back: verdicts, experiments with their findings and curves, and what each dialect calls each death."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from harness.dialects import BUILT_IN
from harness.experiments.conduct import Progress, codes_of
from harness.experiments.findings import Difference, Finding, differ, find
from harness.experiments.variant import Experiment
from harness.scenarios.campaign import Result, decided

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.experiments.tally import Trial
    from harness.journal import History

MOST_POINTS = 400
NO_ERROR = "no error"


class Curve(msgspec.Struct):
    """Failures after so many trials; thinned as it grows, so that it never has more than 400 points."""

    points: list[tuple[int, int]] = []
    step: int = 1
    groups: int = 0

    def add(self, trials: int, failures: int) -> None:
        """Add a point, if it is its turn."""
        self.groups += 1
        if self.groups % self.step == 0:
            self.points.append((trials, failures))
        if len(self.points) > MOST_POINTS:
            self.points, self.step = self.points[1::2], self.step * 2


class Confusion(msgspec.Struct):
    """How often each injected truth was given each code, by dialect."""

    counts: dict[tuple[str, str, str], int] = {}

    def add(self, truth: str, codes: dict[str, str | None], times: int = 1) -> None:
        """Count one death in all dialects."""
        for dialect, code in codes.items():
            key = (truth, dialect, code or NO_ERROR)
            self.counts[key] = self.counts.get(key, 0) + times

    def rows(self) -> Iterator[tuple[str, dict[str, dict[str, int]], bool]]:
        """Each truth with its codes by dialect, and whether the dialects differ; those that do come first."""
        truths = sorted({truth for truth, _, _ in self.counts})
        made = [(truth, self._of(truth)) for truth in truths]
        told = [
            (truth, cells, len({tuple(sorted(one.items())) for one in cells.values()}) > 1) for truth, cells in made
        ]
        yield from sorted(told, key=lambda row: (not row[2], row[0]))

    def _of(self, truth: str) -> dict[str, dict[str, int]]:
        cells: dict[str, dict[str, int]] = {name: {} for name in BUILT_IN}
        for (one, dialect, code), times in sorted(self.counts.items()):
            if one == truth:
                cells.setdefault(dialect, {})[code] = times
        return cells


class Told(msgspec.Struct, frozen=True):
    """One experiment of a history."""

    experiment: Experiment
    findings: tuple[Finding, ...]
    curves: tuple[Curve, ...]
    difference: Difference | None
    ended: str


class Dossier(msgspec.Struct, frozen=True):
    """All that a history has to tell."""

    name: str
    environment: dict[str, str]
    results: tuple[Result, ...]
    experiments: tuple[Told, ...]
    confusion: Confusion

    def verdicts(self) -> Counter[str]:
        """How many cases came out how."""
        return Counter(str(result.judgement.verdict) for result in self.results)


def read(history: History, name: str) -> Dossier:
    """Read all of it; trials are streamed, group by group."""
    confusion, results = Confusion(), decided(history)
    for result in results:
        for attempt in result.run.attempts if result.run else ():
            truth = f"{result.case.victim.fault}, {attempt.injected or 'as it is'}"
            confusion.add(truth, codes_of(attempt.evidence))
    return Dossier(name, _environment(history), tuple(results), tuple(_experiments(history, confusion)), confusion)


def _environment(history: History) -> dict[str, str]:
    header = history.header()
    stated, around = header.get("environment"), header.get("surroundings")
    if isinstance(stated, dict):
        return {str(key): str(value) for key, value in stated.items()}
    pairs = around if isinstance(around, list) else []
    return {str(one["name"]): str(one["value"]) for one in pairs}


def _experiments(history: History, confusion: Confusion) -> Iterator[Told]:
    for event in history.events("experiment"):
        experiment = msgspec.convert(event.body, Experiment)
        progress = Progress.begin(experiment)
        curves = {variant.name: Curve() for variant in experiment.variants}
        truths = {
            variant.name: variant.case.victim.fault if variant.case else variant.name for variant in experiment.variants
        }
        for group in history.groups():
            if group[0].variant not in curves:
                continue
            progress.add(group)
            tally = progress.tallies[group[0].variant]
            curves[group[0].variant].add(tally.trials, tally.failures)
            for trial in group:
                confusion.add(_truth(truths, trial), _codes(trial))
        yield _told(history, experiment, progress, tuple(curves.values()))


def _truth(truths: dict[str, str], trial: Trial) -> str:
    return f"{truths[trial.variant]}, {trial.injected or 'as it is'}"


def _codes(trial: Trial) -> dict[str, str | None]:
    """All dialects': those that are not named agree with the trial's own."""
    return dict.fromkeys(BUILT_IN, trial.code) | trial.elsewhere


def _told(history: History, experiment: Experiment, progress: Progress, curves: tuple[Curve, ...]) -> Told:
    for tally in progress.tallies.values():
        tally.close()
    findings = tuple(find(name, tally) for name, tally in progress.tallies.items() if tally.trials)
    difference = differ([(findings[0], findings[1], progress.pairing)])[0] if len(findings) > 1 else None
    ends = [str(event.body) for event in history.events("concluded") if event.title == experiment.title]
    return Told(experiment, findings, curves, difference, ends[-1] if ends else "not ended")
