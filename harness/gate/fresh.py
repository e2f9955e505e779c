"""Fires fresh trials of dosed cases until their failure rates are decided on: what `gate check --fresh-seeds` adds."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from harness.experiments.conduct import INTERRUPTED, Progress, conduct
from harness.experiments.variant import Experiment, Variant
from harness.gate.check import CaseFinding
from harness.gate.live import Interrupted
from harness.gate.nights import alarm, conclude, first_watch, second_watch, strangers, trouble
from harness.scenarios.campaign import title_of
from harness.scenarios.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.evidence import Start
    from harness.experiments.tally import Tally
    from harness.gate.baseline import Baseline, Entry
    from harness.gate.live import CaseRunner, Pair
    from harness.gate.nights import Watch

SEED_BYTES = 4


def fresh_seed(base: int, title: str, stage: int) -> int:
    """Return the seed of a stage of a case. Each stage has another one, so that alarms are independent."""
    named = hashlib.blake2b(f"{base}/{title}/{stage}".encode(), digest_size=SEED_BYTES)
    return int.from_bytes(named.digest(), "big")


class FreshSeeds(NamedTuple):
    """Fires fresh trials of dosed cases. All seeds are drawn from `base`; `observe` gets each new count of trials."""

    runner: CaseRunner
    base: int
    observe: Callable[[int], object]

    def check(self, entry: Entry, pair: Pair) -> CaseFinding:
        """Fire trials of a dosed case until its failure rate is decided on. Raises Interrupted."""
        watch = first_watch(entry)
        first = self._fire(watch, pair, 1)
        judgement, trials, failures = self._at_once(entry, first), first.trials, first.failures
        if judgement is None:
            found = alarm(watch, first)
            confirming = second_watch(found) if found else None
            second = self._fire(confirming, pair, 2) if confirming else None
            judgement = conclude(watch, first, confirming, second)
            trials, failures = (trials + second.trials, failures + second.failures) if second else (trials, failures)
        return CaseFinding(f"{entry.id} fresh", entry.tier, judgement, trials, failures, self.base)

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
        variant = Variant(title, self.runner.dialect.name, seed, case, host="native", start=cast("Start", start))
        experiment = Experiment(title, (variant,), watch, self.runner.jobs)
        progress = Progress.begin(experiment)
        tally = progress.tallies[title]
        dialects = {variant.dialect: self.runner.guarded}
        conduct(experiment, progress, None, lambda _: self.observe(tally.trials), dialects)
        if progress.ended == INTERRUPTED:
            raise Interrupted
        return tally


def check_fresh(
    baseline: Baseline,
    pairs: Mapping[str, Pair],
    runner: CaseRunner,
    seed: int | None,
    observe: Callable[[Entry, int], object],
) -> list[CaseFinding]:
    """Check every dosed case by fresh trials; `observe` gets each new count of them. Raises Interrupted.

    Without a seed, one is drawn; the findings have it.
    """
    base = int.from_bytes(os.urandom(SEED_BYTES), "big") if seed is None else seed
    dosed = [entry for entry in baseline.case if entry.tier == "dosed" and entry.id in pairs]
    return [
        FreshSeeds(runner, base, partial(observe, entry)).check(entry, pairs[entry.id])
        for entry in dosed
        if pairs[entry.id][1].victim.tier == "dosed"
    ]
