"""What was seen of one cell, as values: the ledger's lines, the claims over time, the deaths, the suite's own clock."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import msgspec

from harness.conformance.protocol import Claim

LEDGER_BYTES: Final = 256
CAP_S: Final = 0.15
"""The most that one tick counts: where the suite was starved, so was the engine."""


class Line(msgspec.Struct, frozen=True):
    """One line of the ledger. `t` is CLOCK_MONOTONIC in nanoseconds.

    `pid`, `start` and the PID namespace `ns` in which they hold name a process for good; 0 is the suite's own.
    """

    run: str
    job: str
    n: int
    ev: str
    pid: int
    start: int
    t: int
    mem: int = 0
    ns: int = 0

    @property
    def at(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return self.t / 1e9

    @property
    def process(self) -> tuple[int, int, int]:
        """The process that wrote it."""
        return self.pid, self.start, self.ns


class Clock(msgspec.Struct):
    """Counted seconds: a look that comes late counts as CAP_S at most, so no limit runs out where the suite starves.

    `late_s` sums up what a wait took beyond what it was to take.
    """

    real: list[float]
    counted: list[float]
    late_s: float = 0.0

    @classmethod
    def begun(cls, now: float) -> Clock:
        """Start counting at `now`."""
        return cls([now], [0.0])

    def look(self, now: float) -> float:
        """Count up to `now`, and return the counted seconds."""
        self.counted.append(self.counted[-1] + min(now - self.real[-1], CAP_S))
        self.real.append(now)
        return self.counted[-1]

    @property
    def now(self) -> float:
        """Counted seconds at the last look."""
        return self.counted[-1]

    def of(self, at: float) -> float:
        """Counted seconds at a moment between looks."""
        index = bisect_right(self.real, at) - 1
        if index < 0:
            return 0.0
        since = at - self.real[index]
        if index + 1 == len(self.real):
            return self.counted[index] + min(since, CAP_S)
        step = self.real[index + 1] - self.real[index]
        return self.counted[index] + (self.counted[index + 1] - self.counted[index]) * since / max(step, 1e-9)


class Told(msgspec.Struct, frozen=True):
    """A claim that differs from the one before, and when it was first heard."""

    at: float
    claim: Claim


class Life(msgspec.Struct):
    """A payload process as the suite looked at it: when it was last seen alive and first seen dead."""

    pid: int
    start: int
    ns: int = 0
    alive_at: float | None = None
    dead_at: float | None = None


class Reason(msgspec.Struct, frozen=True):
    """Why a property fails in a cell. `by_clock`: by a limit of time alone, which must be seen twice."""

    property: str
    text: str
    by_clock: bool = False


class Record(msgspec.Struct):
    """One cell, lived once.

    `jobs`: role to job id (X carries the fault, Y is a second pill, b0, b1, … are innocents, then the canary).
    `infra`: why nothing can be read from it. `gone`: the adapter died or fell silent after a fault had fired.
    `died`: it died of a job that ran in its own process; then nothing but `seen` is read.
    `seen`: reasons that the look itself gave. `cut`: it was ended at 3 N + 3 starts. `cancelled_at`: when the engine
    had accepted the cancel. `litter`: processes that were left over, and killed.
    """

    cell: str
    clock: Clock
    jobs: dict[str, str] = {}
    lines: list[Line] = []
    told: dict[str, list[Told]] = {}
    lives: list[Life] = []
    seen: list[Reason] = []
    infra: str = ""
    gone: str = ""
    died: bool = False
    cut: bool = False
    cancelled_at: float | None = None
    oom_kills: int | None = None
    litter: list[str] = []
    log: str = ""

    def of(self, role: str, event: str) -> list[Line]:
        """Lines of a job, in the order of time."""
        job = self.jobs.get(role)
        return sorted((line for line in self.lines if line.job == job and line.ev == event), key=lambda line: line.t)

    def last(self, role: str) -> Claim:
        """What the engine said last."""
        told = self.told.get(role)
        return told[-1].claim if told else Claim("pending")

    def verdict(self, role: str) -> Told | None:
        """The first terminal claim."""
        return next((one for one in self.told.get(role, []) if one.claim.is_final), None)

    def life(self, line: Line) -> Life:
        """The process that wrote `line`."""
        found = (one for one in self.lives if (one.pid, one.start, one.ns) == line.process)
        return next(found, Life(*line.process))
