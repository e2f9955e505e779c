"""Runs what a gate compares: controls, seeded runs of every case, the fixed questions; fresh seeds at night."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec

from harness.dialects.guarded import Guarded
from harness.dialects.protocol import Dialect  # noqa: TC001 -- msgspec reads the annotations of Keeper
from harness.evidence import Exited, Signaled, Witness
from harness.exceptions import InfraError, JudgeError
from harness.experiments.conduct import INTERRUPTED, Experiment, Progress, Variant, conduct
from harness.gate.entries import (
    NONE,
    Baseline,
    Entry,
    Seen,
    changed_conditions,
    changed_tables,
    conclude,
    deviations,
    see,
)
from harness.gate.nights import alarm, first_watch, second_watch, strangers, trouble
from harness.gate.nights import conclude as conclude_night
from harness.gate.tables import Tables, ask_all
from harness.machine import why_not
from harness.scenarios.campaign import as_they_end, title_of
from harness.scenarios.live import run_case
from harness.scenarios.verdict import Judgement, Verdict
from harness.supervisor import Shot, Stop, supervise
from harness.wire.errors import UnexpectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from harness.engine.loop import Run
    from harness.evidence import Start
    from harness.experiments.tally import Tally
    from harness.gate.nights import Watch
    from harness.scenarios.schema import Case, Scenario

TABLES = "tables"
CONTROLS = "controls"
CONTROL_DEADLINE_S = 60.0
SEED_BYTES = 4

Pair = tuple["Scenario", "Case"]
Lives = dict[int, tuple["Run | None", Seen]]


class Finding(msgspec.Struct, frozen=True):
    """The gate's answer about one case, the tables or the controls. Of `trials` first attempts `failures` failed."""

    id: str
    tier: str
    judgement: Judgement
    trials: int = 0
    failures: int = 0
    seed: int | None = None


class Unit(NamedTuple):
    """One seeded run to be lived."""

    title: str
    case: Case
    seed: int
    expected: tuple[str, ...] | None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, and every victim is dead."""


class Keeper(msgspec.Struct, frozen=True):
    """How cases are lived: under which dialect, and how many at a time."""

    dialect: Dialect
    jobs: int = 1

    @property
    def guarded(self) -> Dialect:
        """The dialect under the gate, of which nothing is believed."""
        return Guarded(self.dialect)

    def live(self, unit: Unit, stop: Stop) -> tuple[Run | None, Seen]:
        """Live a run. What the harness could not do is trouble; a classifier that breaks shows as such."""
        try:
            run = run_case(unit.case, self.guarded, unit.seed, stop=stop)
        except InfraError as error:
            return None, Seen("", (), 0, str(error))
        except (JudgeError, UnexpectedError) as error:
            return None, Seen(f"the classifier broke: {error}", (), 0)
        return run, see(run, unit.expected)

    def live_all(self, units: Iterable[Unit], on_unit: Callable[[Unit], object]) -> dict[str, Lives]:
        """Live units on `jobs` threads; by title and seed. Raises Interrupted."""
        lived: dict[str, Lives] = {}
        with Stop() as stop, ThreadPoolExecutor(self.jobs) as pool:
            try:  # Ctrl-C may come while units are still handed out, and some live already
                futures = {pool.submit(self.live, unit, stop): unit for unit in units}
                for future in as_they_end(futures):
                    unit = futures[future]
                    lived.setdefault(unit.title, {})[unit.seed] = future.result()
                    on_unit(unit)
            except KeyboardInterrupt:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise Interrupted from None
        return {title: dict(sorted(runs.items())) for title, runs in lived.items()}


def controls() -> list[str]:
    """What never crashes must not, what always does must; by the evidence alone. Returns what is wrong."""
    wanted = {"never": (Exited(0), Witness.DONE), "null_read": (Signaled("SIGSEGV"), None)}
    reasons = []
    for fault, (end, witness) in wanted.items():
        try:
            evidence = supervise(Shot(fault), deadline_s=CONTROL_DEADLINE_S)
        except InfraError as error:
            reasons.append(f"control {fault}: {error}")
            continue
        if str(evidence.termination) != str(end) or (witness and evidence.witness is not witness):
            reasons.append(f"control {fault}: expected {end}, observed {evidence.termination}")
    return reasons


def pairs_of(scenarios: Iterable[Scenario]) -> dict[str, Pair]:
    """Return scenarios and cases by the case's title, in order."""
    found = {title_of(one, case): (one, case) for one in scenarios for case in one.case}
    return {title: found[title] for title in sorted(found)}


def check(
    baseline: Baseline,
    pairs: Mapping[str, Pair],
    stale: Iterable[str],
    keeper: Keeper,
    on_unit: Callable[[Unit], object],
) -> list[Finding]:
    """Hold every case, and the tables, against the baseline. Raises Interrupted.

    `stale` are ids in the baseline that no case has.
    """
    if wrong := controls():
        return [Finding(CONTROLS, "", Judgement(Verdict.INFRA, tuple(wrong)))]
    entries, findings = baseline.entries(), list[Finding]()
    ready = list[Unit]()
    for title, (_, case) in pairs.items():
        if found := _unfit(entries.get(title), title, case):
            findings.append(found)
        else:
            entry = entries[title]
            ready += [Unit(title, case, seed, entry.expected) for seed in entry.seeds]
    lived = keeper.live_all(ready, on_unit)
    deviant = [(unit, why) for unit in ready if (why := _deviates(entries[unit.title], lived[unit.title], unit.seed))]
    again = keeper.live_all([unit for unit, _ in deviant], on_unit)
    worst = dict[str, dict[int, Judgement]]()
    for unit, why in deviant:
        first, second = lived[unit.title][unit.seed][1], again[unit.title][unit.seed][1]
        worst.setdefault(unit.title, {})[unit.seed] = conclude(entries[unit.title], why, first, second)
    for title, runs in lived.items():
        seen = {seed: one for seed, (_, one) in runs.items()}
        findings.append(_finding(entries[title], seen, worst.get(title, {})))
    findings += [
        Finding(title, "", Judgement(Verdict.FAIL, ("stale: it is in the baseline, and there is no such case",)))
        for title in stale
    ]
    return [check_tables(baseline.tables, keeper.guarded), *sorted(findings, key=lambda one: one.id)]


