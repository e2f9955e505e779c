"""The delta between dialects: the same ends decided again, by values; and one table in each format."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.dialects import BUILT_IN, DEFAULT, NEWEST, find
from harness.engine.loop import MISTAKE, Engine, Life, Run
from harness.engine.policy import Policy
from harness.engine.rejudged import Rejudged, rejudge
from harness.evidence import Evidence, Exited, Signaled
from harness.experiments.tally import Fate, Trial
from harness.experiments.variant import Variant
from harness.journal import read
from harness.report.deltas import Ends, of_run, remark, rows
from harness.report.formats import render
from harness.report.reader import read as read_report
from harness.scenarios.schema import PolicySpec
from harness.wire.errors import TaskError

PROGRAM = [sys.executable, "-m", "harness"]
SEGV, ABORT, DONE = (Life(Evidence(end)) for end in (Signaled("SIGSEGV"), Signaled("SIGABRT"), Exited(0)))
EXIT = Life(Evidence(Exited(3)))
THROWN = Life(DONE.evidence, thrown=TaskError("BUILT_IN_ERROR", name="Error", message="broken", stack_trace=""))
THREE = Policy(3)


def lived(*ends: Life, policy: Policy = THREE, dialect: str = DEFAULT) -> Run:
    """Live a run whose attempts end so; the last end is for ever."""
    engine = Engine(policy, find(dialect), lambda: 0.5)
    return engine.run(lambda number, _: ends[min(number, len(ends)) - 1])


def test_a_version_that_never_retried_a_crash_would_have_ended_at_once() -> None:
    """The known-bad control, on a flaky run; the run's own dialect says what was lived."""
    run = lived(SEGV, SEGV, DONE)
    assert rejudge(run.attempts, THREE, find("upstream-4.4")) == Rejudged("CRASHED", 1)
    assert rejudge(run.attempts, THREE, NEWEST) == Rejudged("COMPLETED_SUCCESSFULLY", 3) == Rejudged(run.status, 3)


def test_where_a_dialect_would_have_gone_on_nothing_is_made_up() -> None:
    """Strict retries an abort, of which upstream lived the first attempt alone."""
    assert rejudge(lived(ABORT).attempts, THREE, find("strict")) == Rejudged(None, 1)
    assert str(Rejudged(None, 1)) == "tried again after 1"


def test_fifteen_attempts_are_twelve_to_the_versions_that_count_crashes() -> None:
    """A failure that is retried through the queue counts there toward its limit, up to 4.5.12."""
    policy = Policy(15)
    attempts = lived(EXIT, policy=policy).attempts
    assert len(attempts) == 15
    answers = {name: rejudge(attempts, policy, find(name)) for name in ("upstream-4.4", "upstream-4.5", "upstream-4.8")}
    old = Rejudged("SYSTEM_FAILURE", 12)
    assert answers == {"upstream-4.4": old, "upstream-4.5": old, "upstream-4.8": Rejudged("CRASHED", 15)}


def test_what_was_thrown_is_thrown_again() -> None:
    """A wait status of 0 alone would have been a success."""
    run = lived(THROWN, DONE)
    assert rejudge(run.attempts, THREE, NEWEST) == Rejudged("COMPLETED_SUCCESSFULLY", 2)


def test_a_run_with_a_hole_is_not_decided_again() -> None:
    """An attempt that was lost with its supervisor has no end; a mistake of the caller's asks no dialect."""
    attempts = lived(SEGV, SEGV, DONE).attempts
    assert rejudge(attempts[1:], THREE, NEWEST) is None
    mistake = Engine(THREE, NEWEST, lambda: 0.5).run(lambda *_: Life(DONE.evidence, mistake="no such function"))
    assert mistake.attempts[0].rule == MISTAKE
    assert rejudge(mistake.attempts, THREE, NEWEST) is None


def test_a_table_has_the_answers_that_are_others() -> None:
    """A row for each, with the dialects that agree on it; runs that come out the same are counted."""
    flaky, same = of_run("flaky", lived(SEGV, DONE), THREE, DEFAULT), of_run("same", lived(DONE), THREE, DEFAULT)
    assert flaky
    assert same
    assert list(rows((flaky, same))) == [
        (
            "flaky",
            "SIGSEGV, exited 0",
            "1",
            f"COMPLETED_SUCCESSFULLY after 2 attempts ({DEFAULT})",
            "upstream-4.4, upstream-v1",
            "CRASHED after 1 attempt",
        )
    ]
    assert (
        remark((flaky, same))
        == "if its attempts had ended as they did; 1 more would have come out the same under every dialect"
    )


def trial(number: int, evidence: Evidence | None) -> Trial:
    """A crash, of which 4.4 gives no other code."""
    facts = ("SIGSEGV", True, "TASK_PROCESS_SIGSEGV", "unexpected-exit", "segmentation_fault", None)
    return Trial("x", number, 0, 0, 0, None, *facts, fate=Fate.RETRIED, evidence=evidence)


def test_ends_of_one_kind_are_judged_by_the_evidence_that_was_kept() -> None:
    """The code is every trial's, the fate that of the first one whose evidence is there; without any it is not told."""
    policy = PolicySpec(3, {"maxAttempts": 3})
    seen, blind = (Ends(Variant("x", DEFAULT, 0, command=("x",), policy=policy)) for _ in range(2))
    for number in (1, 2):
        seen.add(trial(number, SEGV.evidence if number == 1 else None))
        blind.add(trial(number, None))
    (told,) = seen.deltas()
    assert (told.times, told.answer) == (2, "TASK_PROCESS_SIGSEGV, retried")
    assert told.dialects["upstream-4.4"] == "TASK_PROCESS_SIGSEGV, never retried"
    assert told.differing == {"upstream-4.4, upstream-v1": "TASK_PROCESS_SIGSEGV, never retried"}
    (unknown,) = blind.deltas()
    assert set(unknown.dialects.values()) == {"TASK_PROCESS_SIGSEGV"}


@pytest.mark.slow
def test_every_format_has_the_table(tmp_path: Path) -> None:
    """Of a command of the user's that crashes once: terminal, HTML, Markdown and JSON say what 4.4 would have done."""
    history, state = tmp_path / "h", tmp_path / "state"
    script = f"test -e {state} && exit 0; touch {state}; kill -SEGV $$"
    ran = subprocess.run(
        [*PROGRAM, "exec", "--max-attempts", "3", "--history", history, "--", "sh", "-c", script], check=False
    )
    assert ran.returncode == 0
    with read(history) as reading:
        report = read_report(reading, "h")
    (delta,) = json.loads(render("json", report))["deltas"]
    assert set(delta["dialects"]) == set(BUILT_IN)
    assert delta["dialects"]["upstream-4.4"] == "CRASHED after 1 attempt"
    for name in ("terminal", "html", "markdown"):
        text = render(name, report).replace("\\", "")
        assert "Under another engine" in text
        assert "CRASHED after 1 attempt" in text
    ET.fromstring(render("junit", report))  # noqa: S314 -- our own
