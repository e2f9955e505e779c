"""What the numbers of an experiment are worth when attempts resemble each other, by simulations of known truth."""

import math
import random as plain

import numpy as np
import pytest
from scipy import stats
from simulations import Counts, alike, chain, chains, coverage, in_groups, paired, series, sums, tallied
from vectorised import levels, p_values

from harness.experiments.advice import TARGET, Likeness, advise, likeness
from harness.experiments.attempts import all_fail
from harness.experiments.findings import Finding, differ, find
from harness.experiments.groups import Sums, grouped_interval
from harness.experiments.paired import Comparison, Method, holm, real_level
from harness.experiments.series import Series, slope_test
from harness.experiments.statistics import wilson
from harness.experiments.stopping import Stopping
from harness.experiments.tally import GROUP, Chunk, Fate, Tally, Trial
from harness.report.experiment import difference_lines
from harness.wire.request import MAX_ATTEMPTS

TIMES = 400
NOISE = 3 * math.sqrt(0.05 * 0.95 / TIMES)  # three standard errors of a simulated 5 %
ICCS = (0.0, 0.05, 0.2, 0.45)


@pytest.fixture
def random() -> np.random.Generator:
    """The same draws every time."""
    return np.random.default_rng(20)


def test_a_series_is_what_numpy_makes_of_all_its_numbers(random: np.random.Generator) -> None:
    """Slope, its p-value, and the lag-1 correlation of what the line leaves, from sums alone."""
    for length in (3, 4, 50, 400):
        values = random.integers(0, 11, length) + np.arange(length) // 7
        made, line = series(values), stats.linregress(np.arange(length), values)
        left = values - line.intercept - line.slope * np.arange(length)
        assert made.slope == pytest.approx(line.slope)
        assert slope_test(made).p_value == pytest.approx(line.pvalue)
        assert made.lag == pytest.approx((left[1:] * left[:-1]).sum() / (left * left).sum(), abs=1e-9)


def test_a_straight_line_or_a_constant_has_no_memory() -> None:
    """What rounding leaves of nothing is not taken for a correlation."""
    for values in ([3] * 20, list(range(20)), [5, 5], []):
        made = Series()
        for value in values:
            made = made.plus(value)
        assert made.lag == 0


def test_groups_may_be_counted_in_any_order() -> None:
    """The sums are exact, so a million groups from many machines give one answer."""
    draw = plain.Random(1)
    groups = [(size, draw.randint(0, size)) for size in (draw.randint(1, 10) for _ in range(300))]
    forth, back = Sums(), Sums()
    for group in groups:
        forth = forth.plus(*group)
    for group in reversed(groups):
        back = back.plus(*group)
    assert forth == back
    assert grouped_interval(forth) == grouped_interval(back)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [20, 100])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_interval_covers_what_it_says(random: np.random.Generator, groups: int, p: float) -> None:
    """At least .93 at every ICC from 0 to .45 (the true figures are in docs/statistics.md)."""
    for icc in ICCS:
        covered, _ = coverage(random, groups, p, icc, TIMES)
        assert covered >= 0.93 - NOISE / 3, icc


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "most"), [(20, 1.4), (100, 1.15)])
def test_independent_trials_pay_little(random: np.random.Generator, groups: int, most: float) -> None:
    """The interval is at most 40 % wider than Wilson's at 200 trials, and 15 % at 1,000."""
    for p in (0.1, 0.3, 0.5, 0.9):
        _, width = coverage(random, groups, p, 0, 100)
        trials = groups * GROUP
        assert width / (2 * wilson(round(p * trials), trials).half_width) <= most


def test_too_few_groups_have_the_exact_interval() -> None:
    """Nothing can be told of likeness in seven trials."""
    few = Sums().plus(7, 2)
    assert grouped_interval(few).low == pytest.approx(stats.binomtest(2, 7).proportion_ci().low)
    assert grouped_interval(Sums()) == (0, 1)


def level(pairs: list[tuple[Counts, Counts]]) -> float:
    """How often two variants are said to differ."""
    return sum(paired(*pair).compare().p_value < 0.05 for pair in pairs) / len(pairs)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [20, 100])