def _deviates(entry: Entry, runs: Lives, seed: int) -> tuple[str, ...]:
    """Return how a seed's run deviates; trouble is none: it is judged as what it is."""
    seen = runs[seed][1]
    return () if seen.trouble else tuple(deviations(entry, seed, seen))


def _unfit(entry: Entry | None, title: str, case: Case) -> Finding | None:
    """Answer for a case that can't be compared."""
    if entry is None:
        if missing := why_not(case.needs()):  # nor could it be recorded here
            return Finding(title, case.victim.tier, Judgement(Verdict.SKIP, (missing,)))
        reason = "it is not in the baseline: record it"
        return Finding(title, case.victim.tier, Judgement(Verdict.FAIL, (reason,)))
    if changed := changed_conditions(entry, case):
        return Finding(title, entry.tier, Judgement(Verdict.FAIL, tuple(changed)))
    if missing := why_not(case.needs()):
        return Finding(title, entry.tier, Judgement(Verdict.SKIP, (missing,)))
    return None


def _finding(entry: Entry, seen: Mapping[int, Seen], worst: Mapping[int, Judgement]) -> Finding:
    """Put the judgements of a case's runs together: a FAIL outranks trouble."""
    trouble = {seed: Judgement(Verdict.INFRA, (one.trouble,)) for seed, one in seen.items() if one.trouble}
    judgements = {**trouble, **worst}
    verdicts = {one.verdict for one in judgements.values()}
    verdict = next((one for one in (Verdict.FAIL, Verdict.INFRA) if one in verdicts), Verdict.PASS)
    first = [one.outcomes[0] for one in seen.values() if one.outcomes]
    failed = sum(one.decision != NONE for one in first)
    judgement = Judgement(verdict, tuple(by_seeds(judgements)))
    return Finding(entry.id, entry.tier, judgement, len(first), failed, entry.seed)


def by_seeds(judgements: Mapping[int, Judgement]) -> Iterator[str]:
    """Write each reason once, after the seeds that it holds for."""
    seeds = dict[str, list[int]]()
    for seed, one in sorted(judgements.items()):
        for reason in one.reasons:
            seeds.setdefault(reason, []).append(seed)
    for reason, those in seeds.items():
        yield f"{'seed' if len(those) == 1 else 'seeds'} {', '.join(map(str, those))}: {reason}"


def check_tables(recorded: Tables | None, dialect: Dialect) -> Finding:
    """Ask the fixed questions again."""
    if recorded is None:
        return Finding(TABLES, "", Judgement(Verdict.FAIL, ("the tables are not in the baseline: record them",)))
    try:
        reasons = changed_tables(recorded, ask_all(dialect))
    except JudgeError as error:
        reasons = [f"the classifier broke: {error}"]
    return Finding(TABLES, "", Judgement(Verdict.FAIL if reasons else Verdict.PASS, tuple(reasons)))


# --- at night ---


def fresh_seed(base: int, title: str, stage: int) -> int:
    """Return the seed of a case's stage: another for each, so that alarms are independent."""
    named = hashlib.blake2b(f"{base}/{title}/{stage}".encode(), digest_size=SEED_BYTES)
    return int.from_bytes(named.digest(), "big")


class Night(NamedTuple):
    """Fires fresh trials. `base` is the seed that all others are drawn from; `observe` is told each count of trials."""

    keeper: Keeper
    base: int
    observe: Callable[[int], object]

    def check(self, entry: Entry, pair: Pair) -> Finding:
        """Fire trials of a dosed case until its failure rate is decided on. Raises Interrupted."""
        watch = first_watch(entry)
        first = self._fire(watch, pair, 1)
        judgement, trials, failures = self._at_once(entry, first), first.trials, first.failures
        if judgement is None:
            found = alarm(watch, first)
            confirming = second_watch(found) if found else None
            second = self._fire(confirming, pair, 2) if confirming else None
            judgement = conclude_night(watch, first, confirming, second)
            trials, failures = (trials + second.trials, failures + second.failures) if second else (trials, failures)
        return Finding(f"{entry.id} fresh", entry.tier, judgement, trials, failures, self.base)

    @staticmethod
    def _at_once(entry: Entry, tally: Tally) -> Judgement | None:
        """Judge what needs no statistics."""
        if wrong := trouble(entry, tally):
            return Judgement(Verdict.INFRA, tuple(wrong))
        unknown = strangers(entry, tally)
        return Judgement(Verdict.FAIL, tuple(unknown)) if unknown else None

    def _fire(self, watch: Watch, pair: Pair, stage: int) -> Tally:
        scenario, case = pair
        title, start = title_of(*pair), "warm" if scenario.layout_independent else "fresh"
        seed = fresh_seed(self.base, title, stage)
        variant = Variant(title, self.keeper.dialect.name, seed, case, host="native", start=cast("Start", start))
        experiment = Experiment(title, (variant,), watch, self.keeper.jobs)
        progress = Progress.begin(experiment)
        tally = progress.tallies[title]
        conduct(
            experiment, progress, None, lambda _: self.observe(tally.trials), {variant.dialect: self.keeper.guarded}
        )
        if progress.ended == INTERRUPTED:
            raise Interrupted
        return tally
