"""How many attempts a retry policy should allow, from what was counted. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from harness.experiments.attempts import all_fail, attempts_needed
from harness.experiments.groups import chance_of_likeness, design_effect, icc_bound, overdispersion
from harness.experiments.statistics import CONFIDENCE, NORMAL, clopper_pearson, lower_bound, upper_bound
from harness.experiments.tally import Chunk, Fate
from harness.wire.request import MAX_ATTEMPTS

if TYPE_CHECKING:
    from harness.experiments.tally import Tally

TARGET = 0.01
SUSPICIOUS = 0.05  # p-value below which likeness is spoken of
CERTAIN = 1e-4  # chance below which the advice rests on it
DRIFTS = 0.01  # p-value below which the advice rests on the latest trials
SHOWN_CAUSES = 3
FEWEST = 20  # groups below which nothing is said of likeness
_WOULD_TELL = NORMAL.inv_cdf(1 - CERTAIN) + NORMAL.inv_cdf(
    0.9
)  # Z with which likeness becomes certain, nine times in ten


class Likeness(StrEnum):
    """What is known of attempts that resemble each other."""

    UNSEEN = "no likeness seen"
    UNKNOWN = "too few trials to tell whether attempts resemble each other"
    SUSPECTED = "a suspicion that attempts resemble each other"
    CERTAIN = "attempts resemble each other"


class Advice(msgspec.Struct, frozen=True):
    """How many attempts bring P(run fails) to `target`, or as near as can be.

    `attempts` is None where nothing succeeded. `rate` is the upper 95 % bound of the share of attempts that fail and
    are retried, `icc` the correlation that was taken into account. `floor` is the share of runs that fail whatever
    max attempts is, since they end in what is never retried. `left` bounds P(run fails) with so many attempts (95 %),
    where `is_independent` says so only for attempts that are independent of each other. `worst` bounds it in any case:
    with the largest likeness that the trials leave possible.
    """

    target: float
    attempts: int | None
    rate: float
    icc: float
    floor: float
    left: float
    worst: float
    is_independent: bool
    text: str
    notes: tuple[str, ...] = ()


def likeness(tally: Tally) -> Likeness:
    """Say what twenty groups or more tell of likeness: certain below a chance of 1e-4, suspected at Tarone's 5 %."""
    if tally.groups.groups < FEWEST:
        return Likeness.UNKNOWN
    if chance_of_likeness(tally.groups) < CERTAIN:
        return Likeness.CERTAIN
    return Likeness.SUSPECTED if overdispersion(tally.groups).p_value < SUSPICIOUS else Likeness.UNSEEN


def advise(tally: Tally, target: float = TARGET, granted: int | None = None) -> Advice:
    """Recommend max attempts, from an upper bound of the failure rate: the rate itself would be too few.

    `granted` is how many attempts the policy in force allows; what it leaves is told too.

    A run ends with a success, with what is never retried, or with its last attempt. With s the share of successes, r
    of what is never retried and q of the rest, P(run fails) is (r + s q^k) / (r + s) after k attempts. The number
    never exceeds the engine's own cap of 250.
    """
    if tally.failures == tally.trials:
        return _hopeless(tally, target)
    seen, drifts = _seen(tally)
    alike = likeness(tally)
    independent, joint = (upper_bound(seen.failures - seen.finals, seen.trials), 0.0), _bounds(tally, seen)
    rate, icc = joint if alike is Likeness.CERTAIN else independent
    floor = seen.finals / (seen.finals + seen.trials - seen.failures)
    goal = target - floor if target > floor else target
    needed = attempts_needed(rate, goal, icc)
    attempts = min(needed or MAX_ATTEMPTS, MAX_ATTEMPTS)
    left, worst = (floor + (1 - floor) * all_fail(*bounds, attempts) for bounds in ((rate, icc), joint))
    found = Advice(target, attempts, rate, icc, floor, left, worst, alike is not Likeness.CERTAIN, "")
    policy = _notes_on_policy(granted, floor + (1 - floor) * all_fail(rate, icc, granted or 1))
    notes = (*_notes_on_likeness(tally, alike, found), *_notes_on_dialects(tally), *drifts, *policy)
    return msgspec.structs.replace(found, text=_text(tally, found, seen), notes=notes)


def _hopeless(tally: Tally, target: float) -> Advice:
    possible = 1 - lower_bound(tally.failures, tally.trials)
    text = (
        f"nothing shows that retrying helps: no success in {tally.trials}; a success rate up to {possible:.1%} is "
        "possible (95 %)"
    )
    return Advice(
        target, None, 1.0, 0.0, 0.0, 1.0, 1.0, is_independent=False, text=text, notes=tuple(_notes_on_dialects(tally))
    )


