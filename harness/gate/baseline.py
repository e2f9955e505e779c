"""Records of a baseline file: what a gate holds runs against. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta

from harness.experiments.sequential import SequentialTest
from harness.gate.tables import Tables, digest
from harness.scenarios.terms import Probability, Tier  # noqa: TC001 -- msgspec reads the annotations of records

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 2
ALPHA, BETA = 0.01, 0.05
NONE = "none"
Scalar = str | int | float | bool
Day = Annotated[str, Meta(pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$")]
Hex = Annotated[str, Meta(pattern="^[0-9a-f]+$")]


class AttemptKind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """One kind of attempt: what was injected, how it ended, its code, the rule that gave the code, the decision.

    Of a wild case the decision is empty, because it depends on the attempts before. Its rule is empty where the
    scenario expects this kind and no attempt of it has been seen yet.
    """

    injected: str
    ended: str
    code: str
    rule: str
    decision: str


class AlikeRuns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Runs that went alike: their seeds, and attempt by attempt the end, code, branch and machine; the status."""

    seeds: tuple[int, ...]
    shows: str


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an entry comes from: of `n` first attempts `x` failed, on this commit, in the environment of this id."""

    n: int
    x: int
    commit: str
    dirty: bool
    environment: str


class Acceptance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Why a failing case is in the baseline: the reason, the very failure that it excuses, and who looks again when."""

    because: str
    failure: tuple[str, ...]
    owner: str = ""
    review: Day = ""

    def is_due(self, today: str) -> bool:
        """Whether the day of review has passed; days are written YYYY-MM-DD."""
        return bool(self.review) and self.review < today


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One case. By design a first attempt fails at the rate `p0`; the rates in `p1` must be told apart from it."""

    id: str
    tier: Tier
    dialect: str
    expected: tuple[str, ...]
    p0: Probability | None = None
    p1: tuple[Probability, ...] = ()
    alpha: Probability | None = None
    beta: Probability | None = None
    cap: Annotated[int, Meta(gt=0)] | None = None
    seed: int
    count: Annotated[int, Meta(gt=0)]
    digest: Hex
    attempts: int
    crashes: int
    accepted: Acceptance | None = None
    conditions: dict[str, Scalar]
    outcomes: tuple[AttemptKind, ...]
    runs: tuple[AlikeRuns, ...] = ()
    provenance: Provenance

    @property
    def seeds(self) -> range:
        """Return the seeds of the recorded runs."""
        return range(self.seed, self.seed + self.count)

    def shows(self) -> dict[int, str]:
        """Return, by seed, the words of the run that was recorded."""
        return {seed: lived.shows for lived in self.runs for seed in lived.seeds}

    def tests(self) -> list[SequentialTest]:
        """Return a test for each rate that must be noticed."""
        rates = (self.p0 or 0, self.beta or BETA, self.alpha or ALPHA)
        return [SequentialTest(rates[0], p1, rates[2], rates[1]) for p1 in self.p1]


class Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fact about a place, by its name: ("kernel", "6.1.0")."""

    name: str
    value: str


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about the place where entries were recorded."""

    id: Hex
    facts: tuple[Fact, ...]


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `scenarios` are the words after `gate record`; without any, it covers all scenarios that ship.

    `digest` is that of everything else in the file.
    """

    version: Literal[2]
    dialect: str
    scenarios: tuple[str, ...]
    case: tuple[Entry, ...] = ()
    environment: tuple[Environment, ...] = ()
    tables: Tables | None = None
    digest: str = ""

    def entries(self) -> dict[str, Entry]:
        """Return the cases by their ids."""
        return {entry.id: entry for entry in self.case}


def sealed(baseline: Baseline) -> Baseline:
    """Return the baseline with the digest of all its members."""
    bare = msgspec.structs.replace(baseline, digest="")
    return msgspec.structs.replace(bare, digest=digest(bare))


def runs_digest(shows: Mapping[int, str]) -> str:
    """Identify the runs of these seeds."""
    return digest(sorted(shows.items()))


def contradiction(baseline: Baseline) -> str:
    """Say where a file contradicts itself, as it does after an edit by hand; an empty string where it does not."""
    ids = [entry.id for entry in baseline.case]
    if ids != sorted(set(ids)):
        return "case: expected ids in order, each once"
    for index, entry in enumerate(baseline.case):
        exact = entry.tier != "wild"
        if exact and sorted(entry.shows()) != list(entry.seeds):
            return f"case[{index}].runs: expected a run of each of {entry.count} seeds from {entry.seed}"
        if entry.digest != (runs_digest(entry.shows()) if exact else digest(entry.outcomes)):
            return f"case[{index}].digest: it is not that of the entry's runs"
    return "" if sealed(baseline) == baseline else "digest: it is not that of the file's other members"
