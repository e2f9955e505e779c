"""The append-only record of runs: one SQLite file in WAL mode, written before things happen.

`started` is committed before a victim is spawned, `kill_intent` before each signal is sent, `finished` once an
attempt and `decided` once a case. A commit survives SIGKILL (synchronous NORMAL: a power cut may lose the last ones).
JSON lines would not do: appends tear under SIGKILL, and on a full disk the next record glues to a short one.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from contextlib import ExitStack, suppress
from itertools import groupby
from typing import TYPE_CHECKING, Final, Self

import msgspec

from harness.engine.loop import Saved
from harness.exceptions import InfraError, InvalidInputError
from harness.experiments.tally import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from harness.evidence import EndedBy

APPLICATION: Final = 0x43485354  # "CHST"
VERSION: Final = 3
BALLAST_BYTES: Final = 256 * 1024  # given back on the first full disk, so that the end can still be journalled
SCHEMA: Final = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE events (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL, title TEXT NOT NULL, attempt INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE TABLE trials (
    id INTEGER PRIMARY KEY, variant TEXT NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL, UNIQUE (variant, number)
);
CREATE UNIQUE INDEX once_an_attempt ON events (session, title, attempt, kind) WHERE kind IN ('started', 'finished');
CREATE UNIQUE INDEX once_a_case ON events (title, kind) WHERE kind IN ('decided', 'header');
CREATE UNIQUE INDEX once_a_step ON events (title, attempt) WHERE kind = 'step';
"""


class Event(msgspec.Struct, frozen=True):
    """One line of the journal. `attempt` is 0 where it concerns the whole case, `title` empty for the header."""

    session: int
    at_ms: int
    kind: str
    title: str
    attempt: int
    body: object


class History:
    """An open journal. Safe to use from many threads; every method that writes returns after the commit.

    Raises InvalidInputError for a file that is no history, InfraError when a write fails: a record that is not there
    must never look like one that is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._ballast = path.with_name(f"{path.name}.ballast")
        self._writes = False
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise InvalidInputError(f"{path}: no history: {error}") from error
        with ExitStack() as undo:
            undo.callback(self._connection.close)
            self._open()
            undo.pop_all()

    def _open(self) -> None:
        """One at a time in a folder: SQLite lets nobody wait for the change to WAL."""
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            self._prepare()
        except sqlite3.Error as error:
            raise InvalidInputError(f"{self.path}: no history: {error}") from error
        finally:
            os.close(folder)

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            self._connection.executescript(f"BEGIN; {SCHEMA} COMMIT")
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION:
            raise InvalidInputError(f"{self.path}: no history: another program's database")
        if version != VERSION:
            raise InvalidInputError(f"{self.path}: a history of version {version}, expected {VERSION}")
        (last,) = self._connection.execute("SELECT coalesce(max(session), 0) FROM events").fetchone()
        self._session = last + 1

    def write(self, kind: str, title: str = "", attempt: int = 0, body: object = None) -> None:
        """Append one event and commit."""
        row = (self._session, time.time_ns() // 1_000_000, kind, title, attempt, msgspec.json.encode(body).decode())
        with self._lock:
            try:
                self._insert(row)
            except sqlite3.Error as error:
                raise InfraError(f"{self.path}: {kind} can't be journalled: {error}") from error

    def _insert(self, row: tuple[object, ...]) -> None:
        statement = "INSERT INTO events (session, at_ms, kind, title, attempt, body) VALUES (?, ?, ?, ?, ?, ?)"
        self._with_ballast(lambda: self._connection.execute(statement, row))

    def _with_ballast(self, write: Callable[[], object]) -> None:
        """The ballast is whoever's that writes: who only reads must not take it from them."""
        if not self._writes:
            self._writes = True
            with suppress(OSError):
                self._ballast.write_bytes(bytes(BALLAST_BYTES))
        try:
            write()
        except sqlite3.OperationalError:
            if not self._ballast.exists():
                raise
            self._ballast.unlink()
            write()

    def write_trials(self, trials: Sequence[Trial]) -> None:
        """Append a group of trials in one commit: all of it, or nothing. A trial that is there already is refused."""
        rows = [(trial.variant, trial.number, msgspec.json.encode(trial).decode()) for trial in trials]
        with self._lock:
            try:
                self._with_ballast(lambda: self._insert_trials(rows))
            except sqlite3.Error as error:
                raise InfraError(f"{self.path}: trials can't be journalled: {error}") from error

    def _insert_trials(self, rows: list[tuple[str, int, str]]) -> None:
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT INTO trials (variant, number, body) VALUES (?, ?, ?)", rows)

    def groups(self) -> Iterator[list[Trial]]:
        """All trials in the order in which they were journalled, a group at a time."""
        found = (
            msgspec.json.decode(body, type=Trial)
            for (body,) in self._connection.execute("SELECT body FROM trials ORDER BY id")
        )
        for _, group in groupby(found, key=lambda trial: (trial.variant, trial.group)):
            yield list(group)

    def trial(self, variant: str, number: int) -> Trial | None:
        """One trial, or None."""
        statement = "SELECT body FROM trials WHERE variant = ? AND number = ?"
        row = self._connection.execute(statement, (variant, number)).fetchone()
        return msgspec.json.decode(row[0], type=Trial) if row else None

    def events(self, kind: str | None = None) -> Iterator[Event]:
        """All events in order, or those of one kind."""
        where, values = ("WHERE kind = ?", (kind,)) if kind else ("", ())
        statement = f"SELECT session, at_ms, kind, title, attempt, body FROM events {where} ORDER BY id"  # noqa: S608 -- no input in it
        for session, at_ms, named, title, attempt, body in self._connection.execute(statement, values):
            yield Event(session, at_ms, named, title, attempt, msgspec.json.decode(body))

    def steps(self, title: str) -> list[Saved]:
        """The steps of one run, as far as it came, for Engine.run()."""
        return [msgspec.convert(event.body, Saved) for event in self.events("step") if event.title == title]

    def save(self, title: str, saved: Saved) -> None:
        """Keep a step: nothing of the run goes on before it is committed.

        Of two processes that go on with one run, the first to save a step has it; to the other it is InfraError.
        """
        try:
            self.write("step", title, saved.state.snapshot, saved)
        except InfraError as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError):
                raise InfraError(f"{self.path}: another process goes on with {title!r}") from error
            raise

    def elapsed_s(self) -> float:
        """Seconds for which its sessions wrote, the present one left out."""
        statement = "SELECT max(at_ms) - min(at_ms) FROM events WHERE session < ? GROUP BY session"
        return float(sum(spent for (spent,) in self._connection.execute(statement, (self._session,)))) / 1000

    def header(self) -> dict[str, object]:
        """Facts of the campaign; empty in a new file."""
        found = next(self.events("header"), None)
        return found.body if found and isinstance(found.body, dict) else {}

    def attempt(self, title: str, number: int) -> AttemptJournal:
        """Return the journal of one attempt, for supervise()."""
        return AttemptJournal(self, title, number)

    def close(self) -> None:
        """Close the file and remove the ballast, if it is ours."""
        self._connection.close()
        if self._writes:
            self._ballast.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AttemptJournal:
    """What supervise() tells of one attempt."""

    def __init__(self, history: History, title: str, number: int) -> None:
        self._history, self._title, self._number = history, title, number

    def started(self) -> None:
        """Before the spawn."""
        self._history.write("started", self._title, self._number)

    def kill_intent(self, ended_by: EndedBy, signal: str) -> None:
        """Before each signal."""
        self._history.write("kill_intent", self._title, self._number, {"ended_by": ended_by, "signal": signal})
