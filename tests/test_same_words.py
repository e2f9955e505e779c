"""The same words mean the same on the command line, in Python, in a scenario and in a fixture: runs, and mistakes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

import harness
from harness import Fault, InvalidInputError, Limits, Policy, Run
from harness.cli.program import program
from harness.dialects import BUILT_IN, find
from harness.scenarios.campaign import Campaign
from harness.scenarios.schema import load

SEED = 7
PROGRAM = [sys.executable, "-m", "harness"]

SCENARIO = """
claim = "A case that is lived, whatever it expects."
cause = "none"
evidence = "simulated"
[[case]]
name = "one"
{members}
[[case.expect]]
dialects = {dialects}
attempts = [{{ ended = "silent" }}]
status = "CRASHED"
"""


class Lived(NamedTuple):
    """What must be the same of an attempt."""

    number: int
    machine: str
    termination: str
    code: str | None
    branch: str | None
    delay_ms: float | None


Story = tuple[str, list[Lived]]


class Ending(NamedTuple):
    """The same end three times: of a fault, of a command and of a function."""

    fault: str
    command: list[str]
    job: Any


class Said(NamedTuple):
    """One policy in three languages."""

    policy: Policy
    words: list[str]
    table: str


def crash() -> None:
    """Send itself SIGSEGV."""
    signal.raise_signal(signal.SIGSEGV)


def leave(status: int) -> None:
    """Exit without an answer."""
    os._exit(status)


ENDINGS = {
    "crash": Ending('fault = "raised_segv"', ["sh", "-c", "kill -SEGV $$"], crash),
    "exit": Ending(
        'fault = "exit_status", parameters = { status = 3 }', ["sh", "-c", "exit 3"], harness.call(leave, 3)
    ),
    "success": Ending('fault = "never"', ["true"], harness.call(len, [])),
}
MOVING = {"maxAttempts": 2, "factor": 3, "outOfMemory": {"machine": "large-1x"}}
POLICIES = {
    "nothing": Said(Policy(), [], ""),
    "attempts": Said(Policy(3), ["--max-attempts", "3"], "max_attempts = 3, retry = { maxAttempts = 3 }"),
    "a config": Said(
        Policy(retry=MOVING, machine="medium-1x"),
        ["--retry-config", json.dumps(MOVING), "--machine", "medium-1x"],
        'max_attempts = 2, machine = "medium-1x", '
        'retry = { maxAttempts = 2, factor = 3, outOfMemory = { machine = "large-1x" } }',
    ),
    "both": Said(
        Policy(3, {"maxAttempts": 2, "randomize": False}),
        ["--max-attempts", "3", "--retry-config", '{"maxAttempts": 2, "randomize": false}'],
        "max_attempts = 3, retry = { maxAttempts = 2, randomize = false }",
    ),
    "no locked config": Said(
        Policy(3, retry=None), ["--max-attempts", "3", "--retry-config", "null"], "max_attempts = 3"
    ),
}
CALLS = [
    ("crash", "nothing", "upstream-4.4"),
    ("crash", "attempts", "upstream-4.5"),
    ("crash", "a config", "strict"),
    ("crash", "no locked config", "upstream-4.5"),
    ("exit", "both", "upstream-4.5"),
    ("exit", "attempts", "strict"),
    ("success", "attempts", "upstream-4.5"),
]


def scenario(folder: Path, members: str) -> Path:
    """Write a scenario of one case."""
    path = folder / "made.toml"
    covered = ["upstream-4.4", "upstream-4.5", "strict"]
    path.write_text(SCENARIO.format(members=members, dialects=json.dumps(covered)))
    return path


def story(run: Run | None) -> Story:
    """Read a run of Python's."""
    assert run is not None
    lived = []
    for one in run.attempts:
        error, branch = one.enhanced or one.error, str(one.decision.branch) if one.decision else None
        code = error.code if error and isinstance(error.code, str) else None
        lived.append(Lived(one.number, one.machine, str(one.evidence.termination), code, branch, one.delay_ms))
    return run.status, lived


def by_exec(ending: Ending, said: Said, dialect: str) -> Story:
    """Read the JSON of the command line."""
    words = ["exec", "--json", "--dialect", dialect, "--seed", str(SEED), *said.words, "--", *ending.command]
    answer = json.loads(subprocess.run([*PROGRAM, *words], capture_output=True, check=False).stdout)
    lived = []
    for one in answer["attempts"]:
        end, decision = one["evidence"]["termination"], one["decision"] or {}
        error, delay = one["enhanced"] or one["error"] or {}, decision.get("settings", {}).get("delay")
        spelt = end["signal"] if end["kind"] == "signaled" else f"exited {end['status']}"
        lived.append(Lived(one["number"], one["machine"], spelt, error.get("code"), decision.get("branch"), delay))
    return answer["status"], lived


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(("ending", "policy", "dialect"), CALLS, ids=["-".join(call) for call in CALLS])
def test_the_same_words_give_the_same_run(
    tmp_path: Path, run_job: Callable[..., Run], ending: str, policy: str, dialect: str
) -> None:
    """Status, and number, machine, end, code, branch and delay: by exec, Python, a scenario and a fixture."""
    end, said = ENDINGS[ending], POLICIES[policy]
    case = load(scenario(tmp_path, f"victim = {{ {end.fault} }}\npolicy = {{ {said.table} }}"))
    stories = {
        "exec": by_exec(end, said, dialect),
        "python": story(harness.run(end.job, said.policy, dialect=dialect, seed=SEED)),
        "scenario": story(Campaign(find(dialect), SEED).live(case, case.case[0]).run),
        "fixture": story(run_job(end.command, said.policy, dialect=dialect, seed=SEED)),
    }
    assert stories == dict.fromkeys(stories, stories["python"])


