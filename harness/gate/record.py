"""Records a baseline: never from a failing run, unless it was accepted with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from harness.exceptions import InvalidInputError
from harness.gate.baseline import VERSION, Acceptance, Baseline, Entry, Environment, Fact, Provenance, sealed
from harness.gate.check import CONTROLS, TABLES, CaseFinding, by_seeds, unsteady
from harness.gate.comparing import changed_tables
from harness.gate.live import Unit, controls
from harness.gate.making import entry_of, keep_unchanged, wild_entry_of
from harness.gate.observing import ends_by_design
from harness.gate.tables import ask_all, digest
from harness.machine import environment, why_not
from harness.scenarios.campaign import is_exact
from harness.scenarios.live import seed_of
from harness.scenarios.verdict import Judgement, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness.gate.live import CaseRunner, Pair, RunsBySeed
    from harness.scenarios.schema import Case

REPETITIONS = 3  # of what is exact, or merely sampled
SEEDS = 20
ENVIRONMENT_BYTES = 4


class Wanted(NamedTuple):
    """What is to be recorded: cases by title, how many seeds a dosed one has, from where.

    `accepted` has the acceptance of a failure by the case's id; its `failure` is filled in with what is seen.
    """

    scenarios: tuple[str, ...]
    pairs: Mapping[str, Pair]
    size: int = SEEDS
    seed: int | None = None
    accepted: Mapping[str, Acceptance] = {}


class Recorded(NamedTuple):
    """The new baseline, or None where something stands against it; what was found of each case; changed answers."""

    baseline: Baseline | None
    findings: list[CaseFinding]
    changed: Sequence[str] = ()


def provenance() -> tuple[Provenance, Environment]:
    """Return where and from what this is recorded; n and x are a case's own."""
    facts = environment()
    commit, _, dirty = facts.pop("commit").partition(" ")
    listed = tuple(Fact(name, value) for name, value in sorted(facts.items()))
    place = Environment(digest(listed, ENVIRONMENT_BYTES), listed)
    return Provenance(0, 0, commit, bool(dirty), place.id), place


def record(wanted: Wanted, runner: CaseRunner, old: Baseline | None, on_unit: Callable[[Unit], object]) -> Recorded:
    """Live every case, twice where the same seed must give the same run, and make the baseline. Raises Interrupted.

    A case that this machine can't run keeps its entry of `old`; so does one that has not changed since, and one that
    was not asked for. `Recorded.changed` names the answers that are others than those of `old`.
    """
    if wrong := controls():
        return Recorded(None, [CaseFinding(CONTROLS, "", Judgement(Verdict.INFRA, tuple(wrong)))])
    units = [unit for title, (_, case) in wanted.pairs.items() for unit in _units(wanted, title, case)]
    first = runner.live_all(units, on_unit)
    again = runner.live_all([unit for unit in units if unit.case.victim.tier != "wild"], on_unit)
    source, place = provenance()
    made = _Entries(wanted, runner, old.entries() if old else {}, first, again, source)
    written = {title: made.write(title) for title in wanted.pairs}
    findings = [finding for finding, _ in written.values()]
    tables = ask_all(runner.guarded)
    if wrong := unsteady(runner.guarded, tables):
        findings.append(CaseFinding(TABLES, "", Judgement(Verdict.FAIL, tuple(wrong))))
    if any(one.judgement.verdict not in (Verdict.PASS, Verdict.SKIP) for one in findings):
        return Recorded(None, findings)
    fresh = {title: entry for title, (_, entry) in written.items() if entry}
    kept = old.entries() if old and wanted.scenarios else {}
    entries = tuple(entry for _, entry in sorted({**kept, **fresh}.items()))
    places = {one.id: one for one in (*(old.environment if old else ()), place)}
    used = tuple(places[one] for one in sorted({entry.provenance.environment for entry in entries}))
    changed = changed_tables(old.tables, tables) if old and old.tables else []
    baseline = Baseline(VERSION, runner.dialect.name, _covered(wanted, old), entries, used, tables)
    return Recorded(sealed(baseline), findings, changed)


def _covered(wanted: Wanted, old: Baseline | None) -> tuple[str, ...]:
    """Return the scenarios that the file covers. Nothing means all that ship, and then none are added."""
    if old is None or not wanted.scenarios:
        return wanted.scenarios
    return tuple(dict.fromkeys((*old.scenarios, *wanted.scenarios))) if old.scenarios else ()


