"""What `gate check` does: every case, and the fixed questions, held against a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.exceptions import JudgeError
from harness.gate.baseline import NONE
from harness.gate.comparing import changed_conditions, changed_tables, conclude, deviations
from harness.gate.live import Unit, controls
from harness.gate.tables import Tables, ask_again, ask_all
from harness.machine import why_not
from harness.scenarios.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from harness.dialects.protocol import Dialect
    from harness.gate.baseline import Acceptance, Baseline, Entry
    from harness.gate.live import CaseRunner, Pair, RunsBySeed
    from harness.gate.observing import Seen
    from harness.scenarios.schema import Case

TABLES = "tables"
CONTROLS = "controls"


class CaseFinding(msgspec.Struct, frozen=True):
    """The gate's answer about one case, the tables or the controls. Of `trials` first attempts `failures` failed."""

    id: str
    tier: str
    judgement: Judgement
    trials: int = 0
    failures: int = 0
    seed: int | None = None


def check(
    baseline: Baseline,
    pairs: Mapping[str, Pair],
    stale: Iterable[str],
    runner: CaseRunner,
    on_unit: Callable[[Unit], object],
    *,
    today: str = "",
) -> list[CaseFinding]:
    """Compare every case, and the answers to the questions, with the baseline. Raises Interrupted.

    An accepted failure whose review was due before `today` (YYYY-MM-DD) fails; no day, no review.

    `pairs` has scenario and case by title; `stale` are ids in the baseline that no case has. A run that differs is
    lived a second time under the same seed, so that the finding can say whether the seed reproduces it.
    """
    if wrong := controls():
        return [CaseFinding(CONTROLS, "", Judgement(Verdict.INFRA, tuple(wrong)))]
    entries, findings = baseline.entries(), list[CaseFinding]()
    ready = list[Unit]()
    for title, (_, case) in pairs.items():
        if found := _unfit(entries.get(title), title, case, today):
            findings.append(found)
        else:
            entry = entries[title]
            ready += [Unit(title, case, seed, entry.expected) for seed in entry.seeds]
    lived = runner.live_all(ready, on_unit)
    deviant = [(unit, why) for unit in ready if (why := _deviates(entries[unit.title], lived[unit.title], unit.seed))]
    again = runner.live_all([unit for unit, _ in deviant], on_unit)
    worst = dict[str, dict[int, Judgement]]()
    for unit, why in deviant:
        first, second = lived[unit.title][unit.seed][1], again[unit.title][unit.seed][1]
        worst.setdefault(unit.title, {})[unit.seed] = conclude(entries[unit.title], why, first, second)
    for title, runs in lived.items():
        seen = {seed: one for seed, (_, one) in runs.items()}
        findings.append(_finding(entries[title], seen, worst.get(title, {})))
    findings += [
        CaseFinding(title, "", Judgement(Verdict.FAIL, ("stale: it is in the baseline, and there is no such case",)))
        for title in stale
    ]
    return [check_tables(baseline.tables, runner.guarded), *sorted(findings, key=lambda one: one.id)]


def _deviates(entry: Entry, runs: RunsBySeed, seed: int) -> tuple[str, ...]:
    """Differences between this seed's run and the recorded one. Empty for a run that proved nothing, later INFRA."""
    seen = runs[seed][1]
    return () if seen.trouble else tuple(deviations(entry, seed, seen))


def _unfit(entry: Entry | None, title: str, case: Case, today: str) -> CaseFinding | None:
    """Finding for a case that can't be compared: not recorded, changed, or not possible here. None where it can."""
    if entry is None:
        if missing := why_not(case.needs()):  # nor could it be recorded here
            return CaseFinding(title, case.victim.tier, Judgement(Verdict.SKIP, (missing,)))
        reason = "it is not in the baseline: record it"
        return CaseFinding(title, case.victim.tier, Judgement(Verdict.FAIL, (reason,)))
    if entry.accepted and entry.accepted.is_due(today):
        return CaseFinding(title, entry.tier, Judgement(Verdict.FAIL, (_overdue(entry.accepted),)))
    if changed := changed_conditions(entry, case):
        return CaseFinding(title, entry.tier, Judgement(Verdict.FAIL, tuple(changed)))
    if missing := why_not(case.needs()):
        return CaseFinding(title, entry.tier, Judgement(Verdict.SKIP, (missing,)))
    return None


def _overdue(accepted: Acceptance) -> str:
    owner = f" by {accepted.owner}" if accepted.owner else ""
    return f"its failure was accepted ({accepted.because}) and to be reviewed{owner} by {accepted.review}"


def _finding(entry: Entry, seen: Mapping[int, Seen], worst: Mapping[int, Judgement]) -> CaseFinding:
    """One finding from the judgements of a case's runs: FAIL outranks INFRA, which outranks PASS."""
    trouble = {seed: Judgement(Verdict.INFRA, (one.trouble,)) for seed, one in seen.items() if one.trouble}
    judgements = {**trouble, **worst}
    verdicts = {one.verdict for one in judgements.values()}
    verdict = next((one for one in (Verdict.FAIL, Verdict.INFRA) if one in verdicts), Verdict.PASS)
    first = [one.outcomes[0] for one in seen.values() if one.outcomes]
    failed = sum(one.decision != NONE for one in first)
    judgement = Judgement(verdict, tuple(by_seeds(judgements)))
    return CaseFinding(entry.id, entry.tier, judgement, len(first), failed, entry.seed)


def by_seeds(judgements: Mapping[int, Judgement]) -> Iterator[str]:
    """Write each reason once, after the seeds that it holds for."""
    seeds = dict[str, list[int]]()
    for seed, one in sorted(judgements.items()):
        for reason in one.reasons:
            seeds.setdefault(reason, []).append(seed)
    for reason, those in seeds.items():
        yield f"{'seed' if len(those) == 1 else 'seeds'} {', '.join(map(str, those))}: {reason}"


def unsteady(dialect: Dialect, now: Tables) -> list[str]:
    """Ask everything once more, and name the answers that differ from those of a moment ago."""
    return [f"nondeterministic: {one}: asked twice, answered in two ways" for one in ask_again(dialect, now)]


def check_tables(recorded: Tables | None, dialect: Dialect) -> CaseFinding:
    """Ask all questions again, and once more backwards: an answer must not depend on what was asked before it."""
    if recorded is None:
        return CaseFinding(TABLES, "", Judgement(Verdict.FAIL, ("the tables are not in the baseline: record them",)))
    try:
        now = ask_all(dialect)
        reasons = changed_tables(recorded, now) + unsteady(dialect, now)
    except JudgeError as error:
        reasons = [f"the classifier broke: {error}"]
    return CaseFinding(TABLES, "", Judgement(Verdict.FAIL if reasons else Verdict.PASS, tuple(reasons)))
