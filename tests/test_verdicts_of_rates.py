"""What an experiment's exit code says, what its trials are told, and what is made of ends that are never retried."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_experiment import PROGRAM, command

from harness.dialects import find as dialect
from harness.engine.loop import Life
from harness.evidence import EndedBy, Evidence, Exited, Memory, Signaled, Termination
from harness.experiments.fates import NO_POLICY, fate_of, fates_elsewhere
from harness.experiments.findings import verdict_of
from harness.experiments.sequential import SequentialTest
from harness.experiments.stopping import Stopping
from harness.experiments.tally import Fate, Tally, Trial
from harness.journal import read
from harness.scenarios.verdict import Verdict


@pytest.mark.parametrize(
    ("end", "facts", "name", "fate"),
    [
        (Exited(0), {}, "upstream-4.5", Fate.SUCCEEDED),
        (Exited(3), {}, "upstream-4.5", Fate.RETRIED),
        (Signaled("SIGSEGV"), {}, "upstream-4.5", Fate.RETRIED),
        (Signaled("SIGSEGV"), {}, "upstream-4.4", Fate.FINAL),
        (Signaled("SIGABRT"), {}, "upstream-4.5", Fate.FINAL),
        (Signaled("SIGABRT"), {}, "strict", Fate.RETRIED),
        (Signaled("SIGKILL"), {"ended_by": EndedBy.DEADLINE}, "strict", Fate.TIME_OUT),
        (Signaled("SIGKILL"), {}, "upstream-4.5", Fate.OUT_OF_MEMORY),
        (Signaled("SIGKILL"), {"memory": Memory(oom_kills=1)}, "strict", Fate.OUT_OF_MEMORY),
    ],
)
def test_a_fate_is_what_would_follow_with_attempts_left(
    end: Termination, facts: dict[str, object], name: str, fate: Fate
) -> None:
    """Retried, never retried, or cured by a longer deadline or a larger machine: by the dialect's own decision."""
    life = Life(Evidence(end, **facts))  # type: ignore[arg-type]  # facts of each kind
    assert fate_of(life, dialect(name)) is fate


def test_another_dialect_that_would_retry_is_known() -> None:
    """Only of an end that this one never retries."""
    abort = Life(Evidence(Signaled("SIGABRT")))
    assert fates_elsewhere(abort, Fate.FINAL, NO_POLICY)["strict"] is Fate.RETRIED
    assert fates_elsewhere(abort, Fate.RETRIED, NO_POLICY) == {}


