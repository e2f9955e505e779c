"""Variants with a name, a place and a policy of their own; pieces of work; and what a failing trial leaves."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from harness.exceptions import InvalidInputError
from harness.experiments.conduct import Among, Progress, conclude, conduct, corrected, ranked
from harness.experiments.stopping import Stopping
from harness.experiments.tally import GROUP, Trial
from harness.experiments.variant import Experiment, Place, Variant, VariantOptions, plan
from harness.journal import read
from harness.report.experiment import conclusion_lines, corrected_lines
from harness.report.formats import render
from harness.report.reader import read as read_report
from harness.scenarios.schema import PolicySpec, load, shipped
from harness.supervisor import Limits

PROGRAM = [sys.executable, "-m", "harness"]
OPTIONS = VariantOptions("upstream-4.8", None, "native", None, Limits(), None, None)


def dosed(seed: int = 7, dose: float = 0.3, name: str = "dosed") -> Variant:
    """A race that strikes by its seed; cheap."""
    case = load(shipped() / "native-addon-race.toml").case[0]
    case = msgspec.structs.replace(case, victim=msgspec.structs.replace(case.victim, dose=dose, seed=seed))
    return Variant(name, "upstream-4.8", seed, case, host="native", start="warm")


def conducted(experiment: Experiment) -> tuple[Progress, list[Trial]]:
    """Conduct an experiment, and return its trials too."""
    seen = list[Trial]()

    class Noting(Progress):
        def add(self, group: list[Trial]) -> None:
            seen.extend(group)
            super().add(group)

    progress = Noting.begin(experiment)
    conduct(experiment, progress)
    return progress, seen


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, check=False, text=True, timeout=120)


# --- pieces of work ---


def pieces(one: Experiment, **done: int) -> list[list[tuple[str, int, int]]]:
    """The pieces of an experiment: variant, first trial and last of each group."""
    found = one.work({variant.name: done.get(variant.name, 0) for variant in one.variants})
    return [[(variant.name, numbers[0], numbers[-1]) for variant, numbers in piece] for piece in found]


def test_a_command_is_given_out_group_by_group() -> None:
    """Of two variants one of each, the first in turn; the last group is cut."""
    two = (Variant("a", "x", 0, command=("a",)), Variant("b", "x", 0, command=("b",)))
    assert pieces(Experiment("t", two, Stopping(trials=25))) == [
        [("a", 1, 10), ("b", 1, 10)],
        [("b", 11, 20), ("a", 11, 20)],
        [("a", 21, 25), ("b", 21, 25)],
    ]


def test_forks_of_one_process_are_given_out_block_by_block() -> None:
    """Also where a history has the beginning of one."""
    found = pieces(Experiment("t", (dosed(),), Stopping(trials=250)), dosed=8)
    assert [(piece[0][1], piece[-1][2]) for piece in found] == [(81, 100), (101, 200), (201, 250)]


@pytest.mark.long
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_layout_is_one_processs_and_one_blocks(jobs: int) -> None:
    """However many fire at a time, and wherever a history had ended: it is called by its first trial."""
    experiment = Experiment("t", (dosed(),), Stopping(trials=250), jobs)
    _, trials = conducted(experiment)
    assert [trial.layout for trial in trials] == [1] * 100 + [101] * 100 + [201] * 50


# --- names, places, policies ---


def test_a_second_variant_may_be_the_same_command_elsewhere(tmp_path: Path) -> None:
    """Its name says what is another, unless it is given one."""
    asked = msgspec.structs.replace(OPTIONS, place=Place("new"), vs_place=Place(None, str(tmp_path), ("A=1",)))
    (made,) = plan([], [("true",)], asked, None, Stopping(trials=10))
    first, second = made.variants
    assert (first.name, second.name) == ("new", f"new with cwd={tmp_path}, A=1")
    assert (second.command, second.directory, second.env) == (("true",), str(tmp_path), {"A": "1"})
    assert first.directory == str(Path.cwd())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (Place(directory="/no/such/folder"), "--cwd: /no/such/folder: there is no such folder"),
        (Place(env=("A",)), "--env: expected NAME=VALUE"),
    ],
)
def test_a_place_that_is_none_is_said(place: Place, message: str) -> None:
    """Before anything is run."""
    with pytest.raises(InvalidInputError, match=message):
        plan([], [("true",)], msgspec.structs.replace(OPTIONS, place=place), None, Stopping(trials=10))


def test_names_are_for_one_experiment() -> None:
    """Two of one name could not be told apart."""
    asked = msgspec.structs.replace(OPTIONS, place=Place("mine"))
    with pytest.raises(InvalidInputError, match="there are 2 to be named"):
        plan([], [("true",), ("false",)], asked, None, Stopping(trials=10))


def test_a_policy_is_told_what_it_leaves() -> None:
    """Trials are judged under it, and the advice says how many attempts it allows."""
    variant = msgspec.structs.replace(dosed(), policy=PolicySpec(2, {"maxAttempts": 2}))
    experiment = Experiment("t", (variant,), Stopping(trials=200))
    progress, trials = conducted(experiment)
    (finding,) = conclude(experiment, progress).findings
    assert {trial.branch for trial in trials if trial.failed} == {"policy"}
    assert any(
        note.startswith("the policy in force allows 2 attempts: P(run fails) is ") for note in finding.advice.notes
    )


# --- several experiments in one run ---


@pytest.mark.long
def test_comparisons_of_one_run_are_corrected_for_each_other() -> None:
    """Nothing is decided before all are known; then each p-value is Holm's."""
    pairs = [(dosed(seed, 0.3, f"a{seed}"), dosed(seed + 1, dose, f"b{seed}")) for seed, dose in ((1, 0.3), (3, 0.9))]
    experiments = [Experiment(pair[0].name, pair, Stopping(trials=100)) for pair in pairs]
    among = Among.of(experiments)
    told = [conclude(one, conducted(one)[0], among) for one in experiments]
    assert among == Among(4, 2)
    for one in told:
        assert one.difference
        assert "before it is corrected for 2 comparisons" in one.difference.text
        assert "differ:" not in "".join(conclusion_lines(one))
    found = [one.difference for one in corrected(told)]
    raw = sorted(one.comparison.p_value for one in told if one.comparison)
    assert sorted(one.p_value for one in found if one) == pytest.approx([raw[0] * 2, max(raw[0] * 2, raw[1])])
    lines = list(corrected_lines(told))
    assert lines[0] == "2 comparisons, corrected for there being so many (Holm)"
    assert [line.split(":")[0].strip() for line in lines if "p = " in line] == ["can't be told apart", "differ"]


