"""Scenario files: the schema is closed, errors name file and key, and the shipped data is sound."""

import re
import shutil
from pathlib import Path

import pytest

from harness.dialects import BUILT_IN
from harness.exceptions import InvalidInputError
from harness.scenarios.schema import Scenario, load, load_all, shipped
from harness.scenarios.select import select

GOOD = """
claim = "A crash is a crash."
cause = "test"
evidence = "real"

[[case]]
name = "one"
victim = { fault = "null_read" }

[[case.expect]]
dialects = ["upstream-4.4", "upstream-4.5", "strict"]
attempts = [{ ended = "SIGSEGV", code = "TASK_PROCESS_SIGSEGV" }]
status = "CRASHED"
"""

BAD = {
    "unknown key": (
        'cause = "test"',
        'cause = "test"\ncolour = "red"',
        "colour: there is no such key; expected one of claim, cause",
    ),
    "misspelt key": ('name = "one"', 'nam = "one"', r"case\[0\].nam: there is no such key; did you mean 'name'"),
    "misspelt evidence": ('evidence = "', 'evidence = "un', r"evidence: expected one of real, simulated, not 'un"),
    "far too many digits": ('cause = "test"', f"cause = {'9' * 5000}", "more digits than any number here"),
    "nested without end": ('cause = "test"', f"cause = {'[' * 5000}", "nested too deeply"),
    "no processes": ('name = "one"', 'name = "one"\nlimits = { processes = 0 }', r"limits.processes: expected a whole"),
    "unknown key below": (
        'name = "one"',
        'name = "one"\nretries = 3',
        r"case\[0\].retries: there is no such key; expected one of",
    ),
    "missing key": ('cause = "test"', "", "cause: expected, and it is not there"),
    "wrong type": ('name = "one"', "name = 1", r"case\[0\].name: expected text, not 1"),
    "unknown fault": ('"null_read"', '"null_raed"', r"case\[0\].victim.fault: .*did you mean 'null_read'"),
    "unknown parameter": (
        '"null_read"',
        '"null_read", parameters = { of = 1 }',
        r"case\[0\].victim.parameters.of: .*it has: offset",
    ),
    "parameter out of range": (
        '"null_read"',
        '"null_read", parameters = { offset = -1 }',
        r"parameters.offset: expected 0 to 4095 bytes, not -1",
    ),
    "tier not offered": (
        '"null_read"',
        '"null_read", tier = "wild"',
        r"victim.tier: null_read offers forced, not wild",
    ),
    "dose without seed": ('"null_read"', '"never", tier = "dosed", dose = 0.5', r"victim: 'dose' and 'seed'"),
    "dose out of range": (
        '"null_read"',
        '"never", tier = "dosed", dose = 1.5, seed = 1',
        r"case\[0\].victim.dose: expected a number of at most 1, not 1.5",
    ),
    "limit missing": ('"null_read"', '"refused_allocation"', r"limits.memory_scale: expected"),
    "bad size": (
        '"null_read"',
        '"refused_allocation", parameters = { bytes = "a lot" }',
        "'a lot' is no size",
    ),
    "unknown machine": (
        'name = "one"',
        'name = "one"\npolicy = { machine = "huge" }',
        r"policy.machine: expected one of",
    ),
    "bad policy": (
        'name = "one"',
        'name = "one"\npolicy = { retry = { maxAttempts = "3" } }',
        r"case\[0\].policy.retry.maxAttempts: expected a whole number of attempts, 1 or more, not '3'",
    ),
    "unknown code": (
        "TASK_PROCESS_SIGSEGV",
        "TASK_PROCESS_SIGSEV",
        r"attempts\[0\].code: .* not 'TASK_PROCESS_SIGSEV'; did you mean 'TASK_PROCESS_SIGSEGV'",
    ),
    "dialect not covered": (
        '"upstream-4.4", ',
        "",
        r"case\[0\].expect: upstream-4.4 must be covered once, not 0 times",
    ),
    "dialect unknown": (
        ', "strict"',
        ', "strikt"',
        r"case\[0\].expect\[0\].dialects: .*, not 'strikt'; did you mean 'strict'",
    ),
    "no status": ('status = "CRASHED"', "", r"expect\[0\].status: expected"),
    "bad host": (
        'name = "one"',
        'name = "one"\nhosts = { names = ["a"], bad = "b" }',
        r"hosts: 'bad' must be one of",
    ),
    "unknown policy key": (
        'name = "one"',
        'name = "one"\npolicy = { retry = { maxAttemps = 3 } }',
        r"case\[0\].policy.retry: .*there is no 'maxAttemps'",
    ),
    "negative attempts": (
        'name = "one"',
        'name = "one"\npolicy = { max_attempts = -1 }',
        r"case\[0\].policy.max_attempts: expected a whole number of attempts, 1 or more, not -1",
    ),
    "unknown status": (
        'status = "CRASHED"',
        'status = "DONE"',
        r"case\[0\].expect\[0\].status: expected .*TIMED_OUT, not 'DONE'",
    ),
    "unknown end": (
        'ended = "SIGSEGV"',
        'ended = "exit 0"',
        r"attempts\[0\].ended: expected SIGSEGV .*exited N.*, not 'exit 0'",
    ),
    "unknown signal": ('ended = "SIGSEGV"', 'ended = "SIGFOO"', r"attempts\[0\].ended: there is no signal 'SIGFOO'"),
    "unknown branch": (
        'ended = "SIGSEGV"',
        'ended = "SIGSEGV", branch = "polity"',
        "not 'polity'; did you mean 'policy'",
    ),
    "unknown host": ('ended = "SIGSEGV"', 'ended = "SIGSEGV", host = "z"', r"attempts\[0\].host: 'z' is none"),
    "not TOML": ('cause = "test"', "cause = test", "Invalid value"),
}


