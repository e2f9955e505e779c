"""What a gate holds runs against: records of a baseline file, and their comparison with what was observed. Pure."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from harness.evidence import EndedBy, Witness, spelling
from harness.experiments.sequential import SequentialTest
from harness.gate.tables import Tables, digest
from harness.scenarios.schema import Probability, Tier  # noqa: TC001 -- msgspec reads the annotations of records
from harness.scenarios.verdict import Judgement, Verdict, observed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.engine.loop import Attempt, Run
    from harness.gate.tables import Answer, Coded
    from harness.scenarios.schema import Case, Expectation

VERSION: Final = 1
ALPHA, BETA = 0.01, 0.05
SHIFT = 0.15  # of a dose: what a nightly run must notice
BY_DEADLINE = " by the deadline"
NONE = "none"
Scalar = str | int | float | bool
Hex = Annotated[str, Meta(pattern="^[0-9a-f]+$")]


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """One kind of attempt: what was injected, how it ended, what it was called by which rule, what was decided.

    A wild one has no decision, since that depends on the attempts before; nor a rule where it was not seen yet.
    """

    injected: str
    ended: str
    code: str
    rule: str
    decision: str


class Lived(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Runs that went alike: their seeds, and attempt by attempt the end, code, branch and machine; the status."""

    seeds: tuple[int, ...]
    shows: str


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an entry is from: of `n` first attempts `x` failed, on this commit, in the environment of this id."""

    n: int
    x: int
    commit: str
    dirty: bool
    environment: str


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One case. `p0` is the failure rate of a first attempt by design, `p1` those that must be noticed."""

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
    because: str = ""
    conditions: dict[str, Scalar]
    outcomes: tuple[Outcome, ...]
    runs: tuple[Lived, ...] = ()
    provenance: Provenance

    @property
    def seeds(self) -> range:
        """Seeds of its runs."""
        return range(self.seed, self.seed + self.count)

    def shows(self) -> dict[int, str]:
        """Return each seed's run."""
        return {seed: lived.shows for lived in self.runs for seed in lived.seeds}

    def tests(self, alpha: float | None = None) -> list[SequentialTest]:
        """Return a test for each rate that must be noticed."""
        rates = (self.p0 or 0, self.beta or BETA, alpha or self.alpha or ALPHA)
        return [SequentialTest(rates[0], p1, rates[2], rates[1]) for p1 in self.p1]


class Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of them."""

    name: str
    value: str


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about the place where entries were recorded."""

    id: Hex
    facts: tuple[Fact, ...]


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `scenarios` are those it was recorded for, as they were written; none means all that ship."""

    version: Literal[1]
    dialect: str
    scenarios: tuple[str, ...]
    case: tuple[Entry, ...] = ()
    environment: tuple[Environment, ...] = ()
    tables: Tables | None = None

    def entries(self) -> dict[str, Entry]:
        """Return the cases by their ids."""
        return {entry.id: entry for entry in self.case}


class Seen(msgspec.Struct, frozen=True):
    """One run in a baseline's words. `trouble` says why it proves nothing, if it does not."""

    shows: str
    outcomes: tuple[Outcome, ...]
    crashes: int
    trouble: str = ""


# --- seeing ---


def see(run: Run, expected: Sequence[str] | None = None) -> Seen:
    """Put a run into a baseline's words; `expected` are the ends that are known, None when all are welcome."""
    outcomes = tuple(outcome(attempt) for attempt in run.attempts)
    crashes = sum(attempt.error is not None for attempt in run.attempts)
    return Seen(_shows(run), outcomes, crashes, _trouble(run, expected))


def outcome(attempt: Attempt) -> Outcome:
    """Return the kind of an attempt."""
    decision, code = attempt.decision, observed(attempt)["code"]
    decided = f"{decision.outcome} {decision.branch}" if decision else NONE
    return Outcome(attempt.injected or NONE, _ended(attempt), code or NONE, attempt.rule, decided)


def _ended(attempt: Attempt) -> str:
    late = attempt.evidence.ended_by is EndedBy.DEADLINE
    return f"{spelling(attempt.evidence)}{BY_DEADLINE if late else ''}"


def _shows(run: Run) -> str:
    words = [
        f"{one.ended} {one.code} {one.decision.rpartition(' ')[2]} {attempt.machine}"
        for attempt in run.attempts
        for one in [outcome(attempt)]
    ]
    return f"{' > '.join(words)}: {run.status}"


