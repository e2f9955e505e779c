"""What a report counts while it reads trials: the course of a failure rate, and what each dialect calls each death."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.dialects import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_POINTS = 400
NO_ERROR = "no error"


class Curve(msgspec.Struct):
    """Failures after so many trials; thinned as it grows, so that it never has more than 400 points."""

    points: list[tuple[int, int]] = []
    step: int = 1
    groups: int = 0

    def add(self, trials: int, failures: int) -> None:
        """Add a point, if it is its turn."""
        self.groups += 1
        if self.groups % self.step == 0:
            self.points.append((trials, failures))
        if len(self.points) > MOST_POINTS:
            self.points, self.step = self.points[1::2], self.step * 2


class Confusion(msgspec.Struct):
    """How often each injected truth was given each code, by dialect."""

    counts: dict[tuple[str, str, str], int] = {}

    def add(self, truth: str, codes: dict[str, str | None], times: int = 1) -> None:
        """Count one death in all dialects."""
        for dialect, code in codes.items():
            key = (truth, dialect, code or NO_ERROR)
            self.counts[key] = self.counts.get(key, 0) + times

    def rows(self) -> Iterator[tuple[str, dict[str, dict[str, int]], bool]]:
        """Each truth with its codes by dialect, and whether the dialects differ; those that do come first."""
        truths = sorted({truth for truth, _, _ in self.counts})
        made = [(truth, self._of(truth)) for truth in truths]
        rows = [
            (truth, cells, len({tuple(sorted(one.items())) for one in cells.values()}) > 1) for truth, cells in made
        ]
        yield from sorted(rows, key=lambda row: (not row[2], row[0]))

    def _of(self, truth: str) -> dict[str, dict[str, int]]:
        cells: dict[str, dict[str, int]] = {name: {} for name in BUILT_IN}
        for (one, dialect, code), times in sorted(self.counts.items()):
            if one == truth:
                cells.setdefault(dialect, {})[code] = times
        return cells
