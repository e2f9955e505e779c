"""Fresh seeds: does a dosed case still fail as often as it was designed to? Counts in, verdict out. Pure.

Two stages. Wald's test on either side of the design's rate, alpha .01, which gives up at three times the fixed size;
what raises an alarm is tried again with seeds of its own at alpha .001, and only that can fail. Attempts that resemble
each other (Tarone's Z) raise an alarm likewise, and are confirmed on 100 groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.experiments.groups import overdispersion
from harness.experiments.sequential import SequentialTest
from harness.experiments.stopping import Stopping
from harness.gate.baseline import NONE
from harness.scenarios.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from harness.experiments.tally import Tally
    from harness.gate.baseline import Entry

CONFIRMING = 0.001
TOO_ALIKE = 3.0
ALIKE_TRIALS = 1000  # 100 groups of 10


class Watch(Stopping, frozen=True):
    """Stops when each test has decided for the design's rate, or one against it; at `most` trials without an answer.

    `least` trials are fired whatever the tests say.
    """

    tests: tuple[SequentialTest, ...] = ()
    most: int = 0
    least: int = 0

    def reason(self, tally: Tally, elapsed_s: float) -> str | None:  # noqa: ARG002 -- time has no say in it
        """Say why to stop, or None."""
        if tally.trials < self.least:
            return None
        answers = {test.decide(tally.failures, tally.trials) for test in self.tests}
        if "p1" in answers:
            return "decided against the design's rate"
        if answers <= {"p0"}:
            return "decided for the design's rate"
        return f"undecided after {tally.trials} trials" if tally.trials >= self.most else None

    def most_trials(self) -> int:
        """Return how many trials it may take."""
        return max(self.most, self.least)


class Alarm(msgspec.Struct, frozen=True):
    """What a stage holds against a case, in words; the tests that decided against it; whether attempts are alike."""

    words: tuple[str, ...]
    tests: tuple[SequentialTest, ...]
    alike: bool


def first_watch(entry: Entry) -> Watch:
    """Return what the first stage looks for; without rates to be noticed, 100 groups are enough."""
    tests = tuple(entry.tests())
    return Watch(tests=tests, most=entry.cap or ALIKE_TRIALS, least=0 if tests else ALIKE_TRIALS)


def second_watch(alarm: Alarm) -> Watch:
    """Return what the confirmation looks for: the same, with fewer false alarms."""
    tests = tuple(SequentialTest(one.p0, one.p1, CONFIRMING, one.beta) for one in alarm.tests)
    return Watch(
        tests=tests, most=max((one.cap() for one in tests), default=0), least=ALIKE_TRIALS if alarm.alike else 0
    )


def alarm(watch: Watch, tally: Tally) -> Alarm | None:
    """Return what the counts of a stage hold against the case, or None."""
    tests = tuple(one for one in watch.tests if one.decide(tally.failures, tally.trials) == "p1")
    z = overdispersion(tally.groups).z
    words = [_against(one, tally) for one in tests]
    if z > TOO_ALIKE:
        words.append(f"attempts of one group resemble each other: Tarone's Z {z:.1f}")
    return Alarm(tuple(words), tests, z > TOO_ALIKE) if words else None


def _against(test: SequentialTest, tally: Tally) -> str:
    what = "regressed" if test.p1 > test.p0 else "dropped (is the injector broken?)"
    return f"{what}: {tally.failures} of {tally.trials} failed, as at {test.p1:g} and not as at {test.p0:g}"


def is_undecided(watch: Watch, tally: Tally) -> bool:
    """Whether some test has no answer."""
    return any(one.decide(tally.failures, tally.trials) is None for one in watch.tests)


def strangers(entry: Entry, tally: Tally) -> list[str]:
    """Kinds of attempts that the baseline does not have: another end, or another code for the same end."""
    known = {(one.injected, one.ended, one.code) for one in entry.outcomes}
    return [
        f"{one.ended} ({one.injected}) called {one.code or NONE}, {count} times: no such attempt in the baseline"
        for one, count in sorted(tally.outcomes.items())
        if (one.injected or NONE, one.ended, one.code or NONE) not in known
    ]


def trouble(entry: Entry, tally: Tally) -> list[str]:
    """Trials that prove nothing: the fault did not fire, or SIGKILL came where only the deadline sends one."""
    lost = {"did not fire", "SIGKILL"} - set(entry.expected)
    return [f"{one.ended}, {count} times" for one, count in sorted(tally.outcomes.items()) if one.ended in lost]


def conclude(watch: Watch, first: Tally, confirming: Watch | None = None, second: Tally | None = None) -> Judgement:
    """Judge a night: by its first stage where that raised no alarm, by both stages where it did.

    An alarm that the second stage does not confirm is a PASS whose reasons name the alarm.
    """
    before = alarm(watch, first)
    if before is None or confirming is None or second is None:
        return _open(watch, first) or Judgement(Verdict.PASS)
    after = alarm(confirming, second)
    if after and _confirms(before, after):
        return Judgement(Verdict.FAIL, (*before.words, *(f"confirmed by fresh seeds: {one}" for one in after.words)))
    noted = tuple(f"noted: {one}; fresh seeds say otherwise" for one in before.words)
    undecided = _open(confirming, second)
    return (
        Judgement(undecided.verdict, (*before.words, *undecided.reasons))
        if undecided
        else Judgement(Verdict.PASS, noted)
    )


def _confirms(before: Alarm, after: Alarm) -> bool:
    """Whether the second stage found what the first one did: a rate too far to the same side, or alike attempts."""
    return bool(after.tests) or (before.alike and after.alike)


def _open(watch: Watch, tally: Tally) -> Judgement | None:
    if not is_undecided(watch, tally):
        return None
    return Judgement(Verdict.UNKNOWN, (f"undecided after {tally.trials} trials, {tally.failures} of them failed",))