def _trouble(run: Run, expected: Sequence[str] | None) -> str:
    """Say what the harness, not the classifier, did wrong: a fault that did not fire, a deadline that was too short."""
    for attempt in run.attempts:
        if expected is None or _ended(attempt) in expected:
            continue
        if attempt.evidence.witness is Witness.DID_NOT_FIRE:
            return f"attempt {attempt.number}: the fault did not fire: nothing was proved"
        if attempt.evidence.ended_by is EndedBy.DEADLINE:
            return f"attempt {attempt.number}: it was at its deadline of {attempt.evidence.deadline_s:g} s"
    return ""


def ends_by_design(case: Case) -> set[str]:
    """Return ends that some dialect's expectation has; a deadline is meant where any is called a time-out."""
    attempts = [attempt for one in case.expect for attempt in one.attempts]
    late = {one.ended + BY_DEADLINE for one in attempts if one.code == "MAX_DURATION_EXCEEDED"}
    return late or {one.ended for one in attempts}


def conditions(case: Case) -> dict[str, Scalar]:
    """Return what the outcomes depend on: the case, but for its expectations, as flat keys."""
    plain: dict[str, Any] = msgspec.to_builtins(case)
    flat = dict(_flat({key: value for key, value in plain.items() if key not in ("name", "expect")}, ""))
    return {key: flat[key] for key in sorted(flat)}


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Scalar]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            plain = isinstance(value, str | int | float | bool)
            yield f"{prefix}{key}", value if plain else msgspec.json.encode(value).decode()


# --- recording ---


def record(title: str, case: Case, dialect: str, seen: Mapping[int, Seen], provenance: Provenance) -> Entry:
    """Make an entry of an exact or dosed case's runs, by their seeds."""
    seeds = sorted(seen)
    everything = list(chain.from_iterable(one.outcomes for one in seen.values()))
    ends = Counter(one.ended for one in everything)
    first = [seen[seed].outcomes[0] for seed in seeds]
    failed = sum(one.decision != NONE for one in first)
    p0 = case.victim.dose if case.victim.tier == "dosed" else float(failed == len(first))
    return Entry(
        id=title,
        tier=case.victim.tier,
        dialect=dialect,
        expected=tuple(sorted(ends, key=lambda end: (-ends[end], end))),
        p0=p0,
        seed=seeds[0],
        count=len(seeds),
        digest=runs_digest({seed: seen[seed].shows for seed in seeds}),
        attempts=len(everything),
        crashes=sum(one.crashes for one in seen.values()),
        conditions=conditions(case),
        outcomes=tuple(sorted(set(everything))),
        runs=tuple(_alike({seed: seen[seed].shows for seed in seeds})),
        provenance=msgspec.structs.replace(provenance, n=len(first), x=failed),
        **_design(p0) if case.victim.tier == "dosed" and p0 is not None else {},
    )


def _design(p0: float) -> dict[str, Any]:
    """Rates to be noticed on either side, error rates, and the trials after which a test gives up."""
    p1 = tuple(
        clipped for p in (p0 - SHIFT, p0 + SHIFT) if (clipped := round(min(max(p, 0.01), 0.99), 6)) != round(p0, 6)
    )
    if p0 in (0, 1):
        return {}
    cap = max(SequentialTest(p0, one, ALPHA, BETA).cap() for one in p1)
    return {"p1": p1, "alpha": ALPHA, "beta": BETA, "cap": cap}


def _alike(shows: Mapping[int, str]) -> Iterator[Lived]:
    for one in dict.fromkeys(shows.values()):
        yield Lived(tuple(seed for seed, other in shows.items() if other == one), one)


def runs_digest(shows: Mapping[int, str]) -> str:
    """Identify the runs of these seeds."""
    return digest(sorted(shows.items()))


def record_wild(entry: Entry, expectation: Expectation) -> Entry:
    """Take an entry's runs for a sample: any of the ends that are expected may come, and each has one classification.

    Rules are those seen; where an end was not seen, any rule that gives its code will do.
    """
    seen = {(one.ended, one.code): one.rule for one in entry.outcomes}
    kinds = {(one.ended, str(one.code or NONE)) for one in expectation.attempts}
    kinds |= set(seen)
    outcomes = tuple(sorted(Outcome("wild", *kind, seen.get(kind, ""), "") for kind in kinds))
    ends = tuple(dict.fromkeys(one.ended for one in expectation.attempts))
    return msgspec.structs.replace(entry, expected=ends, p0=None, digest=digest(outcomes), outcomes=outcomes, runs=())