def tally(failures: int, trials: int) -> Tally:
    """Counts of independent trials, spread evenly."""
    made = Tally()
    for start in range(0, trials, 10):
        numbers = range(start + 1, min(start + 10, trials) + 1)
        failed = [number * failures // trials > (number - 1) * failures // trials for number in numbers]
        made.add([_trial(number, bad) for number, bad in zip(numbers, failed, strict=True)])
    made.close()
    return made


def _trial(number: int, failed: bool) -> Trial:
    group = (number - 1) // 10
    return Trial(
        "v", number, group, group // 10, 0, None, "exited 1" if failed else "exited 0", failed, None, "", "", None
    )


@pytest.mark.parametrize(
    ("failures", "trials", "below", "verdict"),
    [
        (0, 100, 0.05, Verdict.PASS),
        (0, 50, 0.05, Verdict.UNKNOWN),
        (60, 100, 0.3, Verdict.FAIL),
        (30, 100, 0.3, Verdict.UNKNOWN),
        (5, 100, None, None),
    ],
)
def test_a_rate_is_shown_to_be_below_or_above_or_neither(
    failures: int, trials: int, below: float | None, verdict: Verdict | None
) -> None:
    """By one-sided 95 % bounds."""
    assert verdict_of(tally(failures, trials), None, below) is verdict


def test_a_sequential_test_is_a_verdict() -> None:
    """The lower rate passes, the higher fails, whichever is named first, and an open test is UNKNOWN."""
    test = SequentialTest(0.01, 0.2)
    assert verdict_of(tally(0, 100), test, None) is Verdict.PASS
    assert verdict_of(tally(50, 100), test, None) is Verdict.FAIL
    assert verdict_of(tally(0, 2), test, None) is Verdict.UNKNOWN
    turned = SequentialTest(test.p1, test.p0)
    assert verdict_of(tally(0, 100), turned, None) is Verdict.PASS
    assert verdict_of(tally(50, 100), turned, None) is Verdict.FAIL


def test_the_last_group_has_as_many_trials_as_were_asked_for() -> None:
    """Seven are seven, and twenty-three are two groups and three."""
    assert list(Stopping(trials=7).numbers(0)) == [1, 2, 3, 4, 5, 6, 7]
    assert list(Stopping(trials=23).numbers(2)) == [21, 22, 23]
    assert not Stopping(trials=23).numbers(3)
    assert len(Stopping(width=0.1).numbers(3)) == 10


@pytest.mark.slow
def test_trials_know_their_number_and_the_first_failures_are_kept_whole(tmp_path: Path) -> None:
    """The command finds its trial and its seed; the whole evidence of three failures is in the history."""
    script = 'echo "trial $CRASH_HARNESS_TRIAL, seed $CRASH_HARNESS_SEED" >&2; test $CRASH_HARNESS_TRIAL -le 15'
    words = ("--trials", "23", "--seed", "4", "--history", str(tmp_path / "h"), "--", "sh", "-c", script)
    assert command("experiment", *words).returncode == 0
    exported = command("export", str(tmp_path / "h")).stdout
    assert exported.count('"stderr":"trial ') == 3
    assert '"stderr":"trial 16, seed 4\\n"' in exported
    with read(tmp_path / "h"):
        pass


@pytest.mark.slow
def test_a_slow_command_ends_in_time() -> None:
    """No trial begins after the time is over, and the one under way is the last."""
    ran = command("experiment", "--time", "0.5", "--json", "--", "sleep", "0.4")
    (told,) = json.loads(ran.stdout)["experiments"]
    assert told["findings"][0]["trials"] in {1, 2}
    assert told["ended"] == "0.5 seconds"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--trials", "60", "--expect-below", ".2", "--", "true"), 0),
        (("--trials", "20", "--expect-below", ".2", "--", "false"), 1),
        (("--trials", "5", "--expect-below", ".2", "--", "true"), 4),
        (("--trials", "5", "--expect-below", ".2", "--bisect", "--", "true"), 125),
        (("--sprt", ".01:.3", "--bisect", "--", "false"), 1),
        (("--bisect", "--", "./not-there"), 125),
        (("--bisect", "--sprt", "much", "--", "true"), 255),
        (("--bisect",), 255),
    ],
)
def test_the_exit_code_is_the_verdict(words: tuple[str, ...], code: int) -> None:
    """And under --bisect one that git takes rightly."""
    assert command("experiment", *words).returncode == code


@pytest.mark.long
@pytest.mark.slow
def test_git_bisect_finds_the_commit(tmp_path: Path) -> None:
    """On a repository in which a program is flaky from its fourth commit on."""
    identity = ("-c", "user.name=x", "-c", "user.email=x@localhost")

    def git(*words: str) -> str:
        ran = subprocess.run(["git", *identity, *words], cwd=tmp_path, capture_output=True, check=True, text=True)
        return ran.stdout

    git("init", "-q")
    for number in range(6):
        flaky = "[ $((CRASH_HARNESS_TRIAL % 2)) = 0 ] || kill -SEGV $$" if number >= 3 else ":"
        (tmp_path / "job.sh").write_text(f"# {number}\n{flaky}\n")
        git("add", "job.sh")
        git("commit", "-q", "-m", f"commit {number}")
    git("bisect", "start", "HEAD", "HEAD~5")
    judge = [*PROGRAM, "experiment", "--bisect", "--sprt", ".01:.3", "--", "sh", "./job.sh"]
    found = git("bisect", "run", *judge)
    assert "is the first bad commit" in found
    assert "commit 3" in found
    assert sys.executable in judge
