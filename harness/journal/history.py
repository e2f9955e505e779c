"""The writing side of a history: each event is committed before what it tells of happens, and by one process alone.

A commit survives SIGKILL (synchronous NORMAL: a power cut may lose the last ones). JSON lines would not do: appends
tear under SIGKILL, and on a full disk the next record glues to a short one.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from harness.exceptions import HarnessError, InfraError, InvalidInputError
from harness.journal.ballast import Ballast
from harness.journal.events import Closing, Job, Kind, as_text, encoded, spelt
from harness.journal.file import MEMBERS, SCHEMA, check_path, checksum, connect, has_events, trouble, wal
from harness.journal.lock import Lock
from harness.journal.reading import NO_HISTORY, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from harness.evidence import EndedBy

BALLAST_BYTES: Final = 256 * 1024  # given back on the first full disk, so that what is under way can be journalled
LAST_BYTES: Final = 64 * 1024  # given back at the end, so that it can be said how it ended
PATIENCE_S: Final = 10.0
PAUSE_S: Final = 0.01
OLD_HISTORY: Final = "there is a file already; --resume goes on with it"


class Draft(NamedTuple):
    """An event to be written."""

    kind: Kind
    title: str = ""
    number: int = 0
    body: object = None


class History(Reading):
    """A history open for writing, by this process alone, until it is closed. Safe to use from many threads.

    Every method that writes returns after the commit. The first write of a session comes after an `opened` event with
    the environment; a session that wrote ends with a `closed` event, which says how.

    Raises InvalidInputError for a file that is no history or is in use, and InfraError when a write fails: a record
    that is not there must never look like one that is.
    """

    def __init__(self, path: Path, environment: dict[str, str] | None = None) -> None:
        self._lock, self._environment = threading.Lock(), environment or {}
        self._is_open, self._ballasts = False, list[Ballast]()
        self._closing = Closing("ended")
        with ExitStack() as undo:
            super().__init__(path, undo.enter_context(closing(_opened(path))))
            self._right = self._locked(undo)
            last = self._one("1")
            self._session = last.session + 1 if last else 1
            self._before = self.environment()
            undo.pop_all()

    def _locked(self, undo: ExitStack) -> Lock:
        """Take the right to write. Raises InvalidInputError where another process has it."""
        try:
            right = Lock(wal(self.path))
            undo.callback(right.close)
            is_ours = right.take()
        except OSError as error:
            raise InfraError(f"{self.path}: it can't be locked: {error.strerror}") from error
        if not is_ours:
            raise InvalidInputError(f"{self.path}: {self._holder()} is writing it: start again when it has ended")
        return right

    def _holder(self) -> str:
        event = self._one("kind = 'opened'")
        if event is None:
            return "another process"
        opened = self.decode(event, dict[str, Any])
        return f"process {opened.get('process')}, since {spelt(event.at_ms)},"

    # --- whose it is ---

    @classmethod
    def begin(cls, path: Path, job: Job, environment: dict[str, str]) -> Self:
        """Begin a new history. Raises InvalidInputError where the file is there already, and not empty."""
        if path.exists() and (not path.is_file() or path.stat().st_size):
            raise InvalidInputError(f"{path}: {OLD_HISTORY}")
        return cls.take_up(path, job, environment)

    @classmethod
    def take_up(cls, path: Path, job: Job, environment: dict[str, str]) -> Self:
        """Begin a new history, or go on with one of the same job. Raises InvalidInputError for one of another job."""
        history = cls(path, environment)
        with ExitStack() as undo:
            undo.callback(history.close)
            then = history.job
            if then is None:
                history.write(Kind.JOB, body=job)
            elif changes := then.changes(job):
                raise InvalidInputError(f"{path}: it is another job's history: {'; '.join(changes)}")
            undo.pop_all()
        return history

    @classmethod
    def go_on(cls, path: Path, environment: dict[str, str]) -> Self:
        """Go on with a history, for the job that it was begun with. Raises InvalidInputError where there is none."""
        if not path.exists():
            raise InvalidInputError(f"{path}: {NO_HISTORY}")
        return cls(path, environment)

    @property
    def wrote(self) -> bool:
        """Whether anything was written in this session."""
        return self._is_open

    def moved(self) -> list[str]:
        """Facts of the place that are others than in the session before, in words."""
        return [
            f"{name}: {self._before.get(name, 'unknown')} then, {value} now"
            for name, value in self._environment.items()
            if self._before and self._before.get(name) != value
        ]

    # --- writing ---

    def write(self, kind: Kind, title: str = "", number: int = 0, body: object = None) -> None:
        """Append one event and commit."""
        self.write_all([Draft(kind, title, number, body)])

    def write_all(self, rows: Sequence[Draft]) -> None:
        """Append events in one commit: all of them, or none."""
        with self._lock:
            try:
                self._with_ballast(lambda: self._insert(self._introduced(rows)))
            except sqlite3.Error as error:
                reason = f"{self.path}: {rows[0].kind} can't be journalled: {error}"
                self._closing = Closing("failed", reason)
                raise InfraError(reason) from error
            self._is_open = True

    def _introduced(self, rows: Sequence[Draft]) -> list[Draft]:
        """The first write of a session says first who writes, and where."""
        if self._is_open:
            return list(rows)
        opened = Draft(Kind.OPENED, body={"process": os.getpid(), "environment": self._environment})
        job, others = (rows[:1], rows[1:]) if rows[0].kind is Kind.JOB else (rows[:0], rows)
        return [*job, opened, *others]

    def _insert(self, rows: list[Draft]) -> None:
        at_ms = time.time_ns() // 1_000_000
        made = []
        for row in rows:
            members = (self._session, at_ms, row.kind.value, as_text(row.title), row.number, encoded(row.body))
            made.append((*members, checksum(*members)))
        statement = f"INSERT INTO events ({MEMBERS}, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 -- no input in it
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(statement, made)

    def _with_ballast(self, write: Callable[[], object]) -> None:
        """Keep room on the disk from the first write on, and give it back when a write finds none."""
        if not self._ballasts:
            self._ballasts = [Ballast(self.path.parent, size) for size in (BALLAST_BYTES, LAST_BYTES)]
        try:
            write()
        except sqlite3.OperationalError:
            if not self._ballasts[0].release():
                raise
            write()

    def interrupted(self) -> None:
        """Note that Ctrl-C, SIGTERM or a cancel ends this session: what is under way does not count."""
        if self._closing.how == "ended":
            self._closing = Closing("interrupted")

    def attempt(self, title: str, number: int) -> AttemptJournal:
        """Return the journal of one attempt, for supervise()."""
        return AttemptJournal(self, title, number)

    # --- the end ---

    def close(self) -> None:
        """Say how the session ended, if anything was written in it, and close the file."""
        with _undisturbed():
            if self._is_open:
                self._ballasts[1].release()
                with suppress(InfraError):  # a later reader finds that it ended without a word
                    self.write(Kind.CLOSED, body=self._closing)
            for ballast in self._ballasts:
                ballast.close()
            self._connection.close()
            self._right.close()

    def __exit__(self, *raised: object) -> None:
        """Close the file, and note what ended the session."""
        error = raised[1]
        if isinstance(error, KeyboardInterrupt):
            self.interrupted()
        elif error is not None and self._closing.how == "ended":
            named = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            self._closing = Closing("failed", named)
        self.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back: the second comes soon after the first, and must not cost the record of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _opened(path: Path) -> sqlite3.Connection:
    """Open or make the file, with its tables, in WAL mode."""
    check_path(path)
    try:
        with ExitStack() as undo:
            connection = undo.enter_context(closing(connect(path, "rwc")))
            _prepare(path, connection)
            undo.pop_all()
    except sqlite3.Error as error:
        raise trouble(path, error) from error
    return connection


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    """Make the tables where there are none. Another process that does the same is waited for."""
    has_events(path, connection)  # before anything is changed in a file that may be another program's
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:  # nobody is let wait for the change of mode
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(PAUSE_S)
    connection.execute("PRAGMA synchronous = NORMAL")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if not has_events(path, connection):
            for statement in filter(str.strip, SCHEMA.split(";")):
                connection.execute(statement)


class AttemptJournal:
    """What supervise() tells of one attempt."""

    def __init__(self, history: History, title: str, number: int) -> None:
        self._history, self._title, self._number = history, title, number

    def started(self) -> None:
        """Journal that the attempt is about to start."""
        self._history.write(Kind.STARTED, self._title, self._number)

    def kill_intent(self, ended_by: EndedBy, signal: str) -> None:
        """Journal that a signal is about to be sent."""
        self._history.write(Kind.KILL_INTENT, self._title, self._number, {"ended_by": ended_by, "signal": signal})
