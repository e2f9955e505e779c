"""Worker processes: whoever fires a trial and whoever died, the trials are the same."""

import random
import signal
import subprocess
import sys

import msgspec
import pytest
from elsewhere import conducted, dosed, own

from harness.dialects import BUILT_IN
from harness.evidence import Evidence
from harness.exceptions import InfraError, InvalidInputError
from harness.experiments.conduct import conclude
from harness.experiments.pool import here
from harness.experiments.shares import Share, by_host, chance
from harness.experiments.stopping import Stopping
from harness.experiments.variant import Experiment, Variant
from harness.experiments.where import read_where
from harness.experiments.worker import Ask, AskedRunner, Fired, trials_of
from harness.experiments.workers import pool_on
from harness.report.experiment import conclusion_lines

WORKER = "harness.experiments.worker"


@pytest.mark.slow
def test_workers_fire_what_we_would() -> None:
    """Every field but what is measured, in the order of the numbers; and no worker is left."""
    experiment = dosed(250)
    local, elsewhere = conducted(experiment, None), conducted(experiment, "local:2")
    assert local.trials == elsewhere.trials
    assert local.tallies == elsewhere.tallies
    assert (elsewhere.lost, own(WORKER)) == (0, [])
    told = conclude(experiment, elsewhere)
    assert sum(share.groups for share in told.shares["dosed"].values()) == 25
    assert len(told.shares["dosed"]) == 2
    assert "dosed, fired by 2 workers" in list(conclusion_lines(told))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_worker_that_is_killed_changes_nothing(seed: int) -> None:
    """Its group is fired again by another one, and it is told."""
    experiment, draw = dosed(600, seed), random.Random(seed)
    kills = {draw.randrange(2, 10), draw.randrange(10, 20), draw.randrange(20, 30)}  # one might be idle just then

    def strike(group: int) -> None:
        for one in own(WORKER)[:1] if group in kills else []:
            one.send_signal(signal.SIGKILL)

    whole, cut = conducted(experiment, None), conducted(experiment, "local:2", strike)
    assert cut.but_layouts == whole.but_layouts
    assert cut.tallies == whole.tallies
    assert cut.lost >= 1
    again = cut.again["dosed"]
    assert again % 10 == 0
    assert f"  dosed: at most {again} trials: their seeds say the same again" in conclusion_lines(
        conclude(experiment, cut)
    )
    assert own(WORKER) == []


@pytest.mark.slow
def test_a_group_that_ends_every_worker_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three in a row, and the harness could not do its part."""
    monkeypatch.setattr("harness.experiments.workers.COMMAND", [sys.executable, "-c", "input(); exit(7)"])
    experiment = Experiment("t", (Variant("x", "upstream-4.8", 0, command=("true",)),), Stopping(trials=10))
    with pytest.raises(InfraError, match=r"3 workers were lost with one group; the last one ended .*exited 7"):
        conducted(experiment, "local:1")
    assert own(WORKER) == []


def test_a_worker_says_what_it_could_not_do() -> None:
    """A command that can't be started is INFRA there as here, and a dialect that is none is wrong use."""
    runner = AskedRunner()
    try:
        for dialect, error in (("upstream-4.8", InfraError), ("upstream-9", InvalidInputError)):
            ask = Ask(Variant("x", dialect, 0, command=("/no/such/program",)), 1, 1)
            with pytest.raises(error, match=r"/no/such/program: can't be executed|upstream-9"):
                trials_of(runner.answer(msgspec.json.encode(ask)))
    finally:
        runner.close()


def test_a_worker_answers_a_line_with_a_line() -> None:
    """And ends with its input."""
    ask = Ask(Variant("x", "upstream-4.8", 3, command=("sh", "-c", "exit $CRASH_HARNESS_TRIAL")), 1, 2)
    ran = subprocess.run(
        [sys.executable, "-m", WORKER], input=msgspec.json.encode(ask) + b"\n", stdout=subprocess.PIPE, check=True
    )
    fired = msgspec.json.decode(ran.stdout, type=Fired)
    assert [trial.ended for trial in fired.trials] == ["exited 1", "exited 2"]
    assert all(isinstance(trial.evidence, Evidence) for trial in fired.trials)


@pytest.mark.parametrize("where", ["local:0", "local:", "local:x", "nowhere:3", "dask", "dask://host", "dask:h:1"])
def test_what_is_nowhere_is_said(where: str) -> None:
    """With what was expected."""
    with pytest.raises(InvalidInputError, match="--on: expected local:N"):
        read_where(where)
    assert pool_on(None) is here
    assert "upstream-4.8" in BUILT_IN


def shares_of(rates: tuple[float, ...], draw: random.Random, icc: float = 0.0) -> list[Share]:
    """Workers with 30 groups each, whose trials resemble each other by a rate that a group has of its own."""
    made = []
    for rate in rates:
        share, mass = Share(), (1 - icc) / icc if icc else 0.0
        for _ in range(30):
            own = draw.betavariate(rate * mass, (1 - rate) * mass) if icc else rate
            share = share.plus(sum(draw.random() < own for _ in range(10)))
        made.append(share)
    return made


@pytest.mark.parametrize("icc", [0.0, 0.3])
def test_equal_workers_seldom_differ(icc: float) -> None:
    """In about one case of twenty, also where trials of a group resemble each other."""
    draw = random.Random(3)
    assert sum(chance(shares_of((0.3,) * 4, draw, icc)) < 0.05 for _ in range(300)) <= 27


def test_a_worker_on_which_it_fails_more_often_is_seen() -> None:
    """By workers where there is one host, and by hosts where there are several."""
    draw = random.Random(4)
    assert chance(shares_of((0.3, 0.3, 0.6), draw)) < 1e-6
    good, bad = Share(30, 90, 300), Share(30, 200, 1400)
    assert by_host({"a/1": good, "a/2": good, "b/1": bad}) == {"a": Share(60, 180, 600), "b": bad}
    assert by_host({"a/1": good, "a/2": bad}) == {"a/1": good, "a/2": bad}


def test_what_can_not_differ_does_not() -> None:
    """One worker, a group each, or the same in every group; and two that never overlap certainly do."""
    assert [chance([Share(9, 9, 9)]), chance([Share(1, 3, 9), Share(1, 9, 81)]), chance([Share(5, 5, 5)] * 2)] == [
        1,
        1,
        1,
    ]
    assert chance([Share(5, 0, 0), Share(5, 50, 500)]) == 0
