"""The decision table, every row made to happen: what is seen, and what `strict` makes of it.

The numbers are the rows': wait status first, then record, OOM counter, intent and refused allocations.
"""

import sys
from pathlib import Path

import pytest

from harness.dialects import find
from harness.evidence import EndedBy, Evidence, Exited, Signaled
from harness.supervisor import Limits, memory_cgroup, supervise
from harness.wire.codes import Code

MIB = 1 << 20
NULL_PAGES = 64 * 1024
needs_cgroup = pytest.mark.skipif(memory_cgroup().version == 0, reason=memory_cgroup().reason or "there is one")
needs_version_1 = pytest.mark.skipif(
    memory_cgroup().version != 1,
    reason=memory_cgroup().reason or "only a memory cgroup of version 1 can have its OOM killer disabled",
)
AUTO = Limits(memory_bytes=64 * MIB)  # a cgroup where there is one
CGROUP = Limits(memory_bytes=64 * MIB, memory_by="cgroup")
REFUSING = Limits(memory_bytes=64 * MIB, data_bytes=48 * MIB)  # malloc is refused before the kernel kills


def live(
    command: list[str], limits: Limits = AUTO, *, deadline_s: float = 30, grace_s: float = 30, killed: bool = False
) -> tuple[Evidence, str]:
    """One life, seen by the library alone, and its cause under `strict`.

    The row's K is zero but where `killed` says that it is not.
    """
    evidence = supervise(command, limits, deadline_s, grace_s=grace_s, observe="library")
    assert evidence.black_box == "armed"
    assert bool(evidence.memory.oom_kills) is killed
    return evidence, find("strict").classify(evidence).cause


def code(evidence: Evidence) -> str | None:
    """Return the error's code under `strict`."""
    error = find("strict").classify(evidence).error
    return str(error.code) if error else None


def has_null_record(evidence: Evidence) -> bool:
    """MAPERR in the first pages, by the victim's own handler."""
    fault = evidence.fault
    return fault is not None and fault.code == "SEGV_MAPERR" and (fault.address or 0) < NULL_PAGES


@needs_cgroup
def test_row_1_a_clean_oom_kill(crasher: str) -> None:
    """Killed, no record, a count: OOM, and the larger machine."""
    evidence, cause = live([crasher, "fill:128"], CGROUP, killed=True)
    assert (evidence.termination, evidence.fault, evidence.ended_by) == (Signaled("SIGKILL"), None, EndedBy.SELF)
    assert (cause, code(evidence)) == ("oom_kill", Code.TASK_PROCESS_OOM_KILLED)


@pytest.mark.parametrize("steps", [["child", "kill_parent:9", "wait"], ["kill:9"]], ids=["2 by another", "3 by itself"])
def test_rows_2_and_3_sigkill_by_hand(crasher: str, steps: list[str]) -> None:
    """The two can't be told apart, and neither is an OOM kill."""
    evidence, cause = live([crasher, *steps])
    assert (evidence.termination, evidence.fault, evidence.ended_by) == (Signaled("SIGKILL"), None, EndedBy.SELF)
    assert (cause, code(evidence)) == ("killed_sender_unknown", Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE)


@pytest.mark.slow
def test_row_4_our_deadline(crasher: str) -> None:
    """Killed, with our intent: a timeout."""
    evidence, cause = live([crasher, "ignore:15", "wait"], deadline_s=0.5, grace_s=0.05)
    assert (evidence.termination, evidence.ended_by) == (Signaled("SIGKILL"), EndedBy.DEADLINE)
    assert (cause, code(evidence)) == ("timeout", Code.MAX_DURATION_EXCEEDED)


@needs_version_1
@pytest.mark.slow
def test_row_5_asleep_in_a_cgroups_oom(crasher: str, outer: Path) -> None:
    """With the OOM killer disabled a victim sleeps at its limit until our deadline: stuck, and said to be."""
    (outer / "memory.oom_control").write_text("1")
    evidence, cause = live([crasher, "ignore:15", "fill:128"], CGROUP, deadline_s=0.5, grace_s=0.05)
    assert (evidence.termination, evidence.ended_by) == (Signaled("SIGKILL"), EndedBy.DEADLINE)
    assert evidence.memory.stuck_in_oom
    assert (cause, code(evidence)) == ("timeout, stuck in the memory cgroup's OOM", Code.MAX_DURATION_EXCEEDED)


