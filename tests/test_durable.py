"""The durable engine: killed at every step that it saves, before and after, and restarted until the run has ended."""

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import harness
from harness import Policy
from harness.engine.durable import steps as saved_steps
from harness.engine.lifecycle import Execution
from harness.journal import read

PROGRAM = [sys.executable, "-m", "harness"]
MAX_ATTEMPTS = 3

# A run of scripted lives that crash for ever; each is noted when it is lived. SIGKILL at save number `fatal`.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from harness.engine.loop import Engine, Life
from harness.engine.policy import Policy
from harness.evidence import Evidence, Signaled
from harness.dialects import NEWEST
from harness.engine.durable import Durable
from harness.journal import History

folder, fatal, when = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
saves = 0

def execute(number, machine):
    with (folder / "lived").open("a") as lived:
        lived.write(f"{number} {machine}\\n")
    return Life(Evidence(Signaled("SIGSEGV")))

def die():
    os.kill(os.getpid(), signal.SIGKILL)

with History(folder / "history") as book:
    kept = Durable(book, "run")

    def save(saved):
        global saves
        saves += 1
        if saves == fatal and when == "before":
            die()
        kept.save(saved)
        if saves == fatal and when == "after":
            die()
    policy = Policy(3, {"maxAttempts": 3, "randomize": False})
    run = Engine(policy, NEWEST, lambda: 0.5).run(execute, save=save, saved=kept.saved)
print(run.status, len(run.attempts), run.events[-1].name)
"""


def play(folder: Path, fatal: int, when: str) -> subprocess.CompletedProcess[str]:
    """Let the run go on, and die at a step."""
    command = [sys.executable, "-c", SCRIPT, str(folder), str(fatal), when]
    return subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)


def check(folder: Path, last: subprocess.CompletedProcess[str]) -> None:
    """No attempt twice, none beyond the maximum, no gap in the numbers; one final event; all steps are there."""
    assert last.returncode == 0, last.stderr
    numbers = [int(line.split()[0]) for line in (folder / "lived").read_text().splitlines()]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) <= MAX_ATTEMPTS
    with read(folder / "history") as book:
        steps = list(saved_steps(book, "run"))
    events = [event for step in steps for event in step.events]
    started = [event.attempt for event in events if event.name == "runAttemptStarted"]
    assert started == list(range(1, len(started) + 1))
    assert set(numbers) <= set(started)
    assert [event.name for event in events].count("runFailed") == 1
    assert steps[-1].state.execution is Execution.FINISHED
    snapshots = [step.state.snapshot for step in steps]
    assert snapshots == list(range(2, len(steps) + 2))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_each_step_it_goes_on(tmp_path: Path, when: str) -> None:
    """One kill at the first, the second, … step, until there is no such step; a sweep, not a sample."""
    fatal, whole = 0, False
    while not whole:
        fatal += 1
        folder = tmp_path / str(fatal)
        folder.mkdir()
        first = play(folder, fatal, when)
        whole = first.returncode == 0
        assert whole or first.returncode == -signal.SIGKILL
        check(folder, play(folder, 0, when))
    assert fatal > 3 * MAX_ATTEMPTS


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_again_and_again_it_ends(tmp_path: Path, when: str) -> None:
    """Killed at the second step of each life, with more attempts lost than lived, it still ends."""
    for _ in range(40):
        last = play(tmp_path, 2, when)
        if last.returncode == 0:
            break
    (tmp_path / "lived").touch()
    with read(tmp_path / "history") as book:
        steps = list(saved_steps(book, "run"))
    assert steps[-1].state.is_final
    counts = Counter(line.split()[0] for line in (tmp_path / "lived").read_text().splitlines())
    assert set(counts.values()) <= {1}


def crash_and_note(path: str) -> None:
    """Note that it lives, and crash."""
    with Path(path).open("a") as notes:
        notes.write("x")
    signal.raise_signal(signal.SIGSEGV)


def test_a_run_that_had_ended_is_not_lived_again(tmp_path: Path) -> None:
    """The same call with the same history gives the same run, and no process is started."""
    policy, notes = Policy(3, {"maxAttempts": 3}), tmp_path / "notes"
    first = harness.run(harness.call(crash_and_note, str(notes)), policy, history=tmp_path / "h")
    again = harness.run(harness.call(crash_and_note, str(notes)), policy, history=tmp_path / "h")
    assert (first.status, notes.read_text()) == ("CRASHED", "xxx")
    assert again == first


@pytest.mark.slow
def test_a_killed_exec_goes_on(tmp_path: Path) -> None:
    """SIGKILL during attempt 1; the same command again begins attempt 2, since the first has been lived."""
    history, notes = tmp_path / "h", tmp_path / "notes"
    job = ["sh", "-c", f"echo >> {notes}; [ $(wc -l < {notes}) -gt 1 ] || exec sleep 60; kill -SEGV $$"]
    command = [*PROGRAM, "exec", "--max-attempts", "3", "--history", str(history), "--", *job]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not notes.exists():
        assert first.poll() is None
    first.kill()
    first.wait()
    second = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert second.returncode == 1
    assert "attempt 1 ended without a word, with the process that supervised it, and counts\n" in second.stderr
    assert re.findall(r"^attempt (\d+): SIGSEGV", second.stderr, re.MULTILINE) == ["2", "3"]
    assert notes.read_text() == "\n\n\n"


@pytest.mark.long
@pytest.mark.slow
def test_what_a_signal_ends_does_not_count(tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM in attempt 1, four times: each says so and how to go on, and then there are three attempts."""
    history, notes = tmp_path / "h", tmp_path / "notes"
    job = ["sh", "-c", f"echo >> {notes}; [ $(wc -l < {notes}) -gt 4 ] || exec sleep 60; kill -SEGV $$"]
    command = [*PROGRAM, "exec", "--max-attempts", "3", "--history", str(history), "--json", "--", *job]
    for times, number in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM), 1):
        started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not notes.exists() or notes.read_text().count("\n") < times:
            assert started.poll() is None
        again = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
        assert (again.returncode, f"process {started.pid}, since" in again.stderr) == (2, True)
        started.send_signal(number)
        out, err = started.communicate(timeout=60)
        assert started.returncode == (130 if number == signal.SIGINT else -signal.SIGTERM)
        assert json.loads(out) == {"status": None, "error": None, "interrupted": True, "attempts": []}
        assert "interrupted after 0 attempts; what was under way does not count; the same command goes on" in err
        told = subprocess.run(
            [*PROGRAM, "report", str(history)], capture_output=True, check=False, text=True, timeout=60
        )
        assert (told.returncode, "1 of 1 command not decided: it was interrupted at" in told.stdout) == (4, True)
    last = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert (last.returncode, len(json.loads(last.stdout)["attempts"])) == (1, 3)
    assert notes.read_text() == "\n" * (4 + 3)
    over = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert (over.returncode, json.loads(over.stdout)) == (1, json.loads(last.stdout))
    assert "; nothing was run\n" in over.stderr
    assert notes.read_text() == "\n" * (4 + 3)
