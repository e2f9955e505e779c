"""A machine that runs out of things: the true end, or a failure of the harness that says what is missing; no third.

What is short is real where that is possible: small file systems in a mount namespace of the test's own, a cgroup that
allows few processes. Quotas, failing disks and jumping clocks are a preloaded library's.
"""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.journal import Kind, read
from harness.supervisor.box import PLACES
from harness.supervisor.cgroups import pids_cgroup

pytestmark = pytest.mark.slow

HARNESS = f"{sys.executable} -m harness"
CRASH = "sh -c 'kill -SEGV $$'"
INFRA, WRONG_USE, FAIL = 3, 2, 1


NO_MOUNTS = subprocess.run(
    ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False
).stderr.strip()
needs_mounts = pytest.mark.skipif(bool(NO_MOUNTS), reason=f"no mount namespace: {NO_MOUNTS}")
Done = subprocess.CompletedProcess[str]


def run(*command: str, **more: Any) -> Done:
    """Run a command."""
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)


@pytest.fixture
def mounted(tmp_path: Path) -> Callable[..., Done]:
    """Run a script in a mount namespace of its own, with a small file system at `here`."""

    def in_namespace(options: str, script: str, here: Path | None = None) -> Done:
        place = here or tmp_path / "small"
        place.mkdir(exist_ok=True)
        text = f"mount -t tmpfs -o {options} none {place}\n{script.format(here=place, harness=HARNESS, crash=CRASH)}"
        (tmp_path / "script").write_text(text)
        return run("unshare", "-m", "sh", str(tmp_path / "script"))

    return in_namespace


@needs_mounts
@pytest.mark.parametrize("words", ["exec -- true", "run controls", "experiment --trials 10 -- true"])
def test_without_proc_nothing_is_run(words: str, mounted: Callable[..., Done]) -> None:
    """Nobody could be sure how a victim ended: said in one line, before it is started."""
    done = mounted("size=16k", f"{{harness}} {words}; echo $?", Path("/proc"))
    assert done.stdout.splitlines()[-1] == str(INFRA)
    assert "/proc is not mounted here" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@needs_mounts
@pytest.mark.parametrize("kib", [4, 16, 40, 64, 128])
def test_a_full_disk_under_the_history_is_infra(kib: int, mounted: Callable[..., Done]) -> None:
    """From no room for its first page to none for the last event: said in one line, and never a verdict."""
    done = mounted(f"size={kib}k", "{harness} exec --history {here}/h -- true; echo $?")
    code = int(done.stdout)
    assert "Traceback" not in done.stderr
    assert code in (INFRA, 0)
    assert code == 0 or "full" in done.stderr or "disk I/O" in done.stderr


@needs_mounts
def test_a_read_only_disk_under_the_history_is_told(mounted: Callable[..., Done], tmp_path: Path) -> None:
    """Before anything is lived."""
    script = "mount -o remount,ro {here}; {harness} exec --history {here}/h -- touch {here}/../lived; echo $?"
    done = mounted("size=1m", script)
    assert (done.stdout.strip(), "Traceback" in done.stderr) == (str(WRONG_USE), False), done.stderr
    assert not (tmp_path / "lived").exists()


@needs_mounts
def test_a_full_dev_shm_costs_no_verdict(mounted: Callable[..., Done]) -> None:
    """The box lies elsewhere then."""
    script = "head -c 9999 /dev/zero > {here}/filled 2>/dev/null\n{harness} exec --json -- {crash}"
    (attempt,) = json.loads(mounted("size=4k", script, Path(PLACES[0])).stdout)["attempts"]
    assert attempt["evidence"]["termination"] == {"kind": "signaled", "signal": "SIGSEGV"}
    assert attempt["evidence"]["black_box"] == "armed"


@pytest.mark.long
@pytest.mark.skipif(not pids_cgroup().version, reason=pids_cgroup().reason or "there is one")
def test_without_processes_to_be_had_it_is_infra_or_the_truth() -> None:
    """A pids cgroup that allows one more process, two more, and so on: no hang, nothing left, and at last the crash."""
    folder = Path(pids_cgroup().parent) / f"crash-harness-test-{os.getpid()}"
    members = "tasks" if pids_cgroup().version == 1 else "cgroup.procs"
    folder.mkdir()
    seen = []
    try:
        for room in range(1, 12):
            (folder / "pids.max").write_text(str(room))
            done = run("sh", "-c", f"echo $$ > {folder}/{members}; exec {HARNESS} exec --timeout 30 -- {CRASH}")
            seen.append(done.returncode)
            assert "Traceback" not in done.stderr
            assert done.returncode in (INFRA, FAIL)
            assert done.returncode == INFRA or "SIGSEGV" in done.stderr
            assert not (folder / members).read_text()
    finally:
        folder.rmdir()
    assert (seen[0], seen[-1]) == (INFRA, FAIL)


@pytest.fixture
def short(compile_program: Callable[..., str]) -> Callable[..., Done]:
    """Run the harness with the library."""
    library = compile_program("shortage.c", "shortage.so", "-shared", "-fPIC")

    def in_short(*words: str, **variables: object) -> Done:
        told = {name: str(value) for name, value in variables.items()}
        environment = {**os.environ, "LD_PRELOAD": library, **told}
        command = [sys.executable, "-m", "harness", *words]
        return run(*command, env=environment)

    return in_short


@pytest.mark.long
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_that_fails_from_the_nth_write_on_is_infra(
    error: int, short: Callable[..., Done], tmp_path: Path
) -> None:
    """Whatever the error, and wherever it begins: exit 3 or the true end; what was acknowledged can be read."""
    ends = []
    for nth in (1, 2, 3, 5, 8, 13, 21, 34, 400):
        path = tmp_path / f"h{nth}"
        words = ["exec", "--history", str(path), "--", "sh", "-c", "exit 7"]
        done = short(*words, SHORT_ERRNO=error, SHORT_FROM=nth, SHORT_PATH=path)
        ends.append(done.returncode)
        assert "Traceback" not in done.stderr
        assert done.returncode in (INFRA, WRONG_USE, FAIL), done.stderr
        assert done.returncode != FAIL or "exited 7" in done.stderr
    assert (ends[0] != FAIL, ends[-1]) == (True, FAIL)


@pytest.mark.parametrize("seconds", [86_400, 10**8])
def test_a_clock_that_jumps_moves_no_deadline(seconds: int, short: Callable[..., Done], tmp_path: Path) -> None:
    """A day forth and back at each look: the deadline is kept, and the history has its events in their order."""
    path = tmp_path / "h"
    before = psutil.boot_time()
    words = ["exec", "--json", "--timeout", "0.5", "--history", str(path), "--", "sleep", "60"]
    done = short(*words, SHORT_CLOCK=seconds)
    (attempt,) = json.loads(done.stdout)["attempts"]
    assert attempt["evidence"]["ended_by"] == "deadline"
    assert 0.4 < attempt["evidence"]["duration_s"] < 20
    with read(path) as history:
        kinds = [event.kind for event in history.events()]
    assert kinds.index(Kind.STARTED) < kinds.index(Kind.KILL_INTENT) < kinds.index(Kind.FINISHED)
    assert abs(psutil.boot_time() - before) < 60