def keep(old: Entry | None, new: Entry) -> Entry:
    """Return the old entry where the new one says the same, so that a file changes where something has changed.

    Of a wild case, the rules that were seen once stay known, and counts say nothing.
    """
    if old is None:
        return new
    if new.tier == "wild":
        known = {(one.ended, one.code): one.rule for one in old.outcomes}
        outcomes = tuple(
            msgspec.structs.replace(one, rule=one.rule or known.get((one.ended, one.code), "")) for one in new.outcomes
        )
        new = msgspec.structs.replace(new, outcomes=outcomes, digest=digest(outcomes))
        counts = {"attempts": old.attempts, "crashes": old.crashes}
    else:
        counts = {}
    same = msgspec.structs.replace(new, provenance=old.provenance, **counts)
    return old if same == old else new


# --- comparing ---


def changed_conditions(entry: Entry, case: Case) -> list[str]:
    """Conditions that are not those of the entry; under others, nothing can be compared."""
    now = conditions(case)
    keys = sorted(entry.conditions.keys() | now.keys())
    pairs = [(key, entry.conditions.get(key, "nothing"), now.get(key, "nothing")) for key in keys]
    return [f"{key}: recorded with {old}, now {new}: record it again" for key, old, new in pairs if old != new]


def deviations(entry: Entry, seed: int, seen: Seen) -> list[str]:
    """Say how the run of a seed is not what the entry has; nothing when it is."""
    if entry.tier == "wild":
        return list(_foreign(entry, seen))
    expected = entry.shows()[seed]
    if expected != seen.shows:
        return [f"expected {expected}, observed {seen.shows}"]
    return [_strange(one) for one in sorted(set(seen.outcomes) - set(entry.outcomes))]


def _foreign(entry: Entry, seen: Seen) -> Iterator[str]:
    known = {(one.ended, one.code, one.rule) for one in entry.outcomes}
    for one in dict.fromkeys(seen.outcomes):
        if not {(one.ended, one.code, one.rule), (one.ended, one.code, "")} & known:
            yield _strange(one)


def _strange(one: Outcome) -> str:
    called = f"{one.ended} ({one.injected}) called {one.code} by {one.rule}, {one.decision}"
    return f"{called}: no such attempt in the baseline"


def conclude(entry: Entry, reasons: Sequence[str], first: Seen, second: Seen) -> Judgement:
    """Judge a deviation after the same seed was lived again: it is a FAIL either way, and says which way.

    A wild run is not meant to reproduce.
    """
    what = "; ".join(reasons)
    if second.trouble:
        return Judgement(Verdict.INFRA, (f"{what}; again: {second.trouble}",))
    if entry.tier == "wild":
        return Judgement(Verdict.FAIL, (what,))
    if (second.shows, second.outcomes) == (first.shows, first.outcomes):
        return Judgement(Verdict.FAIL, (f"{what}; the same seed reproduces it",))
    return Judgement(Verdict.FAIL, (f"{what}; nondeterministic: the same seed again: {second.shows}",))


def changed_tables(recorded: Tables, now: Tables) -> list[str]:
    """Say which answers to the fixed questions are others than those recorded, a line each."""
    if recorded.digest == now.digest:
        return []
    reasons = _changed({one.code: one for one in recorded.codes}, {one.code: one for one in now.codes})
    for part in ("classified", "decided", "stored"):
        old, new = ({one.asked: one for one in getattr(tables, part)} for tables in (recorded, now))
        reasons += _changed(old, new)
    return reasons or ["the digest is another, but no row is: was the file edited by hand?"]


def _changed(old: Mapping[str, Coded | Answer], new: Mapping[str, Coded | Answer]) -> list[str]:
    return [
        f"{name}: recorded {_row(old.get(name))}, now {_row(new.get(name))}"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]


def _row(row: Coded | Answer | None) -> str:
    if row is None:
        return "nothing"
    return " ".join(f"{name}={value}" for name, value in list(msgspec.structs.asdict(row).items())[1:])


def check(baseline: Baseline) -> str:
    """Say where a file contradicts itself, as it does after an edit by hand; nothing when it does not."""
    ids = [entry.id for entry in baseline.case]
    if ids != sorted(set(ids)):
        return "case: expected ids in order, each once"
    for index, entry in enumerate(baseline.case):
        exact = entry.tier != "wild"
        if exact and sorted(entry.shows()) != list(entry.seeds):
            return f"case[{index}].runs: expected a run of each of {entry.count} seeds from {entry.seed}"
        if entry.digest != (runs_digest(entry.shows()) if exact else digest(entry.outcomes)):
            return f"case[{index}].digest: it is not that of the entry's runs"
    tables = baseline.tables
    if tables and tables.digest != digest((tables.codes, tables.classified, tables.decided, tables.stored)):
        return "tables.digest: it is not that of the tables' rows"
    return ""
