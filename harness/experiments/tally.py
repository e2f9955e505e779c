"""What an experiment has seen so far: trials in, in the order of their numbers; counts that do not grow with them."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import NamedTuple

import msgspec

from harness.evidence import Evidence, Host, Start  # noqa: TC001 -- msgspec reads the annotations of records
from harness.experiments.groups import FEWEST_GROUPS, Sums
from harness.experiments.series import Series, Slope, has_memory, left_over, slope_test

GROUP = 10
"""Trials a group: fired one after the other, by one worker."""

BLOCK = 10
"""Groups a block."""

MOST_CHUNKS = 400


class Fate(StrEnum):
    """What the dialect makes of a trial's end while its run has attempts left.

    `FINAL` is never retried, whatever the policy; `TIME_OUT` and `OUT_OF_MEMORY` are final too, but are told apart:
    the one ends with a longer deadline, the other with a policy that names a larger machine.
    """

    SUCCEEDED = "succeeded"
    RETRIED = "retried"
    FINAL = "final"
    TIME_OUT = "time-out"
    OUT_OF_MEMORY = "out of memory"


FINAL_FATES = (Fate.FINAL, Fate.TIME_OUT, Fate.OUT_OF_MEMORY)


class EndKind(NamedTuple):
    """What the ends of one kind have in common: how they ended, and what every dialect calls that."""

    ended: str
    code: str | None
    cause: str
    elsewhere: tuple[tuple[str, str | None], ...]


class Trial(msgspec.Struct, frozen=True, omit_defaults=True):
    """One seeded attempt as a statistical unit.

    `number` counts from 1 within its `variant`; `group` and `block` are those it belongs to, from 0; `layout` names
    trials that were forked from one process. `injected` is the truth: forced, safe, wild, or None for a command.
    `ended` is how the process ended, in an expectation's words; `failed` whether the classifier found an error.
    `host` is the case's, `victim_host` and `start` what carried the fault and how it was started.
    `elsewhere` has the codes of the dialects that give another one than this trial's, and `fates_elsewhere` what they
    make of it; `fate` is what this trial's own dialect makes of it. `evidence` is kept of the first failures of a kind.
    `worker` is who fired it, where that was not us: HOST/PROCESS.
    """

    variant: str
    number: int
    group: int
    block: int
    seed: int
    injected: str | None
    ended: str
    failed: bool
    code: str | None
    rule: str
    cause: str
    branch: str | None
    si_code: str | None = None
    address: int | None = None
    peak_rss_bytes: int | None = None
    oom_kills: int | None = None
    allocation_failures: int | None = None
    duration_s: float | None = None
    load: float | None = None
    layout: int | None = None
    host: str | None = None
    victim_host: Host | None = None
    start: Start | None = None
    elsewhere: dict[str, str | None] = {}
    fate: Fate = Fate.RETRIED
    fates_elsewhere: dict[str, Fate] = {}
    evidence: Evidence | None = None
    worker: str | None = None

    @property
    def kind(self) -> EndKind:
        """The kind of its end."""
        return EndKind(self.ended, self.code, self.cause, tuple(sorted(self.elsewhere.items())))

    @property
    def is_final(self) -> bool:
        """Whether no policy of this dialect would retry it."""
        return self.failed and self.fate in FINAL_FATES


class TrialKind(msgspec.Struct, frozen=True, order=True):
    """One row of the outcome table."""

    injected: str
    ended: str
    code: str
    cause: str
    branch: str


class Chunk(msgspec.Struct):
    """Some trials in a row."""

    trials: int = 0
    failures: int = 0
    finals: int = 0

    def add(self, other: Chunk) -> None:
        """Add the trials of another."""
        self.trials += other.trials
        self.failures += other.failures
        self.finals += other.finals


class Tally(msgspec.Struct):
    """Counts of one variant, which do not grow with its trials.

    `waits[k]` counts runs of attempts that needed k attempts to the first success; `censored` those that a group's
    end cut off. Attempts of one group follow each other; nothing is carried from group to group. `series` has the
    failures of whole groups in their order, and `block_series` those of whole blocks. `finals` counts the ends that
    are never retried, by fate and by how the process ended; `finals_elsewhere` what each other dialect would never
    retry, less what this one would not.
    """

    trials: int = 0
    failures: int = 0
    outcomes: Counter[TrialKind] = msgspec.field(default_factory=Counter)
    groups: Sums = Sums()
    blocks: Sums = Sums()
    series: Series = Series()
    block_series: Series = Series()
    waits: Counter[int] = msgspec.field(default_factory=Counter)
    censored: int = 0
    block: int = 0
    open_block: Chunk = msgspec.field(default_factory=Chunk)
    chunks: list[Chunk] = []
    finals: Counter[tuple[Fate, str]] = msgspec.field(default_factory=Counter)
    finals_elsewhere: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, group: list[Trial]) -> None:
        """Add one whole group."""
        seen = Chunk(len(group), sum(one.failed for one in group), sum(one.is_final for one in group))
        self.trials += seen.trials
        self.failures += seen.failures
        self.groups = self.groups.plus(seen.trials, seen.failures)
        if seen.trials == GROUP:
            self.series = self.series.plus(seen.failures)
        self.outcomes.update(outcome(trial) for trial in group)
        self._judge(group)
        self._wait(group)
        self._enter_block(group[0].block)
        self.open_block.add(seen)
        self._keep(seen)

    def close(self) -> None:
        """Count the last block too."""
        self._enter_block(self.block + 1)

    def _enter_block(self, block: int) -> None:
        seen = self.open_block
        if block != self.block and seen.trials:
            self.blocks = self.blocks.plus(seen.trials, seen.failures)
            if seen.trials == GROUP * BLOCK:
                self.block_series = self.block_series.plus(seen.failures)
            self.open_block = Chunk()
        self.block = block

    def _judge(self, group: list[Trial]) -> None:
        for trial in group:
            if trial.is_final:
                self.finals[trial.fate, trial.ended] += 1
            for dialect, fate in trial.fates_elsewhere.items():
                self.finals_elsewhere[dialect] += (fate in FINAL_FATES) - trial.is_final

    def _wait(self, group: list[Trial]) -> None:
        tries = 0
        for trial in group:
            tries += 1
            if not trial.failed:
                self.waits[tries] += 1
                tries = 0
        self.censored += tries > 0

    def _keep(self, seen: Chunk) -> None:
        """Keep the course in chunks; neighbours are put together when there are many."""
        self.chunks.append(seen)
        if len(self.chunks) > MOST_CHUNKS:
            for one, other in zip(self.chunks[::2], self.chunks[1::2], strict=False):
                one.add(other)
            self.chunks = self.chunks[::2]

    def last_quarter(self) -> Chunk:
        """Return the latest trials, a quarter of all and at most a chunk more."""
        found = Chunk()
        for chunk in reversed(self.chunks):
            if 4 * found.trials >= self.trials:
                break
            found.add(chunk)
        return found

    @property
    def rate(self) -> float:
        """Share of trials that failed."""
        return self.failures / self.trials if self.trials else 0.0

    @property
    def has_memory(self) -> bool:
        """Whether outcomes go together beyond a group."""
        return has_memory(self.series.lag, self.series.length)

    @property
    def units(self) -> Sums:
        """What an interval counts by: groups, or blocks where outcomes go together beyond a group."""
        return self.blocks if self.has_memory and self.blocks.groups >= FEWEST_GROUPS else self.groups

    @property
    def drift(self) -> Slope:
        """Change of the failure rate from the first trials to the last, along a straight line, and its p-value."""
        if not self.has_memory:
            found, size = slope_test(self.series), GROUP
        elif self.block_series.length >= FEWEST_GROUPS:
            found, size = slope_test(self.block_series, left_over(self.series.lag, BLOCK)), GROUP * BLOCK
        else:
            return Slope(0.0, 1.0)
        return Slope(found.change / size, found.p_value)


def outcome(trial: Trial) -> TrialKind:
    """Return the row of a trial."""
    return TrialKind(trial.injected or "", trial.ended, trial.code or "", trial.cause, trial.branch or "")