@pytest.mark.slow
def test_row_6_the_crash_came_before_the_kill(crasher: str) -> None:
    """Our intent is on record, and so is a crash: the crash it is, never a timeout."""
    evidence, cause = live([crasher, "sigterm", "null:0"], deadline_s=0.5)
    assert (evidence.termination, evidence.ended_by) == (Signaled("SIGSEGV"), EndedBy.DEADLINE)
    assert has_null_record(evidence)
    assert (cause, code(evidence)) == ("null_dereference", Code.TASK_PROCESS_SIGSEGV)


@needs_cgroup
@pytest.mark.slow
def test_row_7_an_oom_kill_and_ours(crasher: str) -> None:
    """Either could have been it, and the cause says so."""
    evidence, cause = live([crasher, "sigterm", "fill:128"], CGROUP, deadline_s=0.5, killed=True)
    assert (evidence.termination, evidence.ended_by) == (Signaled("SIGKILL"), EndedBy.DEADLINE)
    assert cause == "ambiguous: OOM kill or deadline"


def test_row_8_a_plain_null_dereference(crasher: str) -> None:
    """No allocation was refused."""
    evidence, cause = live([crasher, "null:0x18"])
    assert evidence.termination == Signaled("SIGSEGV")
    assert has_null_record(evidence)
    assert evidence.memory.allocation_failures == 0
    assert (cause, code(evidence)) == ("null_dereference", Code.TASK_PROCESS_SIGSEGV)


@pytest.mark.parametrize(
    "steps", [["refuse", "null:0x80"], ["refuse", "relieve", "null:0"]], ids=["9 unchecked", "11 handled, later a bug"]
)
def test_rows_9_and_11_null_after_a_refusal(crasher: str, steps: list[str]) -> None:
    """What the refusal has to do with it nobody knows: the cause says "after"."""
    evidence, cause = live([crasher, *steps], REFUSING)
    assert evidence.termination == Signaled("SIGSEGV")
    assert has_null_record(evidence)
    assert evidence.memory.allocation_failures == 1
    assert (cause, code(evidence)) == ("segv_after_allocation_failure", Code.TASK_PROCESS_MAYBE_OOM_KILLED)


def test_row_10_an_unrelated_null_near_the_limit(crasher: str) -> None:
    """Closeness is no evidence: seven eighths of the limit in use, nothing refused."""
    evidence, cause = live([crasher, "fill:56", "null:0"])
    assert evidence.memory.peak_rss_bytes is not None
    assert evidence.memory.peak_rss_bytes >= 56 * MIB
    assert evidence.memory.allocation_failures == 0
    assert (cause, code(evidence)) == ("null_dereference", Code.TASK_PROCESS_SIGSEGV)


@pytest.mark.parametrize("steps", [["overflow"], ["thread", "overflow"]], ids=["main thread", "another thread"])
def test_row_12_stack_overflow(crasher: str, steps: list[str]) -> None:
    """The address is the stack's."""
    evidence, cause = live([crasher, *steps])
    assert evidence.termination == Signaled("SIGSEGV")
    assert cause == "stack_overflow"


@needs_cgroup
def test_row_13_a_helper_oom_killed(crasher: str) -> None:
    """The main process left with 0: that is its status, and the helper is noted."""
    evidence, cause = live([crasher, "child", "fill:128", "exit:0"], CGROUP, killed=True)
    assert (evidence.termination, code(evidence)) == (Exited(0), None)
    assert cause == "completed, and a helper process was OOM-killed"


@needs_cgroup
def test_row_14_a_helper_oom_killed_then_null(crasher: str) -> None:
    """The main process crashed: that is its signal, and the helper is noted."""
    evidence, cause = live([crasher, "child", "fill:128", "null:0"], CGROUP, killed=True)
    assert evidence.termination == Signaled("SIGSEGV")
    assert has_null_record(evidence)
    assert evidence.memory.allocation_failures == 0
    assert (cause, code(evidence)) == (
        "null_dereference, and a helper process was OOM-killed",
        Code.TASK_PROCESS_SIGSEGV,
    )


