"""Backtraces on request: gdb's words from the core, nothing left behind, and a reason where there is none."""

import sys
from pathlib import Path

import pytest

from harness.supervisor import Shot, backtrace, supervise

needs_cores = pytest.mark.skipif(bool(backtrace.why_not()), reason=backtrace.why_not() or "cores can be had")
CRASH = (sys.executable, "-c", "import os; os.abort()")


@pytest.mark.slow
@needs_cores
def test_a_fault_of_ours_is_told_by_frames() -> None:
    """Innermost first, down to the thread's start, from a folder that is gone afterwards."""
    told = supervise(Shot("torn_publish", host="native"), deadline_s=30, backtrace=True).backtrace
    assert told is not None
    frames = told.splitlines()
    assert [frame.split()[0] for frame in frames] == [f"#{i}" for i in range(len(frames))]
    assert "start_thread" in told


@pytest.mark.slow
@needs_cores
def test_a_command_that_executes_another_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core names its program, and is removed from the folder where the command worked."""
    monkeypatch.chdir(tmp_path)
    told = supervise(["sh", "-c", 'exec "$@"', "sh", *CRASH], deadline_s=30, backtrace=True).backtrace
    assert told is not None
    assert "abort" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@needs_cores
def test_the_core_of_a_helper_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command itself exits: there is no backtrace, and no core either."""
    monkeypatch.chdir(tmp_path)
    evidence = supervise(["sh", "-c", '"$@"; exit 3', "sh", *CRASH], deadline_s=30, backtrace=True)
    assert (evidence.backtrace, list(tmp_path.iterdir())) == (None, [])


@needs_cores
def test_a_file_in_the_way_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the core would overwrite makes the backtrace unavailable, and stays."""
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / backtrace.PATTERN.read_text().strip()
    mine.write_text("mine")
    told = supervise(["sh", "-c", "kill -SEGV $$"], deadline_s=30, backtrace=True).backtrace
    assert (told or "").startswith("unavailable: a file called")
    assert mine.read_text() == "mine"


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gdb, or with a core_pattern that is a pipe, the evidence says so and the rest of it is there."""
    pattern = tmp_path / "core_pattern"
    pattern.write_text("|/usr/lib/crash-reporter %p\n")
    with monkeypatch.context() as patch:
        patch.setattr(backtrace, "PATTERN", pattern)
        patch.setattr(backtrace, "GDB", "sh")
        evidence = supervise(["sh", "-c", "kill -SEGV $$"], deadline_s=30, backtrace=True)
        assert "core_pattern is '|/usr/lib" in (evidence.backtrace or "")
        patch.setattr(backtrace, "GDB", "no-such-debugger")
        evidence = supervise(["sh", "-c", "kill -SEGV $$"], deadline_s=30, backtrace=True)
        assert evidence.backtrace == "unavailable: gdb is not installed"
    assert str(evidence.termination) == "SIGSEGV"


def test_nobody_asked() -> None:
    """Without the request there is no core and no word."""
    evidence = supervise(["sh", "-c", "kill -SEGV $$"], deadline_s=30)
    assert (evidence.backtrace, evidence.termination.core_dumped) == (None, False)  # type: ignore[union-attr]
