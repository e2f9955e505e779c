"""What was asked to be run: which cases, judged how. A history keeps it, so that another process can go on."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from harness.exceptions import InvalidInputError
from harness.journal import History, Job, as_text, job_of
from harness.machine import environment
from harness.scenarios.campaign import title_of
from harness.scenarios.select import select

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.journal import Reading
    from harness.scenarios.schema import Scenario

KIND: Final = "run"


class Order(msgspec.Struct, frozen=True):
    """What was asked for: scenarios by file, folder or name, a dialect's name, a seed.

    Of these, the cases called `case`, and whose title holds `pattern`.
    """

    scenarios: tuple[str, ...]
    case: str | None
    dialect: str
    seed: int | None
    pattern: str = ""

    def select(self) -> list[Scenario]:
        """Read the scenarios as they are now."""
        return select(self.scenarios, self.case, self.pattern)


class KeptOrder(msgspec.Struct, frozen=True):
    """What the job of a history of runs has: the order, and a digest of the scenarios as they were."""

    order: Order
    digest: str


def run_job(order: Order) -> Job:
    """Return the job of a new history. Raises InvalidInputError for a path that could not be found again from it."""
    if odd := [one for one in order.scenarios if as_text(one) != one]:
        raise InvalidInputError(f"--history: a path is kept as text, and this one is not: {as_text(odd[0])}")
    scenarios = order.select()
    titles = tuple(title_of(one, case) for one in scenarios for case in one.case)
    return job_of(KIND, titles, order=order, digest=digest(scenarios))


def digest(scenarios: list[Scenario]) -> str:
    """Identify the scenarios by what they say, wherever they lie."""
    read = [msgspec.structs.replace(one, path="") for one in scenarios]
    return hashlib.blake2b(msgspec.json.encode(read), digest_size=16).hexdigest()


@contextmanager
def open_history(new: Path | None, old: Path | None, order: Order) -> Iterator[tuple[History | None, Order]]:
    """Open the history of --history (a new file) or --resume (an existing file, whose stored order replaces ours).

    Without either, yield no history. Raises InvalidInputError where the files do not fit, or where the scenarios have
    changed since the history was begun.
    """
    if new and old:
        raise InvalidInputError("--history, --resume: expected one of them")
    if new:
        with History.begin(new, run_job(order), environment()) as history:
            yield history, order
    elif old:
        with History.go_on(old, environment()) as history:
            yield history, _order_of(history)
    else:
        yield None, order


def _order_of(reading: Reading) -> Order:
    asked = reading.asked(KIND, KeptOrder)
    if asked.digest != digest(asked.order.select()):
        raise InvalidInputError(f"{reading.path}: the scenarios have changed since it was begun")
    return asked.order