class Mistake(NamedTuple):
    """One mistake, written wherever it can be, and how each answer ends."""

    message: str
    python: Callable[[], object]
    words: list[str] | None = None
    members: str | None = None
    fixture: Callable[..., object] | None = None


def config(members: str, message: str) -> Mistake:
    """Make a mistake in a retry config, given as JSON."""
    table = members.replace(":", " =")
    return Mistake(
        f"policy.retry{message}",
        lambda: Policy(3, json.loads(members)),
        ["exec", "--retry-config", members, "--", "true"],
        f'victim = {{ fault = "never" }}\npolicy = {{ retry = {table} }}',
    )


ATTEMPTS = "expected a whole number of attempts, 1 or more, not"
SECONDS = "expected a number of seconds above 0 and at most 1000000000, not"
PRESETS = "expected one of micro, small-1x, small-2x, medium-1x, medium-2x, large-1x, large-2x, not"
MEMBERS = "factor, maxAttempts, maxTimeoutInMs, minTimeoutInMs, outOfMemory, randomize"
MISTAKES = {
    "a slip": config(
        '{"maxAttemps": 5}', f": there is no 'maxAttemps'; there are {MEMBERS}; did you mean 'maxAttempts'?"
    ),
    "text": config('{"maxAttempts": "3"}', f".maxAttempts: {ATTEMPTS} '3'"),
    "negative attempts": config('{"maxAttempts": -2}', f".maxAttempts: {ATTEMPTS} -2"),
    "negative time": config(
        '{"minTimeoutInMs": -10}', ".minTimeoutInMs: expected a whole number of milliseconds, 0 or more, not -10"
    ),
    "negative factor": config('{"factor": -3}', ".factor: expected a number, 0 or more, not -3"),
    "a larger machine": config(
        '{"outOfMemory": {"machine": "large1x"}}',
        f".outOfMemory.machine: {PRESETS} 'large1x'; did you mean 'large-1x'?",
    ),
    "no attempts": Mistake(
        f"policy.max_attempts: {ATTEMPTS} 0",
        lambda: Policy(0),
        ["exec", "--max-attempts", "0", "--", "true"],
        'victim = { fault = "never" }\npolicy = { max_attempts = 0 }',
    ),
    "a machine": Mistake(
        f"policy.machine: {PRESETS} 'smal-1x'; did you mean 'small-1x'?",
        lambda: Policy(machine="smal-1x"),
        ["exec", "--machine", "smal-1x", "--", "true"],
        'victim = { fault = "never" }\npolicy = { machine = "smal-1x" }',
    ),
    "a fault": Mistake(
        "fault: there is no fault 'nul_read'; did you mean 'null_read'?",
        lambda: Fault("nul_read"),
        ["faults", "nul_read"],
        'victim = { fault = "nul_read" }',
        lambda fixtures: fixtures["fire_fault"]("nul_read"),
    ),
    "a parameter": Mistake(
        "parameters.ofset: null_read has no such parameter; it has: offset; did you mean 'offset'?",
        lambda: Fault("null_read", parameters={"ofset": 1}),
        None,
        'victim = { fault = "null_read", parameters = { ofset = 1 } }',
        lambda fixtures: fixtures["fire_fault"]("null_read", ofset=1),
    ),
    "a parameter's range": Mistake(
        "parameters.offset: expected 0 to 4095 bytes, not 4096",
        lambda: Fault("null_read", parameters={"offset": 4096}),
        None,
        'victim = { fault = "null_read", parameters = { offset = 4096 } }',
        lambda fixtures: fixtures["fire_fault"]("null_read", offset=4096),
    ),
    "no limit": Mistake(
        "expected, since refused_allocation runs under a limit only",
        lambda: harness.run(Fault("refused_allocation")),
        None,
        'victim = { fault = "refused_allocation" }',
        lambda fixtures: fixtures["fire_fault"]("refused_allocation"),
    ),
    "a time": Mistake(
        f"_s: {SECONDS} -1.0",
        lambda: harness.run(["true"], timeout_s=-1.0),
        ["exec", "--timeout", "-1", "--", "true"],
        'victim = { fault = "never" }\nlimits = { timeout_s = -1.0 }',
        lambda fixtures: fixtures["supervise_command"](["true"], deadline_s=-1.0),
    ),
    "no number": Mistake(
        f"_s: {SECONDS} nan",
        lambda: harness.run(["true"], timeout_s=float("nan")),
        ["exec", "--timeout", "nan", "--", "true"],
        'victim = { fault = "never" }\nlimits = { timeout_s = nan }',
        lambda fixtures: fixtures["run_job"](["true"], timeout_s=float("nan")),
    ),
    "no memory": Mistake(
        "limits.memory_bytes: expected a whole number of bytes above 0 and below 2**63, not 0",
        lambda: Limits(0),
        ["exec", "--memory", "0", "--", "true"],
    ),
    "no files": Mistake(
        "limits.open_files: expected a whole number of files above 0 and below 2**63, not 0",
        lambda: Limits(open_files=0),
        ["exec", "--open-files", "0", "--", "true"],
        'victim = { fault = "never" }\nlimits = { open_files = 0 }',
    ),
    "no processes": Mistake(
        f"limits.processes: expected a whole number of processes above 0 and below 2**63, not {2**63}",
        lambda: Limits(processes=2**63),
        ["exec", "--processes", str(2**63), "--", "true"],
    ),
    "a means": Mistake(
        "limits.memory_by: expected one of auto, rlimit, cgroup, not 'cgruop'; did you mean 'cgroup'?",
        lambda: Limits(1, memory_by="cgruop"),  # type: ignore[arg-type]  # which is the mistake
        ["exec", "--memory-by", "cgruop", "--", "true"],
    ),
    "a dialect": Mistake(
        f"expected one of {', '.join(BUILT_IN)}, not 'stric'; did you mean 'strict'?",
        lambda: harness.run(["true"], dialect="stric"),
        ["exec", "--dialect", "stric", "--", "true"],
        None,
        lambda fixtures: fixtures["run_job"](["true"], dialect="stric"),
    ),
}
IN_PYTHON: dict[str, tuple[Callable[[], object], str]] = {
    "attempts": (lambda: Policy("3"), f"policy.max_attempts: {ATTEMPTS} '3'"),  # type: ignore[arg-type]  # the mistake
    "a config": (lambda: Policy(3, [1]), "policy.retry: expected a table of upstream's retry options, not [1]"),  # type: ignore[arg-type]  # as above
    "a host": (
        lambda: Fault("null_read", host="ruby"),  # type: ignore[arg-type]  # as above
        "fault.host: expected one of python, native, not 'ruby'",
    ),
    "a mode": (lambda: Fault("null_read", "wild"), "fault.mode: null_read offers forced, not 'wild'"),
    "a time": (lambda: harness.run(["true"], timeout_s="60"), f"timeout_s: {SECONDS} '60'"),  # type: ignore[arg-type]  # as above
    "no job": (
        lambda: harness.run(None),  # type: ignore[arg-type]  # as above
        "job: expected a fault, a list of words, a function or a harness.call, not None",
    ),
    "an argument": (
        lambda: harness.run(crash, "b"),  # type: ignore[arg-type]  # as above
        "policy: expected a harness.Policy; a function's arguments go into harness.call, not 'b'",
    ),
    "limits": (lambda: harness.run(crash, limits=64), "limits: expected a harness.Limits, not 64"),  # type: ignore[arg-type]  # as above
    "a seed": (lambda: harness.run(crash, seed="7"), "seed: expected a whole number, not '7'"),  # type: ignore[arg-type]  # as above
    "a path": (lambda: harness.run(crash, history=7), "history: expected a path, not 7"),  # type: ignore[arg-type]  # as above
}