@pytest.mark.parametrize("icc", ICCS)
def test_equal_variants_are_told_apart_in_one_case_of_twenty(
    random: np.random.Generator, groups: int, icc: float
) -> None:
    """At most one in twenty at every ICC, within the noise of so few simulations (docs/statistics.md has more)."""
    assert (
        level([(alike(random, groups, 0.3, icc), alike(random, groups, 0.3, icc)) for _ in range(TIMES)])
        <= 0.05 + NOISE
    )


@pytest.mark.slow
@pytest.mark.parametrize("files", [1, 2])
def test_memory_beyond_a_group_is_no_difference(random: np.random.Generator, files: int) -> None:
    """At most 6 % with a chain that keeps its state nine times in ten, one for both variants or one each."""
    assert level([chains(random, 100, files) for _ in range(TIMES)]) <= 0.05 + NOISE


def cochran(first: Counts, second: Counts) -> float:
    """P-value of Cochran, Mantel and Haenszel on blocks of a hundred, which takes trials as independent."""
    one, two = (side.reshape(-1, 10).sum(axis=1) for side in (first, second))
    both = one + two
    variance = (both * (200 - both) / (4 * 199)).sum()
    return math.erfc(abs((one - both / 2).sum()) / math.sqrt(2 * variance))


@pytest.mark.slow
def test_a_difference_is_found_nearly_as_often_as_by_a_test_for_independent_trials(random: np.random.Generator) -> None:
    """Power of .8 and more where Cochran, Mantel and Haenszel have .87."""
    pairs = [(alike(random, 100, 0.3, 0), alike(random, 100, 0.366, 0)) for _ in range(TIMES)]
    theirs = sum(cochran(*pair) < 0.05 for pair in pairs) / TIMES
    assert theirs == pytest.approx(0.87, abs=0.06)
    assert level(pairs) >= 0.8


def test_the_comparison_says_which_test_it_was(random: np.random.Generator) -> None:
    """Groups, blocks where memory outlasts a group, and no test where there is too little."""
    assert paired(alike(random, 50, 0.3, 0.2), alike(random, 50, 0.3, 0.2)).compare().method is Method.GROUPS
    assert paired(*chains(random, 100, 2)).compare().method is Method.BLOCKS
    assert paired(*chains(random, 20, 1)).compare()[:2] == (Method.MEMORY, 1.0)
    assert paired([5] * 4, [0] * 4).compare()[:2] == (Method.TOO_FEW, 1.0)


def test_many_at_once_are_the_same_comparisons(random: np.random.Generator) -> None:
    """What the tables simulate by numpy is what an experiment computes, whichever test it chooses."""
    for groups in (4, 5, 12, 20, 53, 100):
        for pair in (
            (alike(random, groups, 0.3, 0.2), alike(random, groups, 0.4, 0.2)),
            chains(random, groups, 1),
            chains(random, groups, 2),
        ):
            many = p_values(pair[0][None], pair[1][None])
            assert many[0] == pytest.approx(paired(*pair).compare().p_value, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [5, 10, 15, 20, 25, 30, 60])
def test_the_level_that_is_told_is_the_real_one(random: np.random.Generator, groups: int) -> None:
    """No equal variants differ more often than is said; and some do, where more than 6 % is said."""
    error = math.sqrt(0.25 / 4000)
    seen = [level for p in (0.1, 0.3, 0.5) for level in levels(random, 4000, groups, p, (0.0, 0.45))]
    told = real_level(groups * GROUP)
    assert max(seen) <= told + error
    assert told <= 0.06 or max(seen) > 0.06


def test_a_level_is_told_below_a_thousand_trials() -> None:
    """On the terminal where it is not what is to be expected, and as data always."""
    few, enough = (differ([(*findings_of(groups), TESTED)])[0] for groups in (20, 100))
    assert (few.trials, few.level, enough.trials, enough.level) == (200, 0.1, 1000, 0.06)
    assert any(
        "with 200 trials each, equal variants differ in up to 10% of cases" in line for line in difference_lines(few)
    )
    assert not any("equal variants" in line for line in difference_lines(enough))


