"""What public crash reports ran into: the kinds of programs, and what must be seen of each under supervision.

Programs are those of tests/programs. Where a toolchain is missing, tests are skipped; `doctor` gives the same reason.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from scipy import stats
from two_ways import BUILD, Program, environment, missing

from harness.dialects import find
from harness.evidence import Evidence, Exited, Signaled, Termination
from harness.supervisor import Limits, memory_cgroup, supervise

MIB = 1 << 20
SMALL = Limits(memory_bytes=64 * MIB, memory_by="rlimit")


def lived(command: str, builds: str, limits: Limits = Limits()) -> Evidence:  # noqa: B008 -- frozen
    """One life of a program that is built here."""
    program = Program(command, "a program of a report", run=tuple(command.split()), build=tuple(builds.split()))
    if reason := missing(program):
        pytest.skip(reason)
    env = environment() | {"BOOM": str(BUILD / "libboom.so")}
    with tempfile.TemporaryDirectory() as folder:  # a runtime may leave its report where it works
        return supervise(program.words(), limits, 60, env=env, directory=folder)


class Report(NamedTuple):
    """A command, what it is built from, how it ends, its cause under `strict`, and what else is seen of it."""

    command: str
    builds: str
    ends: Termination
    cause: str
    says: str = ""
    module: str = ""


JAVA = "java -XX:+UseSerialGC -Xmx64m -cp @BUILT@ Fault"
SEGV, ABRT = Signaled("SIGSEGV"), Signaled("SIGABRT")
REPORTS = {
    "a nil pointer that Go recovers from": Report(
        "go-fault recovered", "go-fault", Exited(0), "completed", "nil pointer"
    ),
    "a crash in C below Go, which Go reports": Report(
        "go-fault c", "go-fault", Exited(2), "exit_status", "goroutine 1"
    ),
    "a crash in C below Java, with its report": Report(
        f"{JAVA} 0", "java-fault java-boom", ABRT, "abort", "libboom.so", "libboom.so"
    ),
    "null checks by faults, compiled just in time": Report(f"{JAVA} null", "java-fault", Exited(0), "completed", "end"),
    "a stack overflow that Rust reports": Report(
        "rust-fault overflow", "rust-fault", ABRT, "abort", "has overflowed its stack", "rust-fault"
    ),
    "traps of WebAssembly": Report("node @SOURCES@/traps.js", "", Exited(0), "completed", '"RuntimeError":600'),
    "a handler that needs a deep stack": Report("manners deep 800", "manners", Exited(0), "completed", "fine"),
    "strict seccomp": Report("manners strict", "manners", SEGV, "null_dereference", "", "manners"),
    "a filter that refuses": Report("manners refused", "manners", SEGV, "null_dereference", "", "manners"),
    "a filter that kills": Report("manners killed", "manners", SEGV, "null_dereference", "", "manners"),
    "a reporter that raises again": Report(
        "manners report", "manners", SEGV, "null_dereference", "reported", "manners"
    ),
    "faults that were survived, and an abort": Report("manners then_abort 9", "manners", ABRT, "abort"),
    "a crash on a coroutine's stack": Report("threads coroutine", "threads", SEGV, "null_dereference", "", "threads"),
    "a crash in a thread with the least stack": Report("threads small_thread", "threads", SEGV, "null_dereference"),
}


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS.keys())
def test_a_report_is_seen_for_what_it_is(report: Report) -> None:
    """It ends as it does alone, says what it says alone, and its fault is the first that it did not survive."""
    evidence = lived(report.command, report.builds)
    assert (evidence.termination, find("strict").classify(evidence).cause) == (report.ends, report.cause)
    assert report.says in evidence.stdout + evidence.stderr
    assert not report.module or (evidence.fault and evidence.fault.module == report.module)


WAYS = [
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "valloc",
    "pvalloc",
]


@pytest.mark.parametrize("way", WAYS)
def test_every_allocator_that_is_refused_is_counted(way: str) -> None:
    """The crash behind it takes the path for want of memory; what is given is no refusal."""
    refused, given = (
        lived(f"allocators {way} 200", "allocators", SMALL),
        lived(f"allocators {way} 2", "allocators", SMALL),
    )
    assert (refused.termination, refused.memory.allocation_failures) == (SEGV, 1)
    assert find("strict").classify(refused).rule == "refused-allocation"
    assert (given.termination, given.memory.allocation_failures) == (Exited(0), 0)


def test_what_is_asked_past_the_allocator_is_not_counted() -> None:
    """A refused mmap() is none of malloc's."""
    evidence = lived("allocators mmap 200", "allocators", SMALL)
    assert (evidence.termination, evidence.memory.allocation_failures) == (SEGV, 0)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"])