def answered(call: Callable[[], object]) -> str:
    """What InvalidInputError says."""
    with pytest.raises(InvalidInputError) as caught:
        call()
    return str(caught.value)


def refused(words: list[str]) -> tuple[int, str]:
    """The exit code of the command line, and what it says before it ends."""
    try:
        program(words, prog_name="crash-harness", standalone_mode=False)
    except click.ClickException as error:
        return error.exit_code, error.format_message()
    except InvalidInputError as error:
        return error.exit_code, str(error)
    return 0, "nothing"


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_has_the_same_words(tmp_path: Path, request: pytest.FixtureRequest, name: str) -> None:
    """What, where, what was expected and what was near: in Python, on the command line, in a scenario, in a fixture."""
    mistake = MISTAKES[name]
    answers = [answered(mistake.python)]
    if mistake.words:
        code, answer = refused(mistake.words)
        assert code == 2
        answers.append(answer)
    if mistake.members:
        path = scenario(tmp_path, mistake.members)
        answers.append(answered(lambda: load(path)))
    if mistake.fixture:
        fixtures = {one: request.getfixturevalue(one) for one in ("fire_fault", "supervise_command", "run_job")}
        answers.append(answered(lambda: mistake.fixture(fixtures) if mistake.fixture else None))
    assert [answer for answer in answers if not answer.endswith(mistake.message)] == []


@pytest.mark.parametrize("name", IN_PYTHON)
def test_a_mistake_that_only_python_allows(name: str) -> None:
    """A value of another kind is refused as one of the wrong size is."""
    call, message = IN_PYTHON[name]
    assert answered(call) == message
