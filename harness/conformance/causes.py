"""What an engine tells of a failure, without what differs from run to run: only the rest tells one end from another."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.conformance.protocol import Claim
    from harness.conformance.view import View

NOISE: Final = re.compile(
    r"/\S+|0x[0-9a-fA-F]+|\bj[0-9a-f]{8}\b|\b[0-9a-fA-F]{8}[0-9a-fA-F-]*\b|\d+:\d\d[:\d.,]*|\d+\.\d+|\d{4,}"
)
NUMBER: Final = re.compile(r"\d+")
TELLING: Final = frozenset({*range(65), *range(128, 193)})
"""Signals, and statuses that a shell makes of them: they stay, also where a pid happens to be the same number."""


def stripped(view: View, text: str) -> str:
    """Take out of a cause what differs from run to run: paths, addresses, ids, times, fractions, long numbers, pids."""
    text = NOISE.sub("", text)
    pids = "|".join({str(line.pid) for line in view.record.lines if line.pid not in TELLING}) or "-"
    return " ".join(re.sub(rf"\b(?:{pids})\b", "", text).split())


def shape(text: str) -> str:
    """The text with a sign in the place of each number."""
    return NUMBER.sub("#", text)


class Causes:
    """The causes that were told in the cells of one check.

    A number that differs where the same fault was told twice in the same words is a counter, and says nothing.
    """

    def __init__(self, views: Mapping[str, View]) -> None:
        self.views = views
        self._counters: dict[str, set[int]] = defaultdict(set)
        alike = defaultdict(list)
        for name, view in views.items():
            if len(view.cell.faults) == 1 and (found := self.failed(name)):
                text = stripped(view, found[1].cause)
                alike[view.cell.faults, shape(text)].append(NUMBER.findall(text))
        for (_, words), numbers in alike.items():
            self._counters[words] |= set(_differing(numbers))

    def failed(self, name: str) -> tuple[View, Claim] | None:
        """The cell and the last claim on its X, if that failed."""
        view = self.views.get(name)
        last = view.record.last("X") if view else None
        return (view, last) if view and last and last.state == "failed" else None

    def read(self, view: View, text: str) -> str:
        """What a cause of a cell says."""
        text = stripped(view, text)
        counters, at = self._counters.get(shape(text), set()), iter(range(len(text)))
        return NUMBER.sub(lambda number: "#" if next(at) in counters else number[0], text)

    def of(self, name: str) -> str | None:
        """What the last cause of X in a cell says; None where X did not fail, or the cell was not lived."""
        found = self.failed(name)
        return self.read(found[0], found[1].cause) if found else None


def _differing(numbers: Iterable[list[str]]) -> Iterable[int]:
    for one, other in combinations(numbers, 2):
        yield from (place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