def written(folder: Path, text: str) -> Path:
    """A scenario file."""
    path = folder / "made.toml"
    path.write_text(text)
    return path


def test_a_good_file_loads(tmp_path: Path) -> None:
    """The name is the file's; the members are records."""
    scenario = load(written(tmp_path, GOOD))
    assert (scenario.name, scenario.case[0].victim.fault) == ("made", "null_read")


@pytest.mark.parametrize(("old", "new", "message"), BAD.values(), ids=BAD.keys())
def test_a_mistake_names_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    """One line, with what was expected."""
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(InvalidInputError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_the_same_case_twice_is_refused(tmp_path: Path) -> None:
    """Case names are unique within a file."""
    body = GOOD[GOOD.index("[[case]]") :]
    with pytest.raises(InvalidInputError, match="'one' is used twice"):
        load(written(tmp_path, GOOD + body))


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    """Missing files and bytes that are no text."""
    with pytest.raises(InvalidInputError, match="No such file"):
        load(tmp_path / "missing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInputError, match=r"binary.toml: it is not UTF-8"):
        load(tmp_path / "binary.toml")


def test_an_empty_selection_is_refused(tmp_path: Path) -> None:
    """Nothing to run is wrong use, not success."""
    with pytest.raises(InvalidInputError, match="no scenario files"):
        load_all(tmp_path)


def test_what_is_asked_for_twice_is_run_once(tmp_path: Path) -> None:
    """A case by itself and with its file is one case; two files of one name, whose cases look alike, are refused."""
    (twice,) = select(("controls[never]", "controls"), None)
    assert sorted(case.name for case in twice.case) == sorted(
        case.name for case in load(shipped() / "controls.toml").case
    )
    shutil.copy(shipped() / "controls.toml", tmp_path)
    with pytest.raises(InvalidInputError, match=r"the scenario name 'controls' is that of .* too"):
        select(("controls", str(tmp_path / "controls.toml")), None)


SHIPPED = load_all(shipped())


@pytest.mark.parametrize("scenario", SHIPPED, ids=[scenario.name for scenario in SHIPPED])
def test_shipped_data_is_sound(scenario: Scenario) -> None:
    """One-sentence claims that state and don't wish; every dialect is covered."""
    assert re.fullmatch(r"[A-Z][^.]*(\.[0-9][^.]*)*\.", scenario.claim)
    assert "should" not in scenario.claim
    for case in scenario.case:
        for dialect in BUILT_IN.values():
            assert case.expectation(dialect.name).attempts


def test_the_seeds_causes_are_all_there() -> None:
    """What the fix was made for, and its controls."""
    assert {scenario.cause for scenario in SHIPPED} >= {
        *("native addon race", "JIT/GC interaction", "near-OOM NULL dereference", "OOM kill", "bad host"),
        *("deterministic bug", "no retry policy", "controls"),
    }
