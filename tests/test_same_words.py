"""The same words mean the same on the command line, in Python, in a scenario and in a fixture: runs, and mistakes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import harness
from harness import Policy, Run
from harness.dialects import find
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
    ("crash", "nothing", "upstream-4.5"),
    ("crash", "attempts", "upstream-4.5"),
    ("crash", "attempts", "upstream-4.4"),
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


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "policy", "dialect"), CALLS, ids="-".join)
def test_the_same_words_give_the_same_run(
    tmp_path: Path, run_job: Callable[..., Run], ending: str, policy: str, dialect: str
) -> None:
    """`exec --json`, harness.run, a scenario and a fixture: status, and number, machine, end, code, branch and delay."""
    end, said = ENDINGS[ending], POLICIES[policy]
    case = load(scenario(tmp_path, f"victim = {{ {end.fault} }}\npolicy = {{ {said.table} }}"))
    stories = {
        "exec": by_exec(end, said, dialect),
        "python": story(harness.run(end.job, said.policy, dialect=dialect, seed=SEED)),
        "scenario": story(Campaign(find(dialect), SEED).live(case, case.case[0]).run),
        "fixture": story(run_job(end.command, said.policy, dialect=dialect, seed=SEED)),
    }
    assert stories == dict.fromkeys(stories, stories["python"])
