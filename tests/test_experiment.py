"""Experiments: the rate they find, the rules they stop by, and that nothing is lost or counted twice."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.exceptions import InfraError, InvalidInputError
from harness.experiments.conduct import INTERRUPTED, Progress, conduct, recount
from harness.experiments.findings import differ, find
from harness.experiments.firing import BLOCK_TRIALS
from harness.experiments.kept import experiment_job, experiments_of, groups, save
from harness.experiments.sequential import SequentialTest
from harness.experiments.statistics import clopper_pearson
from harness.experiments.stopping import Stopping
from harness.experiments.tally import GROUP, Tally, Trial
from harness.experiments.variant import Experiment, Variant
from harness.journal import History, read
from harness.scenarios.schema import load, shipped
from harness.wire.request import MAX_ATTEMPTS

PROGRAM = [sys.executable, "-m", "harness"]
DOSE = 0.3


def dosed(seed: int = 7, dose: float = DOSE, name: str = "dosed") -> Variant:
    """A race that strikes on 30 % of trials, drawn from the seed; cheap."""
    case = load(shipped() / "native-addon-race.toml").case[0]
    victim = msgspec.structs.replace(case.victim, dose=dose, seed=seed)
    case = msgspec.structs.replace(case, victim=victim)
    return Variant(name, "upstream-4.5", seed, case, host="native", start="warm")


def run(*variants: Variant, stopping: Stopping, jobs: int = 1) -> Progress:
    """Conduct an experiment to its end."""
    experiment = Experiment("test", variants, stopping, jobs)
    progress = Progress.begin(experiment)
    conduct(experiment, progress)
    return progress


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, check=False, cwd=cwd, text=True, timeout=120)


@pytest.mark.long
@pytest.mark.slow
def test_the_dose_is_in_its_interval_for_93_of_100_seeds() -> None:
    """The 95 % interval is one: an experiment on a dosed race finds the dose."""
    hits = 0
    for seed in range(100):
        tally = run(dosed(seed), stopping=Stopping(trials=100)).tallies["dosed"]
        low, high = clopper_pearson(tally.failures, tally.trials)
        hits += low <= DOSE <= high
    assert hits >= 93


def test_the_same_seed_gives_the_same_trials() -> None:
    """One thread or two: the outcomes are the seed's, and so is the order in which they count."""
    one, two = (run(dosed(), stopping=Stopping(trials=200), jobs=jobs).tallies["dosed"] for jobs in (1, 2))
    assert (one.trials, one.failures, one.waits, one.groups) == (two.trials, two.failures, two.waits, two.groups)
    assert one.outcomes == two.outcomes


def test_nothing_stops_at_the_first_success() -> None:
    """Every group has all its trials, failed or not."""
    tally = run(dosed(), stopping=Stopping(trials=50)).tallies["dosed"]
    assert (tally.trials, tally.groups.squares) == (50, 5 * GROUP**2)


@pytest.mark.parametrize(
    ("stopping", "reason"),
    [
        (Stopping(trials=40), "40 trials"),
        (Stopping(width=0.2), "half-width 0.2 reached"),
        (Stopping(sequential=SequentialTest(0.3, 0.8)), "the sequential test decided for p0 = 0.3"),
        (Stopping(sequential=SequentialTest(0.8, 0.3)), "the sequential test decided for p1 = 0.3"),
        (Stopping(trials=10**9, time_s=0.01), "0.01 seconds"),
    ],
)
def test_each_rule_stops(stopping: Stopping, reason: str) -> None:
    """The first that applies ends it, and is named."""
    assert run(dosed(), stopping=stopping).ended == reason


def test_a_sequential_test_gives_up_at_its_cap() -> None:
    """Undecided is an answer, in words."""
    tally = Tally(trials=10_000, failures=3250)
    test = SequentialTest(0.30, 0.35)
    assert test.decide(3250, 10_000) is None
    assert Stopping(sequential=test).reason(tally, 0) == "undecided after 10000 trials"


def trials_of(outcomes: list[bool], variant: str = "x") -> list[list[Trial]]:
    """Trials with these failures, in groups."""
    made = [
        Trial(
            variant,
            n + 1,
            n // GROUP,
            n // BLOCK_TRIALS,
            0,
            None,
            "SIGSEGV" if failed else "exited 0",
            failed,
            None,
            "",
            "",
            None,
        )
        for n, failed in enumerate(outcomes)
    ]
    return [made[at : at + GROUP] for at in range(0, len(made), GROUP)]


