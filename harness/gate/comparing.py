"""What was observed, compared with what a baseline has. Pure."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING

import msgspec

from harness.gate.observing import conditions
from harness.gate.sampling import COUNT, questions
from harness.gate.tables import SAMPLE_BYTES, question_name
from harness.scenarios.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.gate.baseline import AttemptKind, Entry
    from harness.gate.observing import Seen
    from harness.gate.tables import Coded, Reply, Tables
    from harness.scenarios.schema import Case


def changed_conditions(entry: Entry, case: Case) -> list[str]:
    """Return the conditions that differ from the entry's. Where there are any, runs can't be compared."""
    now = conditions(case)
    keys = sorted(entry.conditions.keys() | now.keys())
    pairs = [(key, entry.conditions.get(key, "nothing"), now.get(key, "nothing")) for key in keys]
    return [f"{key}: recorded with {old}, now {new}: record it again" for key, old, new in pairs if old != new]


def deviations(entry: Entry, seed: int, seen: Seen) -> list[str]:
    """Differences between the run of a seed and the entry, a line each; empty when there are none."""
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


def _strange(one: AttemptKind) -> str:
    called = f"{one.ended} ({one.injected}) called {one.code} by {one.rule}, {one.decision}"
    return f"{called}: no such attempt in the baseline"


def conclude(entry: Entry, reasons: Sequence[str], first: Seen, second: Seen) -> Judgement:
    """Judge a deviation after its seed was lived a second time. It is a FAIL, and says whether the seed reproduced it.

    It is INFRA where the second run proved nothing. A wild run is not expected to reproduce.
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
    """Say which answers to the fixed questions differ from those recorded, a line each."""
    reasons = _changed({one.code: one for one in recorded.codes}, {one.code: one for one in now.codes})
    for part in ("classified", "decided", "stored"):
        old, new = ({one.asked: one for one in getattr(tables, part)} for tables in (recorded, now))
        reasons += _changed(old, new)
    return reasons + _changed_draws(recorded, now)


def _changed_draws(recorded: Tables, now: Tables) -> list[str]:
    """Name the drawn questions that are answered otherwise: how many, then each with all that was asked."""
    if recorded.generator != now.generator:
        return [f"drawn questions: recorded with generator {recorded.generator}, now {now.generator}: record it again"]
    if recorded.sampled == now.sampled:
        return []
    before, after = b64decode(recorded.sampled), b64decode(now.sampled)
    asked = [
        question_name(number, one)
        for number, one in enumerate(questions())
        if before[number * SAMPLE_BYTES :][:SAMPLE_BYTES] != after[number * SAMPLE_BYTES :][:SAMPLE_BYTES]
    ]
    return [f"{len(asked)} of {COUNT:,} drawn questions are answered otherwise", *asked]


def _changed(old: Mapping[str, Coded | Reply], new: Mapping[str, Coded | Reply]) -> list[str]:
    return [
        f"{name}: recorded {_row(old.get(name))}, now {_row(new.get(name))}"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]


def _row(row: Coded | Reply | None) -> str:
    if row is None:
        return "nothing"
    return " ".join(f"{name}={value}" for name, value in list(msgspec.structs.asdict(row).items())[1:])
