"""An engine's check in a pytest session: lived once, whichever worker comes first, and read by all."""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from harness.conformance import check, enginefile, suite
from harness.conformance.check import Asked, Check
from harness.conformance.properties import ORDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Answer(msgspec.Struct, frozen=True):
    """What an item comes to: skipped, failed, or neither, with the words."""

    skip: str = ""
    failure: str = ""


def answer(path: Path, name: str, asked: Sequence[str], config: Any) -> Answer:
    """Judge one property of the engine in `path`; `asked` are all those that this session wants to know."""
    with _shared(config, path) as place:
        if place.exists():
            told = msgspec.json.decode(place.read_bytes(), type=Check)
        else:
            told = _check(path, tuple(asked))
            place.write_bytes(msgspec.json.encode(told))
    return _read(told, name)


def _check(path: Path, asked: tuple[str, ...]) -> Check:
    file = enginefile.load(path)
    if missing := file.missing():
        return check.skipped(file.name, missing)
    wanted = () if len(asked) == len(ORDER) else asked
    engine = msgspec.structs.replace(file.engine(), asked=Asked(properties=wanted))
    known = file.expected(dt.datetime.now(tz=dt.UTC).date())
    return suite.check_all([engine], known=known)[engine.name]


def _read(told: Check, name: str) -> Answer:
    one = told.properties[name]
    if name in told.stale:
        return Answer(failure=f"{name} is known to fail ({one.known}), and passes: delete it from the engine's file")
    if one.verdict == "SKIP" or (one.verdict == "FAIL" and one.known):
        return Answer(skip=f"known: {one.known}: {one.reason}" if one.known else one.reason)
    if one.verdict == "PASS":
        return Answer()
    shown = [cell for cell in told.settled if cell.name in one.cells and cell.verdict != "PASS"]
    again = "".join(f"\n  crash-harness engines check --cell {cell.name} {told.engine}" for cell in shown[:1])
    return Answer(failure=f"{one.verdict} {name}: {one.reason}{again}")


@contextmanager
def _shared(config: Any, path: Path) -> Iterator[Path]:
    """A file that all workers of this session share, locked; it lies where pytest keeps the session's files."""
    base = config._tmp_path_factory.getbasetemp()  # noqa: SLF001 -- an item has no fixtures, and pytest no other door
    if hasattr(config, "workerinput"):
        base = base.parent
    digest = hashlib.blake2b(str(path).encode(), digest_size=8).hexdigest()
    with (base / f"engine-{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield base / f"engine-{digest}.json"