def tally_of(outcomes: list[bool]) -> Tally:
    """Count them."""
    tally = Tally()
    for group in trials_of(outcomes):
        tally.add(group)
    tally.close()
    return tally


def test_waits_are_counted_within_groups() -> None:
    """Attempts to the first success; what a group's end cuts off is not carried into the next."""
    tally = tally_of([True, True, False] + [False] * 5 + [True, True] + [False] * 10)
    assert (tally.waits, tally.censored) == ({3: 1, 1: 15}, 1)


def test_likeness_is_found_where_it_is() -> None:
    """Groups that all fail or all succeed have ICC 1; independent trials have none; the advice follows."""
    draw = random.Random(1)
    alike = find("alike", tally_of([failed for _ in range(100) for failed in [draw.random() < DOSE] * GROUP]))
    alone = find("alone", tally_of([draw.random() < DOSE for _ in range(1000)]))
    assert alike.groups.icc == pytest.approx(1)
    assert alike.groups.p_value < 1e-9
    assert abs(alone.groups.z) < 3
    assert alone.advice.attempts in {4, 5, 6}
    assert alike.advice.attempts == MAX_ATTEMPTS
    assert "the engine's own cap" in alike.advice.text


def test_drift_is_found() -> None:
    """A rate that moves from block to block, though groups are alike by nothing else."""
    draw = random.Random(2)
    drifting = tally_of([draw.random() < (0.1 if n < 1000 else 0.5) for n in range(2000)])
    assert find("drift", drifting).drift.p_value < 1e-4


def test_no_success_is_told_as_such() -> None:
    """Deterministic is never proved: the excluded success rate is said instead of a number of attempts."""
    advice = find("never", tally_of([True] * 300)).advice
    assert (advice.attempts, "no success in 300" in advice.text, "up to 1.0%" in advice.text) == (None, True, True)


def test_two_variants_are_interleaved_and_compared() -> None:
    """Doses apart differ, a variant and its twin do not; both have as many trials, in blocks side by side."""
    progress = run(dosed(), dosed(8, 0.7, "more"), stopping=Stopping(trials=200))
    found = [find(name, tally) for name, tally in progress.tallies.items()]
    assert [one.trials for one in found] == [200, 200]
    assert differ([(found[0], found[1], progress.pairing.compare())])[0].p_value < 1e-6
    assert progress.pairing.differences.length == 20
    twins = run(dosed(), dosed(8, DOSE, "twin"), stopping=Stopping(trials=200))
    first, second = (find(name, tally) for name, tally in twins.tallies.items())
    assert differ([(first, second, twins.pairing.compare())])[0].p_value > 0.001