def test_rates_of_one_run_are_ranked() -> None:
    """The highest first; the intervals are wider, since they are to hold all together."""
    experiments = [
        Experiment(name, (dosed(7, dose, name),), Stopping(trials=60)) for name, dose in (("b", 0.1), ("a", 0.8))
    ]
    told = [conclude(one, conducted(one)[0], Among.of(experiments)) for one in experiments]
    assert [one.variant for one in ranked(told)] == ["a", "b"]
    for one in ranked(told):
        assert one.among.half_width > one.interval.half_width


# --- what a failing trial leaves ---


def test_the_first_failures_of_each_kind_are_kept() -> None:
    """Three, whatever a history has, each with its whole evidence."""
    experiment = Experiment("t", (dosed(dose=0.9),), Stopping(trials=5 * GROUP))
    told = conclude(experiment, conducted(experiment)[0])
    assert [trial.ended for trial in told.kept] == ["SIGSEGV"] * 3
    assert all(trial.evidence and trial.evidence.faults for trial in told.kept)
    shown = [line for line in conclusion_lines(told) if line.startswith("  trial ")]
    assert ["SEGV_" in line for line in shown] == [True]


@pytest.mark.slow
def test_junit_of_an_experiment_has_its_failures(tmp_path: Path) -> None:
    """A rate that is not below what it should be is a failure, with the first failing trial and its stderr."""
    history = tmp_path / "h"
    script = "echo broken >&2; exit 3"
    asked = ("--trials", "20", "--expect-below", ".2", "--history", history)
    ran = command("experiment", *asked, "--", "sh", "-c", script)
    assert ran.returncode == 1, ran.stderr
    with read(history) as reading:
        report = read_report(reading, "h")
    assert report.exit_code == 1
    suite = ET.fromstring(render("junit", report))  # noqa: S314 -- our own
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert (suite.get("failures"), failure.get("message")) == ("1", "FAIL: 20 of 20 failed; 20 trials")
    assert "stderr: broken" in (failure.text or "")