def _seen(tally: Tally) -> tuple[Chunk, tuple[str, ...]]:
    """Return the counts that hold for the time to come: the last quarter's, where the rate drifts."""
    drift = tally.drift
    last = tally.last_quarter()
    if drift.p_value >= DRIFTS or last.failures == last.trials:
        return Chunk(tally.trials, tally.failures, sum(tally.finals.values())), ()
    note = f"the failure rate drifts: this rests on the last {last.trials} trials, of which {last.failures} failed"
    return last, (note,)


def _bounds(tally: Tally, seen: Chunk) -> tuple[float, float]:
    """Return upper bounds of the rate of retried failures and of the ICC: 97.5 % each, 95 % together."""
    retried = seen.failures - seen.finals
    confidence = (1 + CONFIDENCE) / 2
    icc = icc_bound(tally.groups, confidence)
    worth = design_effect(tally.groups, icc)
    trials = max(1, round(seen.trials / worth))
    return upper_bound(min(round(retried / worth), trials), trials, confidence), icc


def _text(tally: Tally, found: Advice, seen: Chunk) -> str:
    because = f"at a rate of retried failures of at most {found.rate:.1%} (95 %)"
    if found.icc:
        because += f", for attempts that resemble each other (ICC at most {found.icc:.2f})"
    cap = ", the engine's own cap" if found.attempts == MAX_ATTEMPTS else ""
    if found.floor >= found.target:
        decided = seen.finals + seen.trials - seen.failures
        span = clopper_pearson(seen.finals, decided)
        rest = all_fail(found.rate, found.icc, found.attempts or 1)
        return (
            f"no number of attempts helps: {seen.finals / seen.trials:.0%} of attempts end in what this dialect never "
            f"retries ({_causes(tally)}), so {found.floor:.1%} of runs fail whatever max attempts is "
            f"(95 %: {span.low:.1%} to {span.high:.1%}); max attempts {found.attempts}{cap} leaves {rest:.2%} of the "
            f"others {because}"
        )
    return f"max attempts {found.attempts}{cap}: P(run fails) is {found.left:.2%} or less {because}"


def _causes(tally: Tally) -> str:
    """Name what is never retried, the most frequent first, with what would help."""
    hints = {
        Fate.FINAL: "",
        Fate.TIME_OUT: ", a time-out: a longer deadline may help",
        Fate.OUT_OF_MEMORY: ", out of memory: a policy that names a larger machine may help",
    }
    most = tally.finals.most_common(SHOWN_CAUSES)
    return "; ".join(f"{ended} {count / tally.trials:.0%}{hints[fate]}" for (fate, ended), count in most)


def _notes_on_likeness(tally: Tally, alike: Likeness, found: Advice) -> list[str]:
    if alike is Likeness.UNSEEN:
        possible = f"{found.worst:.2%} with the largest likeness that these trials leave possible"
        return [f"for independent attempts, as these seem to be; at most {possible} (95 %)"]
    if alike is Likeness.UNKNOWN:
        more = FEWEST * 10 - tally.trials
        return [f"this is no 95 % bound: {alike}; {max(more, 10)} more trials would tell"]
    if alike is Likeness.SUSPECTED:
        chance = overdispersion(tally.groups)
        needed = max(tally.trials * ((_WOULD_TELL / chance.z) ** 2 - 1), 100)
        note = f"{alike} (p {chance.p_value:.2g}, ICC {chance.icc:.2f}); {needed:.0f} more trials would tell"
        return [f"this is the number for independent attempts and no 95 % bound: {note}"]
    return []


def _notes_on_policy(granted: int | None, left: float) -> list[str]:
    """Say what the policy in force leaves; without one there is a single attempt, of which the rate says all."""
    if granted is None or granted < 2:  # noqa: PLR2004 -- that is no retry
        return []
    return [f"the policy in force allows {granted} attempts: P(run fails) is {left:.2%} or less"]


def _notes_on_dialects(tally: Tally) -> list[str]:
    """Name the dialects that would retry a good part of what this one never retries."""
    finals = sum(tally.finals.values())
    better = sorted((fewer, name) for name, fewer in tally.finals_elsewhere.items() if 2 * -fewer >= finals > 0)
    here = f"{finals / tally.trials:.0%}"
    return [
        f"under {name}, {(finals + fewer) / tally.trials:.0%} of attempts are final, not {here}"
        for fewer, name in better
    ]
