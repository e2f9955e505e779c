"""Fresh seeds in two stages: what raises an alarm, what confirms it, and how rarely an unchanged case is red."""

import random
from collections import Counter

import pytest
from test_baseline import entry_of

from harness.experiments.sequential import SequentialTest, fixed_trials
from harness.experiments.tally import Tally, TrialKind
from harness.gate.baseline import Entry
from harness.gate.nights import ALIKE_TRIALS, alarm, conclude, first_watch, second_watch, strangers, trouble
from harness.scenarios.verdict import Judgement, Verdict

GROUP = 10


def fire(watch_reason: object, draw: random.Random, rate: float, icc: float = 0.0) -> Tally:
    """Count groups of trials at a rate until the watch says stop; with an ICC, each group has a rate of its own."""
    tally = Tally()
    mass = (1 - icc) / icc if icc else 0.0
    while not watch_reason(tally, 0.0):  # type: ignore[operator]  # a bound method
        own = draw.betavariate(rate * mass, (1 - rate) * mass) if icc else rate
        failures = sum(draw.random() < own for _ in range(GROUP))
        tally.trials, tally.failures = tally.trials + GROUP, tally.failures + failures
        tally.groups = tally.groups.plus(GROUP, failures)
    return tally


def night(entry: Entry, draw: random.Random, rate: float, icc: float = 0.0) -> tuple[Judgement, int]:
    """One night of a case at a true rate, and how many trials it took."""
    watch = first_watch(entry)
    first = fire(watch.reason, draw, rate, icc)
    found = alarm(watch, first)
    if found is None:
        return conclude(watch, first), first.trials
    confirming = second_watch(found)
    second = fire(confirming.reason, draw, rate, icc)
    return conclude(watch, first, confirming, second), first.trials + second.trials


def nights(rate: float, count: int, icc: float = 0.0, dose: float = 0.3) -> tuple[Counter[Verdict], float]:
    """Verdicts of so many nights, and their mean trials."""
    draw, entry = random.Random(7), entry_of(dose)
    judged = [night(entry, draw, rate, icc) for _ in range(count)]
    return Counter(one.verdict for one, _ in judged), sum(trials for _, trials in judged) / count


@pytest.mark.slow
@pytest.mark.parametrize("dose", [0.3, 0.5])
def test_an_unchanged_case_is_not_red(dose: float) -> None:
    """Of 2,000 nights none fails, at about 138 trials a night."""
    verdicts, trials = nights(dose, 2000, dose=dose)
    assert verdicts[Verdict.FAIL] == 0
    assert verdicts[Verdict.PASS] >= 1995
    assert 60 < trials < 200


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(("rate", "words"), [(0.45, "regressed"), (0.15, "dropped (is the injector broken?)")])
def test_a_shift_is_found(rate: float, words: str) -> None:
    """.30 to .45, or to .15, is a confirmed FAIL on at least 93 of 100 nights, each stage within 3 fixed sizes."""
    verdicts, trials = nights(rate, 200)
    assert verdicts[Verdict.FAIL] >= 186
    entry = entry_of(0.3)
    assert entry.cap is not None
    assert entry.cap <= 3 * max(fixed_trials(0.15, 0.3, 0.01, 0.05), fixed_trials(0.3, 0.45, 0.01, 0.05))
    assert trials < entry.cap
    judgement, _ = night(entry, random.Random(1), rate)
    assert judgement.reasons[0].startswith(words)
    assert judgement.reasons[-1].startswith("confirmed by fresh seeds")


@pytest.mark.slow
def test_attempts_that_resemble_each_other_are_found() -> None:
    """At the design's rate, but with an ICC of .5, three nights of five are red, whichever test says so."""
    verdicts, _ = nights(0.3, 100, icc=0.5)
    assert verdicts[Verdict.FAIL] >= 60


def tally(failures: int, trials: int) -> Tally:
    """Counts, spread evenly."""
    made = Tally(trials=trials, failures=failures)
    for index in range(trials // GROUP):
        share = failures * (index + 1) * GROUP // trials - failures * index * GROUP // trials
        made.groups = made.groups.plus(GROUP, share)
    return made


def test_what_confirmation_takes_back_is_noted() -> None:
    """An alarm that fresh seeds do not repeat is a PASS that says so."""
    watch = first_watch(entry_of(0.3))
    first = tally(60, 100)
    found = alarm(watch, first)
    assert found is not None
    judgement = conclude(watch, first, second_watch(found), tally(300, 1000))
    assert judgement.verdict is Verdict.PASS
    assert judgement.reasons[0].startswith("noted: regressed: 60 of 100 failed")


def test_undecided_is_unknown() -> None:
    """At the cap without an answer: neither PASS nor FAIL, in either stage."""
    watch = first_watch(entry_of(0.3))
    middle = tally(180, 480)
    assert alarm(watch, middle) is None
    assert conclude(watch, middle).verdict is Verdict.UNKNOWN
    first = tally(60, 100)
    found = alarm(watch, first)
    assert found is not None
    assert conclude(watch, first, second_watch(found), middle).verdict is Verdict.UNKNOWN


def test_the_watch_gives_up_at_its_cap() -> None:
    """No group is fired beyond it."""
    watch = first_watch(entry_of(0.3))
    assert watch.reason(tally(180, 480), 0.0) is None
    assert (watch.reason(tally(37 * watch.most // 100, watch.most), 0.0) or "").startswith("undecided after")


def test_likeness_is_confirmed_on_a_hundred_groups() -> None:
    """Tarone's Z on a few groups is no proof; the second stage fires 100."""
    alike = Tally(trials=100, failures=30)
    for failures in (10, 10, 10, 0, 0, 0, 0, 0, 0, 0):
        alike.groups = alike.groups.plus(GROUP, failures)
    found = alarm(first_watch(entry_of(0.3)), alike)
    assert found is not None
    assert found.alike
    confirming = second_watch(found)
    assert confirming.reason(tally(30, 100), 0.0) is None
    assert confirming.reason(tally(300, ALIKE_TRIALS), 0.0) is not None
    watch = first_watch(entry_of(0.3))
    assert conclude(watch, alike, confirming, tally(300, ALIKE_TRIALS)).verdict is Verdict.PASS


def test_confirmation_is_stricter() -> None:
    """Alpha .01 raises the alarm, .001 confirms it."""
    watch = first_watch(entry_of(0.3))
    found = alarm(watch, tally(60, 100))
    assert found is not None
    assert [one.alpha for one in watch.tests] == [0.01, 0.01]
    assert second_watch(found).tests == (SequentialTest(0.3, 0.45, 0.001, 0.05),)


def test_a_kind_that_the_baseline_does_not_have_is_a_stranger() -> None:
    """A safe attempt that crashes, a crash that is called otherwise."""
    counts = Tally()
    counts.outcomes[TrialKind("forced", "SIGSEGV", "TASK_PROCESS_SIGSEGV", "", "")] = 3
    assert strangers(entry_of(0.3), counts) == []
    counts.outcomes[TrialKind("safe", "SIGSEGV", "TASK_PROCESS_SIGSEGV", "", "")] = 1
    counts.outcomes[TrialKind("forced", "SIGSEGV", "OTHER", "", "")] = 1
    assert len(strangers(entry_of(0.3), counts)) == 2
    assert trouble(entry_of(0.3), counts) == []
    counts.outcomes[TrialKind("forced", "did not fire", "", "", "")] = 2
    assert trouble(entry_of(0.3), counts) == ["did not fire, 2 times"]
