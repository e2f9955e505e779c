"""What an engine tells of a failure, without what differs from run to run: only the rest tells one end from another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.conformance.protocol import Claim
    from harness.conformance.view import View

NOISE: Final = re.compile(
    r"/\S+|0x[0-9a-fA-F]+|\bj[0-9a-f]{8}\b|\b[0-9a-fA-F]{8}[0-9a-fA-F-]*\b|\d+:\d\d[:\d.,]*|\d+\.\d+|\d{4,}"
)
NUMBER: Final = re.compile(r"\d+")
OWN: Final = {
    "segv": frozenset({11, 139}),
    "abrt": frozenset({6, 134}),
    "kill": frozenset({9, 137}),
    "oom": frozenset({9, 137}),
    "term": frozenset({15, 143}),
    "exit139": frozenset({139}),
    "exit0": frozenset({0}),
}
"""The numbers that tell how an attempt ended: its signal, its status, and the status that a shell makes of a signal."""


def read(view: View, text: str, number: int) -> str:
    """What a cause of attempt `number` says.

    Paths, addresses, ids and times say nothing, nor does a number that is not the attempt's own: it may be a pid, a
    worker's or a counter.
    """
    own = OWN.get(view.cell.kind(number), frozenset())
    text = NUMBER.sub(lambda found: found[0] if int(found[0]) in own else "#", NOISE.sub("", text))
    return " ".join(text.split())


def failed(views: Mapping[str, View], name: str) -> tuple[View, Claim] | None:
    """The cell of that name and the last claim on its X, if that failed."""
    view = views.get(name)
    last = view.record.last("X") if view else None
    return (view, last) if view and last and last.state == "failed" else None


def last_of(views: Mapping[str, View], name: str) -> str | None:
    """What the last cause of X in a cell says; None where X did not fail, or the cell was not lived."""
    found = failed(views, name)
    return read(found[0], found[1].cause, max(1, len(found[0].starts("X")))) if found else None