TESTED = Comparison(Method.GROUPS, 0.5, 1.0)


def findings_of(groups: int) -> tuple[Finding, Finding]:
    """Two equal variants."""
    return find("a", tallied(np.full(groups, 3))), find("b", tallied(np.full(groups, 3)))


def test_odds_and_rates_go_the_same_way_round() -> None:
    """The second variant's against the first's: more failures, and odds above one."""
    assert paired([2] * 20, [4] * 20).compare().odds_ratio == pytest.approx((4 * 8) / (2 * 6))


def test_many_comparisons_are_paid_for() -> None:
    """Holm's: the least p-value times the number of comparisons, the next times one less, never falling."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


def drifting(random: np.random.Generator, low: float, high: float, icc: float) -> float:
    """How often drift is named in a thousand trials."""
    courses = (alike(random, 100, np.linspace(low, high, 100), icc) for _ in range(200))
    return sum(tallied(course).drift.p_value < 0.05 for course in courses) / 200


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("icc", [0.0, 0.45])
def test_drift_is_named_and_likeness_is_not(random: np.random.Generator, icc: float) -> None:
    """At most 6 % without drift; .2 to .4 is found nine times in ten without likeness, .1 to .5 with it too."""
    slack = 3 * math.sqrt(0.05 * 0.95 / 200)
    assert drifting(random, 0.3, 0.3, icc) <= 0.05 + slack
    assert drifting(random, 0.1, 0.5, icc) >= 0.9
    if icc == 0:
        assert drifting(random, 0.2, 0.4, icc) >= 0.9


@pytest.mark.slow
def test_memory_is_not_called_drift(random: np.random.Generator) -> None:
    """The chain comes and goes, and goes nowhere."""
    named = sum(tallied(in_groups(chain(random, 1000))).drift.p_value < 0.05 for _ in range(200))
    assert named / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_the_advice_rests_on_what_holds_now(random: np.random.Generator) -> None:
    """Where the rate drifts, the last quarter's counts."""
    tally = tallied(alike(random, 200, np.linspace(0.1, 0.6, 200), 0))
    found = advise(tally)
    assert found.rate > 0.5
    assert any("drifts" in note for note in found.notes)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("icc", [0.0, 0.05, 0.2, 0.45])
def test_an_advice_promises_what_holds(random: np.random.Generator, icc: float) -> None:
    """What is left is more than its worst case, or than it says without independence, in at most one of twenty."""
    found = [advise(tallied(alike(random, groups, 0.3, icc))) for groups in (20, 100) for _ in range(60)]
    true = {one.attempts: all_fail(0.3, icc, one.attempts or 0) for one in found}
    slack = 3 * math.sqrt(0.05 * 0.95 / len(found))
    assert sum(true[one.attempts] > one.worst for one in found) / len(found) <= 0.05 + slack
    broken = [one for one in found if true[one.attempts] > one.left and not (one.is_independent and icc)]
    assert len(broken) / len(found) <= 0.05 + slack


@pytest.mark.long
@pytest.mark.slow
def test_independent_crashes_are_not_punished(random: np.random.Generator) -> None:
    """A fair coin's advice stays a fair coin's, also where chance looks like likeness, and says that it suspects."""
    found = [advise(tallied(alike(random, groups, 0.5, 0))) for groups in (20, 100) for _ in range(100)]
    assert max(one.attempts or 0 for one in found) <= 20
    suspicious = [one for one in found if "no 95 % bound" in one.notes[0]]
    assert 0 < len(suspicious) < 30
    assert all("more trials would tell" in one.notes[0] for one in suspicious)


def test_few_trials_are_no_bound(random: np.random.Generator) -> None:
    """Below twenty groups nothing is said of likeness, and the advice says so."""
    tally = tallied(alike(random, 10, 0.3, 0))
    assert likeness(tally) is Likeness.UNKNOWN
    assert "no 95 % bound" in advise(tally).notes[0]
    assert "100 more trials would tell" in advise(tally).notes[0]


