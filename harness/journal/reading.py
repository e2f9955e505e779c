"""Reads a history: one that is being written, one in a folder that can't be written, one that a kill cut off.

Nothing is trusted: each event carries a checksum and ids have no gap, so that a damaged file is told as such.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar

import msgspec

from harness.exceptions import InvalidInputError
from harness.journal.events import Closing, Event, Job, Kind, spelt
from harness.journal.file import MEMBERS, SCHEMA, check_path, checksum, connect, has_events, trouble, wal
from harness.journal.lock import is_held

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
COUNT: Final = f"""
SELECT count(*) FILTER (WHERE kind IN ({", ".join("?" * len(Kind))})), coalesce(max(id), 0), coalesce(sum(id), 0)
FROM events NOT INDEXED
"""  # noqa: S608 -- no input in it
# An index that is damaged would hide events.
SELECT: Final = f"SELECT id, {MEMBERS}, checksum FROM events NOT INDEXED"  # noqa: S608 -- no input in it
NO_HISTORY: Final = "there is no such history"


class Standing(msgspec.Struct, frozen=True):
    """How a history stands: how its last session was left, when, and why.

    `empty`: nothing was begun. `running`: a process writes it now. `killed`: its process ended without a word.
    """

    how: Literal["empty", "running", "killed", "ended", "interrupted", "failed"]
    at_ms: int = 0
    reason: str = ""


class Reading:
    """A history open for reading. Raises InvalidInputError for another kind of file, and for a damaged one."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self._connection = path, connection
        self._count()

    def _count(self) -> None:
        """Raise InvalidInputError where an event is missing or there twice: a damaged page may look like another."""
        with self._damage():
            count, last, total = self._connection.execute(COUNT, list(Kind)).fetchone()
            if count != last or total != last * (last + 1) // 2:
                raise InvalidInputError(f"{self.path}: damaged: of {last} events {count} are there")

    def events(self, kind: Kind | None = None) -> Iterator[Event]:
        """All events in order, or those of one kind."""
        where, values = ("WHERE kind = ?", (kind,)) if kind else ("", ())
        with self._damage():
            for row in self._connection.execute(f"{SELECT} {where} ORDER BY id", values):
                yield self._event(row)

    def decode(self, event: Event, kind: type[T]) -> T:
        """Decode the body of an event."""
        try:
            return msgspec.json.decode(event.body, type=kind)
        except (msgspec.MsgspecError, ValueError) as error:
            told = f"{self.path}: event {event.id}, {event.kind}, can't be read: {error}"
            raise InvalidInputError(told) from error

    def bodies(self, kind: Kind, record: type[T]) -> Iterator[tuple[Event, T]]:
        """The events of a kind, each with its body as a record."""
        for event in self.events(kind):
            yield event, self.decode(event, record)

    def find(self, kind: Kind, title: str, number: int) -> Event | None:
        """The last event of this kind, about this."""
        return self._one("kind = ? AND title = ? AND number = ?", kind, title, number)

    def _one(self, where: str, *values: object) -> Event | None:
        """The last event that meets a condition."""
        with self._damage():
            row = self._connection.execute(f"{SELECT} WHERE {where} ORDER BY id DESC LIMIT 1", values).fetchone()
            return self._event(row) if row else None

    def _event(self, row: tuple[Any, ...]) -> Event:
        identity, *members, found = row
        if found != checksum(*members):
            raise InvalidInputError(f"{self.path}: damaged: event {identity} is not what was written")
        session, at_ms, kind, title, number, body = members
        return Event(identity, session, at_ms, Kind(kind), title, number, msgspec.Raw(body.encode()))

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise trouble(self.path, error) from error
        except (TypeError, ValueError, AttributeError) as error:  # a column of another type, an unknown kind
            raise InvalidInputError(f"{self.path}: damaged: {error}") from error

    @property
    def job(self) -> Job | None:
        """What the history is of; None in an empty one."""
        event = self._one("kind = 'job'")
        return self.decode(event, Job) if event else None

    def asked(self, kind: str, record: type[T]) -> T:
        """What its job was asked for. Raises InvalidInputError where it is of another kind of command, or empty."""
        job = self.job
        if job is None:
            raise InvalidInputError(f"{self.path}: it is empty: nothing was begun in it")
        if job.kind != kind:
            raise InvalidInputError(f"{self.path}: it is a history of `{job.kind}`, not of `{kind}`")
        try:
            return msgspec.convert(job.asked, record)
        except msgspec.ValidationError as error:
            raise InvalidInputError(f"{self.path}: what was asked for can't be read: {error}") from error

    def environment(self) -> dict[str, str]:
        """Facts of the place where its last session ran."""
        event = self._one("kind = 'opened'")
        opened = self.decode(event, dict[str, Any]) if event else {}
        return {str(key): str(value) for key, value in dict(opened.get("environment", {})).items()}

    def standing(self) -> Standing:
        """Say how it stands now."""
        last = self._one("1")
        if last is None:
            return Standing("empty")
        if is_held(wal(self.path)):
            return Standing("running", last.at_ms)
        if last.kind is not Kind.CLOSED:
            return Standing("killed", last.at_ms)
        closing = self.decode(last, Closing)
        return Standing(closing.how, last.at_ms, closing.reason)

    def undecided(self) -> list[str]:
        """Titles of its job that who goes on has to decide."""
        return self._without(Kind.DECIDED)

    def unanswered(self) -> list[str]:
        """Titles of its job of which nothing is known, not even why the harness could not decide."""
        return self._without(Kind.DECIDED, Kind.INFRA)

    def _without(self, *kinds: Kind) -> list[str]:
        job, answered = self.job, {event.title for kind in kinds for event in self.events(kind)}
        return [title for title in job.titles if title not in answered] if job else []

    def was_interrupted(self) -> bool:
        """Whether the last session that is over was ended by Ctrl-C, SIGTERM or a cancel."""
        last = self._one("kind = 'opened' OR kind = 'closed'")
        return last is not None and last.kind is Kind.CLOSED and self.decode(last, Closing).how == "interrupted"

    def ended_at(self) -> str | None:
        """When its last title was decided, in words; None as long as one is open."""
        last = self._one("kind = 'decided'")
        return spelt(last.at_ms) if last and not self.undecided() else None

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def read(path: Path) -> Iterator[Reading]:
    """Open a history for reading, and leave nothing behind. Raises InvalidInputError where there is none."""
    check_path(path)
    if not path.exists():
        raise InvalidInputError(f"{path}: {NO_HISTORY}")
    with ExitStack() as stack:
        connection = _in_place(path)
        if connection is None:
            connection = connect(_copy(path, Path(stack.enter_context(tempfile.TemporaryDirectory()))), "rw")
        stack.callback(connection.close)
        try:
            found = has_events(path, connection)
        except sqlite3.Error as error:
            raise trouble(path, error) from error
        connection.execute("BEGIN")  # all that is read is of one moment, while another process may write
        yield Reading(path, connection if found else _nothing(stack))


def _in_place(path: Path) -> sqlite3.Connection | None:
    """Open the file where it lies; None where SQLite can't, as in a folder in which it can't have its index."""
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    try:
        connection = connect(path, "rw" if writable else "ro")
    except sqlite3.Error:
        return None
    try:
        connection.execute("PRAGMA query_only = 1")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        return None
    except sqlite3.Error as error:
        connection.close()
        raise trouble(path, error) from error
    return connection


def _copy(path: Path, folder: Path) -> Path:
    """Copy a history and its log. Nobody writes them: a writer would have left its index in the folder."""
    try:
        for source, name in ((os.path.realpath(path), "history"), (wal(path), "history-wal")):
            if os.path.exists(source):  # noqa: PTH110 -- it is a string
                shutil.copyfile(source, folder / name)
    except OSError as error:
        raise InvalidInputError(f"{path}: {error.strerror}") from error
    return folder / "history"


def _nothing(stack: ExitStack) -> sqlite3.Connection:
    """An empty history, for a file that was made and never written."""
    connection = stack.enter_context(closing(sqlite3.connect(":memory:", isolation_level=None)))
    connection.executescript(SCHEMA)
    return connection
