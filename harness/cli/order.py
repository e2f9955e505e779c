"""What was asked to be run: the selection, and how a history keeps it so that --resume can go on."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.dialects import DEFAULT, parted, spelled
from harness.exceptions import InvalidInputError
from harness.journal import History
from harness.machine import surroundings
from harness.scenarios.select import select

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_HISTORY = "there is no such history"
OLD_HISTORY = "there is a file already; --resume goes on with it"


class Order(msgspec.Struct, frozen=True):
    """What was asked for, as the header of a history keeps it."""

    scenarios: tuple[str, ...]
    case: str | None
    dialect: str
    seed: int | None


@contextmanager
def open_history(new: Path | None, old: Path | None, order: Order) -> Iterator[tuple[History | None, Order]]:
    """Begin a journal, or take up one with what was asked for then; neither is fine too."""
    if new is None and old is None:
        yield None, order
        return
    if new and old:
        raise InvalidInputError("--history, --resume: expected one of them")
    path = new or old or Path()
    if path.exists() != (new is None):
        raise InvalidInputError(f"{path}: {NO_HISTORY if new is None else OLD_HISTORY}")
    with History(path) as book:
        if new:
            book.write("header", body={"order": order, "digest": digest(order), "surroundings": surroundings()})
        yield book, order if new else _resumed(book, order)


def _resumed(book: History, now: Order) -> Order:
    header = book.header()
    if "order" not in header:
        raise InvalidInputError(f"{book.path}: no history of a run")
    then = msgspec.convert(header["order"], Order)
    changed = now.dialect not in (DEFAULT, then.dialect, spelled(parted(then.dialect)[0], DEFAULT))
    if now.scenarios or now.case or now.seed is not None or changed:
        raise InvalidInputError("--resume: scenarios, case, seed and dialect are those of the history")
    if header.get("digest") != digest(then):
        raise InvalidInputError(f"{book.path}: the scenarios have changed since it was begun")
    return then


def digest(order: Order) -> str:
    """Identify the scenarios as they are now."""
    read = [msgspec.structs.replace(one, path="") for one in select(order.scenarios, order.case)]
    return hashlib.blake2b(msgspec.json.encode(read), digest_size=16).hexdigest()