def test_a_history_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Cut anywhere, it ends with the same trials: none lost, none twice."""
    whole = Experiment("test", (dosed(), dosed(8, 0.7, "more")), Stopping(trials=100))
    part = msgspec.structs.replace(whole, stopping=Stopping(trials=30))
    with History(tmp_path / "h") as book:
        conduct(part, Progress.begin(part), book)
    with History(tmp_path / "h") as book:
        progress = recount(book, [whole])["test"]
        assert {tally.trials for tally in progress.tallies.values()} == {30}
        conduct(whole, progress, book)
        numbers = [(trial.variant, trial.number) for group in groups(book) for trial in group.trials]
    straight = Progress.begin(whole)
    conduct(whole, straight)
    assert sorted(numbers) == sorted((name, n + 1) for name in ("dosed", "more") for n in range(100))
    assert progress.tallies == straight.tallies
    assert progress.pairing == straight.pairing


def test_a_trial_is_journalled_once(tmp_path: Path) -> None:
    """The file refuses a number that it has."""
    (group,) = trials_of([True] * GROUP)
    with History(tmp_path / "h") as book:
        save(book, group)
        with pytest.raises(InfraError, match="can't be journalled"):
            save(book, group)
        assert sum(len(one.trials) for one in groups(book)) == GROUP


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_experiment_goes_on(tmp_path: Path) -> None:
    """SIGKILL in the middle; --resume ends with every trial once, and the outcomes are the seed's."""
    history, case = tmp_path / "h", "native-addon-race[torn-publish]"
    started = subprocess.Popen(
        [*PROGRAM, "experiment", case, "--trials", "4000", "--history", history],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while trials_in(history) < 100:
        assert started.poll() is None
    started.kill()
    started.wait()
    before = trials_in(history)
    assert 0 < before < 4000
    resumed = command("experiment", "--resume", str(history), "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["experiments"][0]["findings"][0]["trials"] == 4000
    assert trials_in(history) == 4000
    again = command("experiment", "--resume", str(history), "--json")
    assert (
        json.loads(again.stdout)["experiments"][0]["findings"]
        == json.loads(resumed.stdout)["experiments"][0]["findings"]
    )


@pytest.mark.slow
def test_a_command_may_be_said_again_with_its_history(tmp_path: Path) -> None:
    """The same goes on, or is told to have ended; another is refused, and not begun."""
    history = str(tmp_path / "h")
    assert command("experiment", "--trials", "3", "--history", history, "--", "false").returncode == 0
    assert command("experiment", "--resume", history, "--", "false").returncode == 0
    refused = command("experiment", "--resume", history, "--", "touch", str(tmp_path / "made"))
    assert (refused.returncode, "it is of false, not of touch" in refused.stderr) == (2, True)
    assert not (tmp_path / "made").exists()


def trials_in(path: Path) -> int:
    """Count what a history has, while another process may be writing it."""
    if not path.exists():
        return 0
    try:
        with read(path) as book:
            return sum(len(group.trials) for group in groups(book))
    except (InvalidInputError, InfraError):
        return 0


def test_ctrl_c_does_not_come_between_journal_and_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group in the history is in the answer too, wherever the signal falls."""

    def write_and_interrupt(book: History, group: list[Trial]) -> None:
        save(book, group)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("harness.experiments.conduct.save", write_and_interrupt)
    experiment = Experiment("test", (dosed(),), Stopping(trials=10 * GROUP))
    progress = Progress.begin(experiment)
    with History(tmp_path / "h") as book:
        conduct(experiment, progress, book)
    assert (progress.ended, progress.tallies["dosed"].trials, trials_in(tmp_path / "h")) == (INTERRUPTED, GROUP, GROUP)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_counted(tmp_path: Path) -> None:
    """It ends at once with 130 and the answer so far; nothing is left running."""
    history = tmp_path / "h"
    started = subprocess.Popen(
        [*PROGRAM, "experiment", "--json", "--history", history, "--time", "600", "--", "sh", "-c", "exit 1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while trials_in(history) < GROUP:
        assert started.poll() is None
    os.kill(started.pid, signal.SIGINT)
    out, _ = started.communicate(timeout=30)
    answer = json.loads(out)
    assert (started.returncode, answer["interrupted"]) == (130, True)
    assert answer["experiments"][0]["ended"] == INTERRUPTED
    assert answer["experiments"][0]["findings"][0]["trials"] == trials_in(history)


@pytest.mark.slow
def test_a_trial_is_replayed(tmp_path: Path) -> None:
    """A dosed one agrees; one that was tampered with does not, and the difference is named."""
    history, case = tmp_path / "h", "native-addon-race[torn-publish]"
    assert command("experiment", case, "--trials", "20", "--history", str(history)).returncode == 0
    agreed = command("replay", str(history), "--trial", "3")
    assert (agreed.returncode, agreed.stdout.split()[0]) == (0, "PASS")
    lying = tmp_path / "lie"
    with read(history) as told, History.begin(lying, experiment_job(experiments_of(told)), {}) as book:
        for group in groups(told):
            save(book, [msgspec.structs.replace(one, ended="SIGILL") for one in group.trials])
    denied = command("replay", str(lying), "--trial", "3")
    assert (denied.returncode, "ended: SIGILL then" in denied.stdout) == (1, True)
    assert command("replay", str(history), "--trial", "99").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected SCENARIO, or a command after --"),
        (["abort", "--", "true"], "expected SCENARIO, or a command after --"),
        (["native-addon-race[wild]", "--vs", "start"], "expected KEY=VALUE"),
        (["native-addon-race[wild]", "--vs", "start=lukewarm"], "lukewarm"),
        (["native-addon-race[wild]", "--vs", "nonsense=1"], "nonsense"),
        (["native-addon-race[wild]", "--sprt", "0.3"], "expected P0:P1"),
        (["native-addon-race[wild]", "--sprt", "0.3:0.3"], "apart"),
        (["--start", "warm", "--", "true"], "always started afresh"),
        (["--resume", "nowhere"], "no such history"),
        (["--", "/no/such/program"], "can't be executed"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], message: str) -> None:
    """No traceback, exit code 2, or 3 where only trying could tell."""
    ran = command("experiment", *arguments)
    assert ran.returncode in {2, 3}
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
