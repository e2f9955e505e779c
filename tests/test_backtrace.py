"""Backtraces on request: gdb's words from the core, nothing left behind, and a reason where there is none."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.supervisor import Shot, backtrace, core, supervise

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


@pytest.mark.slow
@needs_cores
def test_the_core_of_a_stranger_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else crashes where the command works, meanwhile: that core is theirs."""
    monkeypatch.chdir(tmp_path)
    strangers: list[int] = []

    def relay(_: int, __: bytes) -> None:
        crash = "ulimit -c $(ulimit -H -c); kill -SEGV $$"
        strangers.append(subprocess.run(["sh", "-c", crash], check=False, cwd=tmp_path).returncode)

    evidence = supervise(["sh", "-c", "echo up; sleep 0.5"], deadline_s=30, backtrace=True, relay=relay)
    assert (str(evidence.termination), strangers) == ("exited 0", [-signal.SIGSEGV])
    assert [core.owner(path) is not None for path in tmp_path.iterdir()] == [True]


@pytest.mark.slow
@needs_cores
def test_nothing_of_the_victims_is_an_argument_of_gdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A victim whose name is an option, of a file that is there too: gdb reads the file and runs nothing."""
    monkeypatch.chdir(tmp_path)
    name = f"--eval-command=shell touch {tmp_path.name}"
    shutil.copy("/bin/sh", tmp_path / name)
    (tmp_path / f"{name}-gdb.py").write_text(f"open({str(tmp_path / 'PWNED')!r}, 'w')")
    argv = [sys.executable, "-S", "-c", f"import os; os.execv({name!r}, ['sh', '-c', 'kill -SEGV $$'])"]
    told = supervise(argv, deadline_s=60, backtrace=True).backtrace or ""
    assert told.startswith("#0")
    assert {one.name for one in tmp_path.iterdir()} == {name, f"{name}-gdb.py"}


def test_a_torn_core_is_nobodys(tmp_path: Path) -> None:
    """Whatever a victim leaves under the name of a core is neither read beyond its end nor taken for one."""
    path = tmp_path / "core"
    for data in (b"", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + bytes(10) + b"\x04\0" + b"\xff" * 46):
        path.write_bytes(data)
        assert backtrace._owner(path) is None
    link = tmp_path / "link"
    link.symlink_to("/proc/self/exe")
    assert backtrace._owner(link) is None


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


@pytest.mark.slow
@needs_cores
def test_two_in_one_folder_do_not_take_each_others_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one, whose victim may have the same pid and whose core the same name, says that it has none."""
    monkeypatch.chdir(tmp_path)
    inner: list[str | None] = []

    def relay(_: int, __: bytes) -> None:
        inner.append(supervise(["sh", "-c", "kill -SEGV $$"], deadline_s=30, backtrace=True).backtrace)

    outer = supervise(["sh", "-c", "echo up; sleep 0.5; kill -ABRT $$"], deadline_s=30, backtrace=True, relay=relay)
    assert inner == [f"unavailable: another one waits for a core in {tmp_path}"]
    assert (outer.backtrace or "").startswith("#0")
    assert list(tmp_path.iterdir()) == []