class _Entries(NamedTuple):
    """Writes the entries, each from runs that were lived twice under the same seed."""

    wanted: Wanted
    runner: CaseRunner
    before: Mapping[str, Entry]
    first: Mapping[str, RunsBySeed]
    again: Mapping[str, RunsBySeed]
    source: Provenance

    def write(self, title: str) -> tuple[CaseFinding, Entry | None]:
        """Return what was found of a case, and its entry if there is one."""
        case = self.wanted.pairs[title][1]
        if missing := why_not(case.needs()):
            return CaseFinding(title, case.victim.tier, Judgement(Verdict.SKIP, (missing,))), self.before.get(title)
        judgement, entry = self._inexcusable(title), None
        if judgement is None:
            entry = _entry(title, case, self.runner, self.first[title], self.source)
            judgement, accepted = self._excuse(entry, _as_expected(case, self.runner, self.first[title]))
            entry = keep_unchanged(self.before.get(title), msgspec.structs.replace(entry, accepted=accepted))
        return CaseFinding(title, case.victim.tier, judgement), entry

    def _inexcusable(self, title: str) -> Judgement | None:
        """Judgement that `--accept` can't excuse: a run proved nothing, the judge broke, a seed gave two results."""
        trouble, reasons = list[str](), list[str]()
        for seed, (run, seen) in self.first[title].items():
            other = self.again.get(title, self.first[title])[seed][1]
            trouble += [f"seed {seed}: {one.trouble}" for one in (seen, other) if one.trouble]
            if run is None:
                reasons.append(f"seed {seed}: {seen.shows}")
            elif (seen.shows, seen.outcomes) != (other.shows, other.outcomes):
                reasons.append(f"seed {seed}: nondeterministic: {seen.shows}, then {other.shows}")
        if trouble:
            return Judgement(Verdict.INFRA, tuple(dict.fromkeys(trouble)))
        return Judgement(Verdict.FAIL, tuple(reasons)) if reasons else None

    def _excuse(self, entry: Entry, judgement: Judgement) -> tuple[Judgement, Acceptance | None]:
        """Pass a failing case that is accepted: now, or in the old file if it still fails in the very same way."""
        if judgement.verdict is not Verdict.FAIL:
            return judgement, None
        before = self.before.get(entry.id)
        kept = before.accepted if before and before.accepted and before.conditions == entry.conditions else None
        accepted = self.wanted.accepted.get(entry.id)
        if accepted:
            accepted = msgspec.structs.replace(accepted, failure=judgement.reasons)
        elif kept and kept.failure == judgement.reasons:
            accepted = kept
        else:
            return judgement, None
        return Judgement(Verdict.PASS, (f"accepted: {accepted.because}", *judgement.reasons)), accepted


def _units(wanted: Wanted, title: str, case: Case) -> Iterator[Unit]:
    if why_not(case.needs()):
        return
    size = wanted.size if case.victim.tier == "dosed" else REPETITIONS
    base = seed_of(case, wanted.seed)
    for seed in range(base, base + size):
        yield Unit(title, case, seed, tuple(ends_by_design(case)))


def _as_expected(case: Case, runner: CaseRunner, lives: RunsBySeed) -> Judgement:
    """Judge runs by the scenario's own expectation.

    Where the scenario gives the exact attempts of some seeds, only the runs of those seeds are judged. Otherwise every
    run is judged, and each of its attempts must be one that the scenario lists.
    """
    expectation = case.expectation(runner.dialect.name)
    runs = {seed: run for seed, (run, _) in lives.items() if run is not None}
    told = {seed: run for seed, run in runs.items() if is_exact(case, seed)} or runs
    judged = {seed: judge(expectation, run, exact=is_exact(case, seed)) for seed, run in told.items()}
    reasons = tuple(by_seeds(judged))
    return Judgement(Verdict.FAIL if reasons else Verdict.PASS, reasons)


def _entry(title: str, case: Case, runner: CaseRunner, lives: RunsBySeed, source: Provenance) -> Entry:
    entry = entry_of(title, case, runner.dialect.name, {seed: seen for seed, (_, seen) in lives.items()}, source)
    if case.victim.tier == "wild":
        return wild_entry_of(entry, case.expectation(runner.dialect.name))
    truths = {one.injected for one in entry.outcomes}
    if case.victim.tier == "dosed" and case.victim.dose not in (0, 1) and not {"forced", "safe"} <= truths:
        raise InvalidInputError(
            f"{title}: --seeds {len(lives)} shows only {', '.join(truths)} attempts: more are needed"
        )
    return entry
