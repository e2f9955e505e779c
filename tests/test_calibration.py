"""Calibration: the search, with scripted rates; and one real race."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from harness.exceptions import InvalidInputError
from harness.experiments import calibration
from harness.experiments.calibration import LARGEST, Tried, calibrate, settled, variant
from harness.experiments.findings import Finding
from harness.experiments.findings import find as find_rate
from harness.experiments.tally import Tally
from harness.faults.catalogue import find

RACE = find("torn_publish")


def side_of(rate: Callable[[int], float], target: float) -> Callable[[int], int]:
    """A dial whose rate is known: a setting is taken within two points of the target."""
    return lambda setting: 0 if abs(rate(setting) - target) < 0.02 else -1 if rate(setting) < target else 1


@pytest.mark.parametrize("target", [0.05, 0.3, 0.5, 0.95])
def test_the_search_finds_the_setting(target: float) -> None:
    """On a dial that rises with its setting, over seven decades."""

    def rate(setting: int) -> float:
        return setting / (setting + 40_000)

    found = calibration._search(side_of(rate, target), "race", target)
    assert rate(found) == pytest.approx(target, abs=0.02)


def test_a_rate_that_moves_is_followed() -> None:
    """The dial shifts by a factor of ten in the middle of the search, which opens its range again."""
    asked: list[int] = []

    def side(setting: int) -> int:
        asked.append(setting)
        scale = 40_000 if len(asked) < 8 else 400_000
        rate = setting / (setting + scale)
        return 0 if abs(rate - 0.3) < 0.02 else -1 if rate < 0.3 else 1

    found = calibration._search(side, "race", 0.3)
    assert found / (found + 400_000) == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(("rate", "word"), [(0.0, "rarely"), (1.0, "often")])
def test_a_rate_out_of_reach_is_said(rate: float, word: str) -> None:
    """One sentence instead of a setting."""
    with pytest.raises(InvalidInputError, match=f"too {word}"):
        calibration._search(side_of(lambda _: rate, 0.3), "race", 0.3)


def test_a_rate_that_never_holds_still_is_said() -> None:
    """After sixty settings."""
    turns = iter([-1, 1] + [-1] * 100)
    with pytest.raises(InvalidInputError, match="does not hold still"):
        calibration._search(lambda _: next(turns), "race", 0.3)


def test_a_setting_is_left_as_soon_as_it_is_clear() -> None:
    """Sides are taken at 99 %."""
    assert [Tried(1, 10, 0).side(0.3), Tried(1, 20, 0).side(0.3), Tried(1, 10, 10).side(0.3)] == [0, -1, 1]
    assert variant("torn_publish", 5, "native", "warm").is_wild


@pytest.mark.long
@pytest.mark.slow
def test_a_real_race_has_a_setting() -> None:
    """It ends, below the largest, with a rate that is neither 0 nor 1."""
    seen: list[Tried] = []
    found = calibrate(RACE, 0.3, "native", "warm", seen.append)
    assert 0 < found.setting < LARGEST
    assert 0 < found.finding.failures < found.finding.trials
    assert list(found.tried) == seen


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["null_read"], "it has no dial"),
        (["torn_publish", "--target", "1"], "between 0 and 1"),
        (["nothing"], "no fault"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], message: str) -> None:
    """Exit code 2."""
    command = [sys.executable, "-m", "harness", "calibrate", *arguments]
    ran = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert (ran.returncode, "Traceback" in ran.stderr) == (2, False)
    assert message in ran.stderr
    assert json.dumps(ran.stdout) == '""'


def finding_of(failures: int) -> Finding:
    """So many of 500 trials failed, evenly over the groups."""
    tally = Tally()
    for group in range(50):
        failed = failures * (group + 1) // 50 - failures * group // 50
        tally.groups = tally.groups.plus(10, failed)
        tally.trials, tally.failures = tally.trials + 10, tally.failures + failed
    return find_rate("at", tally)


def test_a_measurement_that_refutes_its_setting_begins_another_round() -> None:
    """Near the setting that was refuted; the first that agrees is the answer."""
    asked: list[tuple[int, int]] = []

    def search(near: tuple[int, int]) -> int:
        asked.append(near)
        return 800 * len(asked)

    rates = {800: 300, 1600: 150}
    setting, found, rounds = settled(search, lambda at: finding_of(rates[at]), 0.3)
    assert (setting, found.failures, rounds) == (1600, 150, 2)
    assert asked == [(0, LARGEST), (100, 6401)]


def test_what_is_refuted_again_and_again_is_no_setting() -> None:
    """Three rounds, and it is said that it does not hold."""
    _, found, rounds = settled(lambda _: 5, lambda _: finding_of(400), 0.3)
    assert (rounds, found.interval.low > 0.3) == (3, True)