def test_row_15_a_refusal_that_was_checked(crasher: str) -> None:
    """A program that leaves by itself has an exit status, C and Python alike."""
    evidence, cause = live([crasher, "refuse", "exit:12"], REFUSING)
    assert (evidence.termination, evidence.fault, cause) == (Exited(12), None, "exit_status")
    assert evidence.memory.allocation_failures == 1
    evidence, cause = live([sys.executable, "-S", "-c", "bytes(1 << 40)"], REFUSING)
    assert (evidence.termination, cause) == (Exited(1), "exit_status")
    assert "MemoryError" in evidence.stderr
    assert evidence.memory.allocation_failures


def test_row_16_abort_after_a_refusal(crasher: str) -> None:
    """By itself, after a refusal."""
    evidence, cause = live([crasher, "refuse", "abort"], REFUSING)
    assert evidence.termination == Signaled("SIGABRT")
    assert evidence.fault is not None
    assert (evidence.fault.code, evidence.memory.allocation_failures) == ("SI_TKILL", 1)
    assert (cause, code(evidence)) == ("abort_after_allocation_failure", Code.TASK_PROCESS_MAYBE_OOM_KILLED)


def test_row_17_segv_by_kill(crasher: str) -> None:
    """Sent, with its sender: no crash."""
    evidence, cause = live([crasher, "child", "kill_parent:11", "wait"])
    assert evidence.termination == Signaled("SIGSEGV")
    assert evidence.fault is not None
    assert (evidence.fault.code, evidence.fault.address) == ("SI_USER", None)
    assert evidence.fault.sender
    assert cause == "signal_was_sent"


@pytest.mark.parametrize(
    "steps",
    [["block", "null:0"], ["ignore:11", "null:0"]],
    ids=["blocked", "ignored"],
)
def test_row_18_segv_without_evidence(crasher: str, steps: list[str]) -> None:
    """Still a SIGSEGV."""
    evidence, cause = live([crasher, *steps])
    assert (evidence.termination, evidence.fault) == (Signaled("SIGSEGV"), None)
    assert (cause, code(evidence)) == ("segv_without_record", Code.TASK_PROCESS_SIGSEGV)


def test_row_19_exits_that_look_like_signals(crasher: str) -> None:
    """An exit status is never a signal, whoever chose it; at most the cause says what a shell would mean by it."""
    for command, status in (
        ([crasher, "exit:139"], 139),
        ([crasher, "exit:137"], 137),
        (["sh", "-c", f"{crasher} null:0; exit $?"], 139),
    ):
        evidence, cause = live(command)
        assert (evidence.termination, evidence.fault) == (Exited(status), None)
        assert cause.startswith("exit_")


def test_row_20_double_free(crasher: str) -> None:
    """The allocator aborts, by itself; nothing was refused."""
    evidence, cause = live([crasher, "double_free"])
    assert (evidence.termination, cause) == (Signaled("SIGABRT"), "abort")
    assert evidence.fault is not None
    assert (evidence.fault.code, evidence.memory.allocation_failures) == ("SI_TKILL", 0)


def test_row_21_sigbus(crasher: str) -> None:
    """Past the end of a file."""
    evidence, cause = live([crasher, "bus"])
    assert (evidence.termination, cause) == (Signaled("SIGBUS"), "bus_error")
    assert evidence.fault is not None
    assert evidence.fault.code == "BUS_ADRERR"


@needs_cgroup
def test_row_22_an_oom_kill_from_outside(crasher: str, outer: Path) -> None:
    """The limit above the attempt's was hit, its own was not: a larger machine is the wrong cure."""
    version = memory_cgroup().version
    (outer / {1: "memory.limit_in_bytes", 2: "memory.max"}[version]).write_text(str(32 * MIB))
    evidence, cause = live([crasher, "fill:128"], CGROUP, killed=True)
    assert (evidence.termination, evidence.fault) == (Signaled("SIGKILL"), None)
    assert (cause, code(evidence)) == (
        "oom_kill_from_outside_the_limit",
        Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE,
    )