def ends(successes: int, retried: int, final: int, fate: Fate = Fate.FINAL) -> Tally:
    """A tally with these ends, well mixed."""
    kinds = [None] * successes + [Fate.RETRIED] * retried + [fate] * final
    plain.Random(3).shuffle(kinds)
    made = Tally()
    for start in range(0, len(kinds), GROUP):
        made.add([_ended(start + at, kind) for at, kind in enumerate(kinds[start : start + GROUP])])
    made.close()
    return made


def _ended(at: int, kind: Fate | None) -> Trial:
    ended = "exited 0" if kind is None else "SIGSEGV" if kind is Fate.RETRIED else "SIGABRT"
    elsewhere = {"strict": Fate.RETRIED} if kind is Fate.FINAL else {}
    group = at // GROUP
    seen = (None, ended, kind is not None, None if kind is None else "CODE", "", "", None)
    return Trial("v", at + 1, group, group // GROUP, 0, *seen, fate=kind or Fate.SUCCEEDED, fates_elsewhere=elsewhere)


def test_no_number_of_attempts_helps_against_what_is_never_retried() -> None:
    """With r of final ends and s of successes, r / (r + s) of the runs fail; another dialect that retries is named."""
    found = advise(ends(140, 0, 60))
    assert found.floor == pytest.approx(0.3)
    assert found.left >= 0.3
    assert (
        "no number of attempts helps: 30% of attempts end in what this dialect never retries (SIGABRT 30%)"
        in found.text
    )
    assert any(note.startswith("under strict, 0% of attempts are final, not 30%") for note in found.notes)


def test_the_floor_counts_only_runs_that_are_decided() -> None:
    """A retried crash goes round again: r / (r + s), not r."""
    assert advise(ends(100, 60, 40)).floor == pytest.approx(40 / 140)


@pytest.mark.parametrize(("fate", "word"), [(Fate.TIME_OUT, "longer deadline"), (Fate.OUT_OF_MEMORY, "larger machine")])
def test_what_a_setting_may_cure_is_told_apart(fate: Fate, word: str) -> None:
    """A time-out and an OOM are not called crashes."""
    assert word in advise(ends(150, 0, 50, fate)).text


def test_the_advice_never_exceeds_the_engines_cap() -> None:
    """At 99 % failures 250 attempts are advised, with what they leave."""
    found = advise(ends(3, 297, 0))
    assert found.attempts == MAX_ATTEMPTS
    assert found.left > TARGET
    assert "the engine's own cap" in found.text


def test_the_last_quarter_is_a_quarter() -> None:
    """Chunks are put together as they grow many, and the latest are still a quarter of the trials."""
    tally = Tally()
    for group in range(1000):
        tally.add([_ended(group * GROUP + at, Fate.RETRIED if group >= 750 else None) for at in range(GROUP)])
    last = tally.last_quarter()
    assert len(tally.chunks) <= 400
    assert 2500 <= last.trials <= 2600
    assert last.failures == 2500
    assert isinstance(last, Chunk)


def test_every_rule_that_counts_shows_what_is_left() -> None:
    """Trials, a width, a sequential test (its mean, not its cap) and a time."""
    from harness.experiments.sequential import SequentialTest  # noqa: PLC0415 -- for this test alone

    tally = ends(150, 50, 0)
    assert Stopping(trials=300).trials_left(tally) == 100
    wide = Stopping(width=grouped_interval(tally.units).half_width / 2).trials_left(tally)
    assert wide == pytest.approx(3 * 200)
    test = SequentialTest(0.24, 0.3)
    left = Stopping(sequential=test).trials_left(tally)
    assert left is not None
    assert 0 < left < test.cap() - 200
    assert Stopping(time_s=60).seconds_left(tally, 20) == 40


def test_the_interval_by_groups_is_between_its_neighbours() -> None:
    """Wider than Wilson's of as many trials, narrower than one with a trial a group."""
    found = grouped_interval(sums(np.array([0, 10] * 10)))
    assert wilson(100, 200).half_width < found.half_width
    assert found.half_width < wilson(5, 10).half_width