@pytest.mark.long
@pytest.mark.slow
def test_two_commits_are_compared_where_they_lie(tmp_path: Path) -> None:
    """The same words in two folders, with a member of the environment; each has its name in the answer."""
    for name, status in (("old", 1), ("new", 0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "check").write_text(f'#!/bin/sh\ntest "$MODE" = on && exit {status}\nexit 9\n')
        (tmp_path / name / "check").chmod(0o755)
    places = ("--name", "new", "--cwd", tmp_path / "new", "--vs-name", "old", "--vs-cwd", tmp_path / "old")
    ran = command("experiment", "--trials", "50", "--env", "MODE=on", *places, "--json", "--", "./check")
    assert ran.returncode == 0, ran.stderr
    (told,) = json.loads(ran.stdout)["experiments"]
    assert [(one["variant"], one["failures"]) for one in told["findings"]] == [("new", 0), ("old", 50)]
    assert [row["ended"] for one in told["findings"] for row in one["outcomes"]] == ["exited 0", "exited 1"]
    assert told["difference"]["p_value"] < 0.05


# --- many commands, plans, workers, on the command line ---


@pytest.mark.slow
def test_the_lines_of_a_file_are_tried_and_ranked(tmp_path: Path) -> None:
    """Empty lines and remarks are no commands; each has its verdict, and the worst comes first."""
    listed = tmp_path / "commands"
    listed.write_text("# a remark\n\nsh -c 'exit 0'\nsh -c 'exit 1'\n")
    asked = ("--trials", "20", "--expect-below", ".5", "--on", "local:1", "--json")
    ran = command("experiment", *asked, "--commands", listed)
    told = json.loads(ran.stdout)
    assert ran.returncode == 1, ran.stderr
    assert told["ranking"] == ["sh -c 'exit 1'", "sh -c 'exit 0'"]
    assert [one["verdict"] for one in told["experiments"]] == ["PASS", "FAIL"]
    assert "FAIL 20 of 20 failed" in ran.stderr


@pytest.mark.long
@pytest.mark.slow
def test_what_a_command_lists_fills_the_other(tmp_path: Path) -> None:
    """Only lines with "::" do; a listing that fails, or lists nothing, is wrong use."""
    listing = tmp_path / "list"
    listing.write_text("#!/bin/sh\nprintf 'a.py::one\\nb.py::two\\n\\n2 tests collected\\n'\n")
    listing.chmod(0o755)
    ran = command("experiment", "--trials", "10", "--json", "--each", listing, "--", "test", "{}", "=", "a.py::one")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["ranking"] == ["test b.py::two = a.py::one", "test a.py::one = a.py::one"]
    for each in ("false", "echo nothing"):
        refused = command("experiment", "--trials", "10", "--each", each, "--", "test", "{}")
        assert (refused.returncode, "expected success and lines with ::" in refused.stderr) == (2, True)


@pytest.mark.long
@pytest.mark.slow
def test_a_plan_tries_ten_trials_and_says_how_long_it_takes(tmp_path: Path) -> None:
    """A run of its own warms up; nothing is journalled, and options of an experiment that is conducted are refused."""
    count = tmp_path / "count"
    asked = ("--plan", "--sprt", ".1:.3", "--power", ".9", "--json")
    ran = command("experiment", *asked, "--", "sh", "-c", f"echo >> {count}")
    assert ran.returncode == 0, ran.stderr
    (plan_of,) = json.loads(ran.stdout)["plans"]
    assert len(count.read_text()) == 11
    assert [one["rate"] for one in plan_of["forecasts"]][::2] == [0.1, 0.3]
    assert plan_of["forecasts"][2]["right"] >= 0.89
    for option in (("--history", tmp_path / "h"), ("--bisect",), ("--on", "local:1")):
        refused = command("experiment", "--plan", *option, "--", "true")
        assert refused.returncode in {2, 255}
        assert "is of an experiment that is conducted" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--commands", "/no/such/file"], "does not exist"),
        (["--each", "true", "--", "true"], "lines with ::"),
        (["--sprt", ".1:.3", "--power", ".8", "--beta", ".1", "--", "true"], "1 - beta"),
        (["--vs-name", "x", "--commands", "/dev/null"], "there is no command in it"),
        (["--backtrace", "abort"], "a command has one"),
        (["--alpha", ".1", "--", "true"], "without --sprt: --alpha has no part in it"),
        (["--seconds-per-trial", "1", "--", "true"], "without --plan: --seconds-per-trial has no part in it"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], message: str) -> None:
    """With exit code 2, and no traceback."""
    ran = command("experiment", *arguments)
    assert (ran.returncode, "Traceback" in ran.stderr) == (2, False)
    assert message in ran.stderr
