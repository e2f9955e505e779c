"""A run that outlives its process: each step is committed to a history before anything follows from it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self, TypedDict

import msgspec

from harness.engine.lifecycle import Event, Execution, State
from harness.engine.loop import Attempt, Saved
from harness.evidence import EndedBy
from harness.journal import Draft, History, Kind
from harness.wire.codes import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.journal import AttemptJournal, Job, Reading


EXEC: Final = "exec"
PYTHON: Final = "harness.run"
PYTEST: Final = "pytest"
"""Of a history without titles of its own: each test that crashed is a run in it."""


class KeptStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of a `step` event: the state after it, and what was emitted."""

    state: State
    events: tuple[Event, ...] = ()


class Options(TypedDict):
    """Keyword arguments of Engine.run()."""

    save: Callable[[Saved], object]
    saved: list[Saved]
    interrupted: bool


class Durable:
    """One run kept in a history, under its title there."""

    def __init__(self, history: History, title: str) -> None:
        self.history, self._title = history, title
        self.saved = list(steps(history, title))
        self._was_interrupted = history.was_interrupted()

    @classmethod
    @contextmanager
    def open(cls, path: Path, job: Job, environment: dict[str, str]) -> Iterator[Self]:
        """Begin a history of one run, or go on with it. Raises InvalidInputError where it is another job's."""
        with History.take_up(path, job, environment) as history:
            yield cls(history, job.titles[0])

    @property
    def is_final(self) -> bool:
        """Whether the run had ended when it was taken up, so that nothing is run."""
        return bool(self.saved) and self.saved[-1].state.is_final

    @property
    def lost(self) -> int | None:
        """Number of the attempt that was under way when the last process was killed; None after an interruption."""
        state = self.saved[-1].state if self.saved else State()
        return state.attempt if state.execution is Execution.EXECUTING and not self._was_interrupted else None

    @property
    def decisions(self) -> int:
        """Failures that have been decided on so far."""
        state = self.saved[-1].state if self.saved else State()
        return (state.attempt or 0) - (state.execution is Execution.EXECUTING)

    def save(self, saved: Saved) -> None:
        """Commit a step, with the attempt that ended by it; and the answer, where it is the last.

        An attempt that was cancelled with its supervisor is not kept: it is no failure of the job, and the run goes on
        when it is taken up again.
        """
        attempt, state = saved.attempt, saved.state
        if attempt and state.status == Status.CANCELED and attempt.evidence.ended_by is EndedBy.CANCEL:
            self.history.interrupted()
            return
        rows = [Draft(Kind.FINISHED, self._title, attempt.number, attempt)] if attempt else []
        rows.append(Draft(Kind.STEP, self._title, state.snapshot, KeptStep(state, saved.events)))
        if state.is_final:
            rows.append(Draft(Kind.DECIDED, self._title, body={"status": state.status}))
        self.history.write_all(rows)

    def options(self) -> Options:
        """Return the keyword arguments of Engine.run() that make it go on with what is kept."""
        return {"save": self.save, "saved": self.saved, "interrupted": self._was_interrupted}

    def attempt(self, number: int) -> AttemptJournal:
        """Return the journal of an attempt, for supervise()."""
        return self.history.attempt(self._title, number)


def steps(reading: Reading, title: str) -> Iterator[Saved]:
    """Read the steps of a run, as far as it came."""
    attempt: Attempt | None = None
    for event in reading.events():
        if event.title != title:
            continue
        if event.kind is Kind.FINISHED:
            attempt = reading.decode(event, Attempt)
        elif event.kind is Kind.STEP:
            step = reading.decode(event, KeptStep)
            yield Saved(step.state, step.events, attempt)
            attempt = None
