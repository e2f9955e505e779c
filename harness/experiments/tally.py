"""What an experiment has seen so far: trials in, in the order of their numbers; counts that do not grow with them."""

from __future__ import annotations

from collections import Counter

import msgspec

from harness.evidence import Host, Start  # noqa: TC001 -- msgspec reads the annotations of records
from harness.experiments.statistics import Sums


class Trial(msgspec.Struct, frozen=True, omit_defaults=True):
    """One seeded attempt as a statistical unit.

    `number` counts from 1 within its `variant`; `group` and `block` are those it belongs to, from 0; `layout` names
    trials that were forked from one process. `injected` is the truth: forced, safe, wild, or None for a command.
    `ended` is how the process ended, in an expectation's words; `failed` whether the classifier found an error.
    `host` is the case's, `victim_host` and `start` what carried the fault and how it was started.
    `elsewhere` has the codes of the dialects that give another one than this trial's.
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


class TrialKind(msgspec.Struct, frozen=True, order=True):
    """One row of the outcome table."""

    injected: str
    ended: str
    code: str
    cause: str
    branch: str


class Tally(msgspec.Struct):
    """Counts of one variant.

    `waits[k]` counts runs of attempts that needed k attempts to the first success; `censored` those that a group's
    end cut off. Attempts of one group follow each other; nothing is carried from group to group.
    """

    trials: int = 0
    failures: int = 0
    outcomes: Counter[TrialKind] = msgspec.field(default_factory=Counter)
    groups: Sums = Sums()
    blocks: Sums = Sums()
    waits: Counter[int] = msgspec.field(default_factory=Counter)
    censored: int = 0
    block: int = 0
    block_trials: int = 0
    block_failures: int = 0

    def add(self, group: list[Trial]) -> None:
        """Add one whole group."""
        failures = sum(trial.failed for trial in group)
        self.trials += len(group)
        self.failures += failures
        self.groups = self.groups.plus(len(group), failures)
        self.outcomes.update(outcome(trial) for trial in group)
        self._wait(group)
        self._enter_block(group[0].block)
        self.block_trials += len(group)
        self.block_failures += failures

    def close(self) -> None:
        """Count the last block too."""
        self._enter_block(self.block + 1)

    def _enter_block(self, block: int) -> None:
        if block != self.block and self.block_trials:
            self.blocks = self.blocks.plus(self.block_trials, self.block_failures)
            self.block_trials = self.block_failures = 0
        self.block = block

    def _wait(self, group: list[Trial]) -> None:
        tries = 0
        for trial in group:
            tries += 1
            if not trial.failed:
                self.waits[tries] += 1
                tries = 0
        self.censored += tries > 0

    @property
    def rate(self) -> float:
        """Share of trials that failed."""
        return self.failures / self.trials if self.trials else 0.0


def outcome(trial: Trial) -> TrialKind:
    """Return the row of a trial."""
    return TrialKind(trial.injected or "", trial.ended, trial.code or "", trial.cause, trial.branch or "")
