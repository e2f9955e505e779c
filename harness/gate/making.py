"""A baseline's entry, made from seeded runs of a case. Pure."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from harness.experiments.sequential import SequentialTest
from harness.gate.baseline import ALPHA, BETA, NONE, AlikeRuns, AttemptKind, Entry, Provenance, runs_digest
from harness.gate.observing import Seen, conditions
from harness.gate.tables import digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.scenarios.schema import Case, Expectation

SHIFT = 0.15  # of a dose: what a nightly run must notice


def entry_of(title: str, case: Case, dialect: str, seen: Mapping[int, Seen], provenance: Provenance) -> Entry:
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


def _alike(shows: Mapping[int, str]) -> Iterator[AlikeRuns]:
    for one in dict.fromkeys(shows.values()):
        yield AlikeRuns(tuple(seed for seed, other in shows.items() if other == one), one)


def wild_entry_of(entry: Entry, expectation: Expectation) -> Entry:
    """Turn the entry of a wild case into a sample: any expected end may come, and each end has one classification.

    A kind of attempt that was seen keeps its rule. One that is only expected has no rule: any that gives its code will
    do.
    """
    seen = {(one.ended, one.code): one.rule for one in entry.outcomes}
    kinds = {(one.ended, str(one.code or NONE)) for one in expectation.attempts}
    kinds |= set(seen)
    outcomes = tuple(sorted(AttemptKind("wild", *kind, seen.get(kind, ""), "") for kind in kinds))
    ends = tuple(dict.fromkeys(one.ended for one in expectation.attempts))
    return msgspec.structs.replace(entry, expected=ends, p0=None, digest=digest(outcomes), outcomes=outcomes, runs=())


def keep_unchanged(old: Entry | None, new: Entry) -> Entry:
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
