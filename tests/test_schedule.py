"""A schedule: delays where a victim synchronises, which bring its races out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.exceptions import InvalidInputError
from harness.experiments.stopping import Stopping
from harness.experiments.variant import VariantOptions, plan
from harness.scenarios.schema import load
from harness.supervisor import Limits, Shot, Zygote
from harness.supervisor.schedule import scheduled

SCENARIO = """
claim = "A resource that is checked and used under a lock is closed in between."
cause = "native addon race"
evidence = "simulated"
layout_independent = true
[[case]]
name = "wild"
victim = {{ fault = "{fault}", tier = "wild" }}
[[case.expect]]
dialects = ["upstream-4.4", "upstream-4.5", "strict", "upstream-v1"]
attempts = [{{ ended = "SIGSEGV" }}, {{ ended = "exited 0" }}]
"""


def experiment(folder: Path, fault: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run an experiment of one wild fault."""
    file = folder / "race.toml"
    file.write_text(SCENARIO.format(fault=fault))
    line = [sys.executable, "-m", "harness", "experiment", str(file), "--seed", "1", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)


def test_an_environment_brings_the_schedule() -> None:
    """Before the program's own preloads; without a seed nothing changes."""
    env = {"LD_PRELOAD": "own.so", "A": "1"}
    assert scheduled(env, None) is env
    made = scheduled(env, 7, 3)
    assert (made["CRASH_SCHEDULE"], made["A"]) == ("7:3", "1")
    assert made["LD_PRELOAD"].endswith("libcrashschedule.so:own.so")


def test_a_static_host_has_no_schedule(tmp_path: Path) -> None:
    """Nothing can be brought into it, and that is said."""
    file = tmp_path / "race.toml"
    file.write_text(SCENARIO.format(fault="check_then_act"))
    asked = VariantOptions("upstream-4.5", 1, "native", None, Limits(), None, 1, schedule=1)
    with pytest.raises(InvalidInputError, match="static program"):
        plan([load(file)], (), asked, None, Stopping(10))


@pytest.mark.slow
def test_a_window_between_two_locks_is_struck() -> None:
    """A race that seldom strikes by itself does so in a good part of scheduled trials."""
    with Zygote("python", "warm", env=scheduled({"PATH": "/usr/bin:/bin"}, 1)) as zygote:
        ends = [str(trial.termination) for trial in zygote.fire(Shot("check_then_act", "wild"), 120, 30)]
    assert "SIGSEGV" in ends


@pytest.mark.long
@pytest.mark.slow
def test_an_experiment_says_whether_it_helps(tmp_path: Path) -> None:
    """Side by side, with and without: the rate rises, and the words say so."""
    done = experiment(tmp_path, "check_then_act", "--trials", "120", "--vs", "schedule=1")
    assert done.returncode == 0, done.stderr
    assert "the schedule raises the rate" in done.stdout


@pytest.mark.slow
def test_a_command_may_be_scheduled() -> None:
    """Its environment has the seed and the attempt, beside what it had."""
    line = [
        sys.executable,
        "-m",
        "harness",
        "exec",
        "--json",
        "--schedule",
        "5",
        "--",
        "sh",
        "-c",
        "echo $CRASH_SCHEDULE",
    ]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout)["attempts"][0]["evidence"]["stdout"].strip() == "5:1"
