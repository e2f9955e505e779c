"""What each built-in dialect would have made of the same ends: whole runs decided again, trials kind by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.dialects import BUILT_IN
from harness.engine.loop import Life
from harness.engine.rejudged import rejudge
from harness.evidence import Evidence  # noqa: TC001 -- msgspec reads the annotations of records
from harness.experiments.fates import fate_of
from harness.experiments.tally import EndKind, Fate
from harness.experiments.variant import Variant  # noqa: TC001 -- as above
from harness.report.words import counted, terminations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.engine.lifecycle import Task
    from harness.engine.loop import Run
    from harness.experiments.tally import Trial

TITLE = "Under another engine's version"
HEADINGS = ("run, or variant", "what was seen", "times", "as it was", "under", "it would have been")
FATES = {
    Fate.SUCCEEDED: "succeeded",
    Fate.RETRIED: "retried",
    Fate.FINAL: "never retried",
    Fate.TIME_OUT: "never retried, a time-out",
    Fate.OUT_OF_MEMORY: "retried on a larger machine only",
}


class Delta(msgspec.Struct, frozen=True):
    """One run, or all trials of a variant that ended alike.

    `seen` is how they ended, `answer` what followed under the dialect they were judged by, `dialects` what would have
    followed under each built-in one.
    """

    what: str
    seen: str
    times: int
    dialect: str
    answer: str
    dialects: dict[str, str]

    @property
    def differing(self) -> dict[str, str]:
        """The answers that are others, by the dialects that agree on them: "upstream-4.4, upstream-v1"."""
        others: dict[str, list[str]] = {}
        for name, answer in self.dialects.items():
            if answer != self.answer:
                others.setdefault(answer, []).append(name)
        return {", ".join(names): answer for answer, names in others.items()}


def rows(deltas: tuple[Delta, ...]) -> Iterator[tuple[str, str, str, str, str, str]]:
    """The table: a row for each other answer. What comes out the same under every dialect has none."""
    for one in deltas:
        for names, answer in one.differing.items():
            yield one.what, one.seen, str(one.times), f"{one.answer} ({one.dialect})", names, answer


def remark(deltas: tuple[Delta, ...]) -> str:
    """Say what the table rests on, and how many rows it has not."""
    same = sum(not one.differing for one in deltas)
    if deltas and same == len(deltas):
        return "if its attempts had ended as they did, nothing would have come out otherwise"
    rest = f"; {same} more would have come out the same under every dialect" if same else ""
    return f"if its attempts had ended as they did{rest}"


def of_run(what: str, run: Run, policy: Task, dialect: str) -> Delta | None:
    """Decide a run again under each dialect; None where that says nothing."""
    found = {name: rejudge(run.attempts, policy, one) for name, one in BUILT_IN.items()}
    answers = {name: str(one) for name, one in found.items() if one}
    if not answers:
        return None
    answer = f"{run.status} after {counted(len(run.attempts), 'attempt')}"
    return Delta(what, terminations(run), 1, dialect, answer, answers)


class Ends(msgspec.Struct):
    """Counts of the kinds of ends of one variant, each with the first evidence of its kind that was kept."""

    variant: Variant
    counts: dict[EndKind, int] = {}
    kept: dict[EndKind, Evidence] = {}
    fates: dict[EndKind, Fate] = {}

    def add(self, trial: Trial) -> None:
        """Count a trial."""
        self.counts[trial.kind] = self.counts.get(trial.kind, 0) + 1
        self.fates[trial.kind] = trial.fate if trial.failed else Fate.SUCCEEDED
        if trial.evidence:
            self.kept.setdefault(trial.kind, trial.evidence)

    def deltas(self) -> Iterator[Delta]:
        """Judge each kind under each dialect, the most frequent first."""
        for kind, times in sorted(self.counts.items(), key=lambda item: -item[1]):
            codes = dict.fromkeys(BUILT_IN, kind.code) | dict(kind.elsewhere)
            fates = self._fates(kind)
            answers = {name: _answer(code, fates.get(name)) for name, code in codes.items()}
            own = _answer(kind.code, self.fates[kind])
            seen = f"{kind.ended}, {kind.cause}"
            yield Delta(self.variant.name, seen, times, self.variant.dialect, own, answers)

    def _fates(self, kind: EndKind) -> dict[str, Fate]:
        """Ask the dialects about the evidence; without any, only an end that none finds an error in is known."""
        if kind in self.kept:
            life, policy = Life(self.kept[kind]), self.variant.judged_under
            return {name: fate_of(life, dialect, policy) for name, dialect in BUILT_IN.items()}
        return {}


def _answer(code: str | None, fate: Fate | None) -> str:
    if code is None and fate in (None, Fate.SUCCEEDED):
        return FATES[Fate.SUCCEEDED]
    return ", ".join(filter(None, (code or "no code", FATES[fate] if fate else "")))
