"""The races' two exact tiers: forced is probability 1, and a dosed race replays bit for bit on any machine."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from harness.engine.draw import draw
from harness.evidence import signature
from harness.experiments.groups import Sums, overdispersion
from harness.faults.catalogue import Row, catalogue
from harness.supervisor import Shot, Zygote

RACES = [fault for fault in catalogue().values() if fault.kind == "racy"]
GROUPS, SIZE, DOSE, DEADLINE_S = int(os.environ.get("RACE_GROUPS", "20")), 10, 0.3, 60
BURN = "while True: pass"
by_race = pytest.mark.parametrize("race", RACES, ids=[fault.name for fault in RACES])


@pytest.mark.long
@pytest.mark.slow
@by_race
def test_a_forced_race_crashes_every_time(race: Row) -> None:
    """Three hundred of three hundred, each as the row says; and as many safe shots end well."""
    with Zygote() as zygote:
        forced = [signature(trial.evidence()) for trial in zygote.fire(Shot(race.name, "forced"), 300, DEADLINE_S)]
        safe = [signature(trial.evidence()) for trial in zygote.fire(Shot(race.name, "safe"), 300, DEADLINE_S)]
    assert (len(forced), set(forced) - set(race.expects)) == (300, set())
    assert safe == ["done"] * 300


@contextmanager
def idle() -> Iterator[None]:
    """Nothing but the trials."""
    yield


@contextmanager
def loaded() -> Iterator[None]:
    """Two busy processes for each processor."""
    with ExitStack() as stack:
        for _ in range(2 * len(os.sched_getaffinity(0))):
            burner = stack.enter_context(subprocess.Popen([sys.executable, "-I", "-S", "-c", BURN]))
            stack.callback(burner.kill)
        yield


@contextmanager
def on_one_processor() -> Iterator[None]:
    """The threads of a race take turns."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


CONDITIONS: list[Callable[[], AbstractContextManager[None]]] = [idle, loaded, on_one_processor]


def modes(seed: int, groups: int = GROUPS) -> list[list[str]]:
    """What the draw injects, attempt by attempt."""
    numbers = (range(1 + group * SIZE, 1 + (group + 1) * SIZE) for group in range(groups))
    return [["forced" if draw(seed, number, "dose") < DOSE else "safe" for number in group] for group in numbers]


def dosed(race: Row, seed: int) -> list[list[str]]:
    """What became of each attempt; a group is one life of a zygote."""
    with Zygote(renew_every=SIZE) as zygote:
        return [
            [signature(one.evidence()) for mode in group for one in zygote.fire(Shot(race.name, mode), 1, DEADLINE_S)]
            for group in modes(seed)
        ]


@pytest.mark.long
@pytest.mark.slow
@by_race
def test_a_dosed_race_replays_bit_for_bit(race: Row) -> None:
    """RACE_GROUPS groups of ten: what the seed says, and the same idle, under load and on one processor."""
    seen = []
    for condition in CONDITIONS:
        with condition():
            seen.append(dosed(race, seed=1))
    crashed = {outcome for group in seen[0] for outcome in group} - {"done"}
    assert seen[1:] == seen[:1] * 2
    assert [["safe" if one == "done" else "forced" for one in group] for group in seen[0]] == modes(1)
    assert len(crashed) == 1
    assert crashed <= set(race.expects)


@pytest.mark.slow
def test_doses_are_independent_across_attempts() -> None:
    """Tarone's Z of a hundred groups of ten is, over 400 seeds, as often large as chance has it: 3.5 in 1,000 above 3.

    A dosed race's outcomes are its doses, so this holds for them too. One seed alone proves little: seed 1 has 3.99.
    """
    scores = []
    for seed in range(400):
        sums = Sums()
        for group in modes(seed, 100):
            sums = sums.plus(SIZE, group.count("forced"))
        scores.append(overdispersion(sums).z)
    assert sum(score > 3 for score in scores) <= 4
    assert 8 <= sum(score > 1.645 for score in scores) <= 34, "5 % of 400, give or take three deviations"
    assert abs(sum(scores) / len(scores)) < 0.2