def test_another_allocator_is_counted_too(library: str) -> None:
    """One that is preloaded stands behind ours; its name in LD_PRELOAD is kept."""
    if not Path("/usr/lib/x86_64-linux-gnu", library).exists():
        pytest.skip(f"{library} is not there")
    evidence = lived(f"env LD_PRELOAD={library} allocators malloc 200", "allocators", SMALL)
    assert (evidence.termination, find("strict").classify(evidence).rule) == (SEGV, "refused-allocation")


@pytest.mark.slow
@pytest.mark.skipif(memory_cgroup().version == 0, reason=memory_cgroup().reason or "a cgroup is there")
def test_many_threads_cost_no_memory_of_ours() -> None:
    """1,500 of them, each with a signal stack, in 64 MiB; they need less than 56 without us."""
    evidence = lived("threads many 1500", "threads", Limits(memory_bytes=64 * MIB, memory_by="cgroup"))
    assert evidence.termination == Exited(0), evidence.stdout
    assert (evidence.memory.peak_cgroup_bytes or 0) < 56 * MIB


@pytest.mark.slow
def test_go_under_a_limit_of_data() -> None:
    """What Go reserves is no data: it recovers from a nil pointer in 128 MiB."""
    evidence = lived("go-fault recovered", "go-fault", Limits(memory_bytes=128 * MIB, memory_by="rlimit"))
    assert evidence.termination == Exited(0)


@pytest.mark.slow
def test_a_set_uid_program_keeps_its_rights_for_an_ordinary_user() -> None:
    """Without rights there is no user namespace about it; it carries no library, and says why."""
    program = Program("setuid", "", run=("setuid", "states"), build=("setuid",), needs=("root", "setpriv"))
    if reason := missing(program):
        pytest.skip(reason)
    code = "from harness import supervisor; e = supervisor.supervise([%r, 'states']); print(e.stdout, e.black_box)"
    user = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        sys.executable,
        "-c",
        code % str(BUILD / "setuid"),
    ]
    seen = subprocess.run(user, capture_output=True, text=True, check=False, cwd="/", env={"PATH": os.defpath})
    if seen.returncode:
        pytest.skip(f"an ordinary user can't use this installation: {seen.stderr.strip().splitlines()[-1]}")
    assert "user 65534 0" in seen.stdout
    assert "is a privileged executable" in seen.stdout


@pytest.mark.long
@pytest.mark.slow
def test_a_worker_of_a_test_runner_that_crashes_is_no_crash_of_its_own(tmp_path: Path) -> None:
    """The controller of pytest-xdist survives it, and leaves with 1."""
    test = tmp_path / "test_crash.py"
    test.write_text("import ctypes\ndef test_a(): pass\ndef test_b(): ctypes.string_at(0)\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:crash_harness",
        str(test),
    ]
    evidence = supervise(command, deadline_s=120)
    assert (evidence.termination, find("strict").classify(evidence).rule) == (Exited(1), "exit-status")


FLAKY = 'exec 9>>"$1"; flock 9; echo x >&9; n=$(wc -l <"$1"); [ $((n % 3)) -eq 0 ] && kill -SEGV $$; exit 0'


@pytest.mark.slow
def test_a_flake_of_a_known_rate_is_found_at_that_rate(tmp_path: Path) -> None:
    """Each third start dies: 20 of 60, whoever counts, and the interval is scipy's of the same numbers."""
    command = ["bash", "-c", FLAKY, "flaky", str(tmp_path / "count")]
    ours = [sys.executable, "-m", "harness", "experiment", "--trials", "60", "--jobs", "1", "--json", "--", *command]
    told = json.loads(subprocess.run(ours, capture_output=True, text=True, check=True).stdout)
    (found,) = told["experiments"][0]["findings"]
    expected = stats.binomtest(20, 60).proportion_ci(method="wilson")
    assert (found["trials"], found["failures"]) == (60, 20)
    assert found["score"] == pytest.approx([expected.low, expected.high])
