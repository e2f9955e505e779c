"""How a sweep is kept in a history: each refusal as it comes, so that another process can go on where one was ended."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from harness.journal import History, Job, Kind, job_of
from harness.machine import environment
from harness.refusals.conduct import Tell
from harness.refusals.findings import find, tally
from harness.refusals.outcome import INFRA, UNKNOWN, Report
from harness.refusals.refusal import Refusal  # noqa: TC001 -- msgspec reads the annotations of records
from harness.refusals.server import Call  # noqa: TC001 -- msgspec reads the annotations of records
from harness.refusals.stacks import file_name
from harness.refusals.subject import Subject
from harness.refusals.targets import Plan, Target  # noqa: TC001 -- msgspec reads the annotations of records
from harness.refusals.verdicts import UNPROVED

if TYPE_CHECKING:
    from pathlib import Path

    from harness.journal import Reading
    from harness.refusals.preparation import Ready

KIND: Final = "sweep"


class Asked(msgspec.Struct, frozen=True):
    """What the job of a sweep's history has. `again` are the words that a replay needs."""

    words: tuple[str, ...]
    call: Call | None
    plan: Plan
    again: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """The function or the command, as it was said."""
        return self.again[self.again.index("--") + 1 :] if self.call is None else self.again[-1:]

    def subject(self) -> Subject:
        """What is swept."""
        return Subject(self.words, self.call)


class Kept(msgspec.Struct, frozen=True):
    """Body of a `trials` event: one refusal, and which recording it belongs to."""

    recording: str
    refusal: Refusal


def job(asked: Asked) -> Job:
    """Return the job of a sweep's history: all that bears on the outcome."""
    same = msgspec.structs.replace(asked.plan, jobs=1, time_s=None)
    return job_of(KIND, (asked.subject().name,), words=asked.words, call=asked.call, plan=same, again=asked.again)


def begin(path: Path, asked: Asked) -> History:
    """Begin a new history. Raises InvalidInputError where the file is there already."""
    return History.begin(path, job(asked), environment())


def go_on(path: Path) -> tuple[History, Asked]:
    """Open a history to go on with. Raises InvalidInputError where it is no history of a sweep."""
    history = History.go_on(path, environment())
    try:
        return history, history.asked(KIND, Asked)
    except BaseException:
        history.close()
        raise


class Keeper(Tell):
    """Keeps each refusal before anybody is told, and knows what earlier sessions saw of the very same recording."""

    def __init__(self, history: History, title: str, tell: Tell) -> None:
        self._history, self._title, self._tell = history, title, tell
        self._recording, self._number = "", 0
        self._earlier: dict[Target, list[Refusal]] = {}

    def begins(self, ready: Ready) -> None:
        """Take up what earlier sessions saw of this very recording."""
        self._recording = identity(ready)
        for event, kept in self._history.bodies(Kind.TRIALS, Kept):
            self._number = event.number
            if kept.recording == self._recording:
                self._earlier.setdefault(kept.refusal.target, []).append(kept.refusal)
        self._tell.begins(ready)

    def before(self, target: Target) -> list[Refusal] | None:
        """What was seen of a target, if that was all: one that was missed is tried again."""
        found = self._earlier.get(target)
        return found if found and found[-1].verdict not in UNPROVED else None

    def refused(self, refusal: Refusal, done: int, total: int) -> None:
        """Keep one."""
        self._number += 1
        self._history.write(Kind.TRIALS, self._title, self._number, Kept(self._recording, refusal))
        self._tell.refused(refusal, done, total)


def identity(ready: Ready) -> str:
    """Identify a recording by its calls and where they came from."""
    state = hashlib.blake2b(digest_size=16)
    for operation, stack in ready.recording.sequence():
        frames = ",".join(f"{file_name(path)}+{offset:x}" for path, offset in stack)
        state.update(f"{operation} {frames}\n".encode())
    return state.hexdigest()


def decide(history: History, report: Report) -> None:
    """Write the answer; the refusals are there already."""
    kind = Kind.INFRA if report.verdict == INFRA else Kind.DECIDED
    history.write(kind, report.subject, body=msgspec.structs.replace(report, refusals=()))


def answer(reading: Reading) -> Report | None:
    """What was decided, if that was done. What the harness could not do is tried again."""
    return next((found for _, found in reading.bodies(Kind.DECIDED, Report)), None)


def reports(reading: Reading) -> list[Report]:
    """The sweep that a history holds: its answer, or as far as it came."""
    failed = [report for _, report in reading.bodies(Kind.INFRA, Report)]
    if decided := answer(reading) or (failed and failed[-1]):
        return [decided]
    refusals = [kept.refusal for _, kept in reading.bodies(Kind.TRIALS, Kept)]
    return [_so_far(reading.job.titles[0], refusals)] if refusals and reading.job else []


def _so_far(subject: str, refusals: list[Refusal]) -> Report:
    sites = len({one.target.site for one in refusals})
    found = tuple(find(refusals))
    return Report(subject, UNKNOWN, tally(refusals), sites, len(refusals), found, reasons=("it is not finished",))
