"""The file of a history: one SQLite database in WAL mode, told from others by its application id and version."""

from __future__ import annotations

import os
import sqlite3
import zlib
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from harness.exceptions import HarnessError, InfraError, InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION: Final = 0x43485354  # "CHST"
VERSION: Final = 4
SCHEMA: Final = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE events (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, title TEXT NOT NULL,
    number INTEGER NOT NULL, body TEXT NOT NULL, checksum INTEGER NOT NULL
);
CREATE UNIQUE INDEX once_a_history ON events (kind) WHERE kind = 'job';
CREATE UNIQUE INDEX once_a_session ON events (session, kind) WHERE kind IN ('opened', 'closed');
CREATE UNIQUE INDEX once_an_attempt ON events (session, title, number, kind) WHERE kind IN ('started', 'finished');
CREATE UNIQUE INDEX once_a_title ON events (title) WHERE kind = 'decided';
CREATE UNIQUE INDEX once_a_step ON events (title, number) WHERE kind = 'step';
CREATE UNIQUE INDEX once_a_group ON events (title, number) WHERE kind = 'trials';
"""
MEMBERS: Final = "session, at_ms, kind, title, number, body"
OF_THE_FILE: Final = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}


def checksum(*members: object) -> int:
    """Compute a checksum of all members of an event but its id."""
    return zlib.crc32("\0".join(map(str, members)).encode(errors="replace"))


def trouble(path: Path, error: sqlite3.Error) -> HarnessError:
    """Word what SQLite says: wrong input where the file is damaged or can't be opened, else the harness's failure."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        where = "" if path.parent.is_dir() else f"; there is no folder {path.parent}"
        return InvalidInputError(f"{path}: {error}{where}")
    if isinstance(error, sqlite3.DatabaseError) and (primary is None or primary in OF_THE_FILE):
        return InvalidInputError(f"{path}: no history, or a damaged one: {error}")
    return InfraError(f"{path}: {error}")


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open the file for reading ("ro"), for both ("rw"), or make it ("rwc"). Raises sqlite3.Error."""
    name = quote(os.fsencode(os.path.abspath(path)))  # noqa: PTH100 -- resolve() would follow links
    return sqlite3.connect(f"file:{name}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False)


def wal(path: Path) -> str:
    """Return the path of the write-ahead log; as SQLite does, it follows links first."""
    return f"{os.path.realpath(path)}-wal"


def check_path(path: Path) -> None:
    """Raise InvalidInputError for what can't be a history, as a device is: SQLite would wait for it."""
    if path.exists() and not path.is_file():
        raise InvalidInputError(f"{path}: no history: it is not a file")


def has_events(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether the tables are there. Raises InvalidInputError for another program's database, or another version."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables:
        return False
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise InvalidInputError(f"{path}: no history: another program's database")
    if version != VERSION:
        raise InvalidInputError(f"{path}: a history of version {version}, expected {VERSION}")
    return True
