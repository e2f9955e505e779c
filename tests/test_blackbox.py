"""The black box of a foreign command: what it must see, what it can't see, and that ptrace agrees."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import Compile

from harness.dialects import find
from harness.evidence import Evidence, Exited, FaultRecord, Signaled
from harness.supervisor import Limits, box, containment, preload, supervise
from harness.supervisor.elf import read_program

MIB = 1 << 20
LIMITS = Limits(memory_bytes=256 * MIB, data_bytes=48 * MIB)
NOWHERE = 0x5EAD00000000


class Stop(NamedTuple):
    """A signal about to be delivered, as ptrace sees it."""

    number: int
    code: int
    address: int
    sender: int
    thread: int
    program_counter: int
    stack_pointer: int

    def record(self) -> FaultRecord:
        """The same as the box should have it, registers aside."""
        sent = self.code <= 0
        return FaultRecord(
            box.signal_name(self.number),
            box.code_name(self.number, self.code),
            None if sent else self.address,
            self.thread,
            self.sender if sent else None,
        )


def run(*command: str, black_box: bool = True) -> Evidence:
    """One life under the usual limits."""
    return supervise(command, LIMITS, 30, black_box=black_box)


def watched(oracle: str, *command: str) -> tuple[Evidence, int, list[Stop]]:
    """One life that ptrace looks at as well: evidence, the victim's pid, and its crash signals."""
    evidence = run(oracle, *command)
    if evidence.termination == Exited(77):
        pytest.skip("there is no ptrace")
    first, *lines = evidence.stdout.splitlines()
    stops = [Stop(*map(int, line.split())) for line in lines]
    return evidence, int(first.split()[1]), [stop for stop in stops if box.signal_name(stop.number) != "SIGCHLD"]


def without_registers(fault: FaultRecord | None) -> FaultRecord | None:
    """Ptrace is not asked for them."""
    return fault and FaultRecord(fault.signal, fault.code, fault.address, fault.thread, fault.sender)


RECORDED = {
    "NULL": (["null:0"], "SEGV_MAPERR"),
    "NULL and an offset": (["null:0x80"], "SEGV_MAPERR"),
    "write to a protected page": (["write_protected"], "SEGV_ACCERR"),
    "jump to data": (["jump_to_data"], "SEGV_ACCERR"),
    "wild pointer": (["wild"], "SEGV_MAPERR"),
    "stack overflow, main thread": (["overflow"], "SEGV_MAPERR"),
    "stack overflow, another thread": (["thread", "overflow"], "SEGV_ACCERR"),
    "crash in another thread": (["thread", "null:8"], "SEGV_MAPERR"),
    "crash with the heap lock held": (["heap_lock"], "SEGV_MAPERR"),
    "past the end of a file": (["bus"], "BUS_ADRERR"),
    "double free": (["double_free"], "SI_TKILL"),
    "abort": (["abort"], "SI_TKILL"),
    "stderr closed": (["close:2", "null:0"], "SEGV_MAPERR"),
    "every stream closed but the oracle's": (["close:0", "close:2", "null:0"], "SEGV_MAPERR"),
    "sent by itself": (["kill:11"], "SI_USER"),
    "sent by its child": (["child", "kill_parent:11"], "SI_USER"),
}
UNRECORDED = {
    "signal blocked": ["block", "null:0"],
    "signal ignored": ["ignore:11", "null:0"],
    "handler overwritten": ["replace:11", "null:0"],
    "alternate stack gone": ["no_stack", "overflow"],
}


@pytest.mark.parametrize(("steps", "code"), RECORDED.values(), ids=RECORDED.keys())
def test_the_box_agrees_with_ptrace(crasher: str, oracle: str, steps: list[str], code: str) -> None:
    """Signal, code, address, sender and thread of the very same death; and it dies of the original siginfo."""
    evidence, _, stops = watched(oracle, crasher, *steps)
    assert evidence.black_box == "armed"
    assert evidence.fault is not None
    assert (str(evidence.termination), evidence.fault.code) == (evidence.fault.signal, code)
    assert {stop.record() for stop in stops} == {without_registers(evidence.fault)}
    assert len(stops) == 2, "once to the handler, once to die of"


@pytest.mark.parametrize("steps", UNRECORDED.values(), ids=UNRECORDED.keys())
def test_where_there_is_no_record_the_signal_is_still_true(crasher: str, oracle: str, steps: list[str]) -> None:
    """The victim kept the handler from running: no record is made up, and SIGSEGV it is."""
    evidence, _, stops = watched(oracle, crasher, *steps)
    assert (evidence.termination, evidence.fault, evidence.black_box) == (Signaled("SIGSEGV"), None, "armed")
    assert {box.signal_name(stop.number) for stop in stops} == {"SIGSEGV"}


def test_a_crash_in_another_thread_names_the_thread(crasher: str, oracle: str) -> None:
    """Its id is not the process's."""
    evidence, pid, _ = watched(oracle, crasher, "thread", "null:8")
    assert evidence.fault is not None
    assert evidence.fault.thread not in (None, pid)


def test_a_stack_overflow_is_near_the_stack_pointer(crasher: str) -> None:
    """The registers in the record are those of the crash, not of the handler."""
    for steps in (["overflow"], ["thread", "overflow"]):
        fault = run(crasher, *steps).fault
        assert fault is not None
        assert fault.address is not None
        assert fault.stack_pointer is not None
        assert abs(fault.address - fault.stack_pointer) < 64 * 1024


def test_sigkill_leaves_no_record(crasher: str) -> None:
    """Nothing can see it."""
    evidence = run(crasher, "kill:9")
    assert (evidence.termination, evidence.fault, evidence.black_box) == (Signaled("SIGKILL"), None, "armed")


def test_a_threads_signal_stack_ends_with_it(crasher: str) -> None:
    """After 2000 threads that left by pthread_exit(), more than the limit would hold, one more still gets its stack."""
    evidence = run(crasher, "threads:2000", "thread", "overflow")
    assert evidence.termination == Signaled("SIGSEGV")
    assert evidence.fault is not None


def test_refused_allocations_are_counted(crasher: str) -> None:
    """One under RLIMIT_DATA, none without need, and none for what no machine could give."""
    refused, content = run(crasher, "refuse", "exit:12"), run(crasher, "fill:8", "exit:3")
    assert (refused.termination, refused.memory.allocation_failures) == (Exited(12), 1)
    assert (content.termination, content.memory.allocation_failures) == (Exited(3), 0)
    absurd = run(sys.executable, "-S", "-c", "import ctypes; ctypes.CDLL(None).malloc(ctypes.c_size_t(-1))")
    assert (absurd.termination, absurd.memory.allocation_failures) == (Exited(0), 0)


def test_a_childs_refusals_are_its_own(crasher: str) -> None:
    """A forked child shares the page, and counts nothing there."""
    evidence = run(crasher, "child", "refuse", "exit:5")
    assert (evidence.termination, evidence.memory.allocation_failures) == (Exited(5), 0)


def test_a_program_at_a_fixed_address_is_counted(compile_program: Compile) -> None:
    """There malloc has the address of a stub in the program, and is ours all the same."""
    program = compile_program("crasher.c", "crasher-fixed", "-no-pie", "-fno-pie")
    evidence = run(program, "refuse", "exit:12")
    assert (evidence.termination, evidence.memory.allocation_failures) == (Exited(12), 1)


def test_a_program_with_its_own_malloc_is_not_counted(compile_program: Compile) -> None:
    """It is armed all the same, and no zero is invented."""
    program = compile_program("crasher.c", "crasher-own-malloc", "-DOWN_MALLOC")
    evidence = run(program, "null:0")
    assert evidence.black_box == "armed"
    assert evidence.fault is not None
    assert evidence.memory.allocation_failures is None


def test_an_exec_by_the_victim_itself_arms_again(crasher: str) -> None:
    """A shell that execs is the same process, however often, and whatever descriptors it uses."""
    evidence = run("sh", "-c", f"exec 3>&1 4>&1 5>&1 6>&1 7>&1 8>&1 9>&1; exec sh -c 'exec env {crasher} null:16'")
    assert (evidence.termination, evidence.black_box) == (Signaled("SIGSEGV"), "armed")
    assert evidence.fault is not None
    assert evidence.fault.address == 16


@pytest.mark.parametrize(
    "script",
    ["exec {crasher} child null:0 block null:0", "{crasher} null:0; exec {crasher} block null:0"],
    ids=["forked", "executed"],
)
def test_a_grandchilds_crash_is_not_the_victims(crasher: str, script: str) -> None:
    """It dies of the same signal before the victim does, which leaves no record: there must be none."""
    evidence = run("sh", "-c", script.format(crasher=crasher))
    assert (evidence.termination, evidence.fault, evidence.black_box) == (Signaled("SIGSEGV"), None, "armed")


@pytest.mark.skipif(not containment().namespace or not shutil.which("unshare"), reason="no nested PID namespaces")
def test_a_namesake_in_another_pid_namespace_is_not_the_victim(crasher: str) -> None:
    """The victim is 2, and so is the crasher in the namespace that the victim makes."""
    nested = f"echo $$; unshare --fork --pid --mount-proc sh -c '{crasher} null:0; echo after $?'"
    evidence = run("sh", "-c", f"{nested}; exec {crasher} block null:0")
    if "after 139" not in evidence.stdout:
        pytest.skip("no nested PID namespaces")
    assert (evidence.termination, evidence.fault) == (Signaled("SIGSEGV"), None)


def test_a_static_executable_says_so(compile_program: Compile) -> None:
    """Its signal is true; there is no box, no record, and no count."""
    program = compile_program("crasher.c", "crasher-static", "-static")
    evidence = run(program, "null:0")
    assert evidence.black_box == "unavailable: crasher-static is a static executable"
    assert (evidence.termination, evidence.fault) == (Signaled("SIGSEGV"), None)
    assert evidence.memory.allocation_failures is None


def test_an_exec_that_leaves_the_library_behind_is_noticed(compile_program: Compile) -> None:
    """The shell was armed, what it became was not; an exec that fails changes nothing."""
    program = compile_program("crasher.c", "crasher-static", "-static")
    evidence = run("sh", "-c", f"exec {program} null:0")
    assert (evidence.fault, evidence.black_box) == (None, "unavailable: the library was not loaded")
    assert evidence.memory.allocation_failures is None
    failing = "import os\ntry:\n    os.execv('/no/such/program', ['x'])\nexcept OSError:\n    os._exit(4)"
    assert run(sys.executable, "-S", "-c", failing).black_box == "armed"


def test_a_sanitizers_program_is_left_alone(compile_program: Compile) -> None:
    """It refuses to run unless its own library is loaded first."""
    program = compile_program("crasher.c", "crasher-asan", "-fsanitize=address")
    looked = read_program(Path(program))
    if looked is None or not any("asan" in name for name in looked.needed):
        pytest.skip("the sanitizer is not a library of its own here")
    evidence = supervise([program, "exit:3"], deadline_s=30)
    assert (evidence.termination, evidence.black_box) == (
        Exited(3),
        "unavailable: crasher-asan is built with a sanitizer",
    )
    started = supervise(["sh", "-c", f"{program} exit:3; exit $?"], deadline_s=30)
    assert (started.termination, started.black_box) == (Exited(3), "armed")


def test_a_handler_that_passes_the_signal_on_is_no_sender() -> None:
    """Python's faulthandler raises again what it caught: the record says so, and the verdict is a crash."""
    program = "import ctypes, faulthandler; faulthandler.enable(); ctypes.string_at(0)"
    evidence = run(sys.executable, "-c", program)
    assert evidence.fault is not None
    assert (evidence.fault.signal, evidence.fault.code) == ("SIGSEGV", "SI_TKILL")
    assert find("strict").classify(evidence).cause == "segv_raised_by_itself"


def test_off_is_off() -> None:
    """Nothing is added, and nothing is claimed."""
    evidence = supervise(["env"], deadline_s=30, env={"PATH": os.defpath}, black_box=False)
    assert evidence.stdout == f"PATH={os.defpath}\n"
    assert (evidence.black_box, evidence.memory.allocation_failures) == ("off", None)


@pytest.mark.parametrize("chain", ["{}", "exec sh -c '{}'", "exec env A=b sh -c '{}'"], ids=["once", "exec", "twice"])
def test_only_the_victim_carries_the_box(chain: str) -> None:
    """Neither the guard nor what the victim starts has the variables, the library or the descriptor."""
    tell = 'tr "\\0" "\\n" < /proc/$PPID/environ; echo child; env; ls -l /proc/self/fd; cat /proc/self/maps'
    env = {"PATH": os.defpath, "LD_PRELOAD": "libm.so.6"}
    evidence = supervise(["sh", "-c", chain.format(tell)], deadline_s=30, env=env)
    assert evidence.black_box == "armed"
    assert "CRASH_BOX" not in evidence.stdout
    assert "libcrashbox" not in evidence.stdout
    assert "crash-box" not in evidence.stdout
    assert evidence.stdout.partition("child\n")[2].count("LD_PRELOAD=libm.so.6\n") == 1
    assert "CRASH_BOX_FD" not in os.environ


def test_a_missing_library_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command runs as ever, and evidence says why there is no box."""
    monkeypatch.setattr(preload, "library_path", lambda: tmp_path / "libcrashbox.so")
    evidence = run("sh", "-c", "exit 3")
    assert (evidence.termination, evidence.black_box) == (Exited(3), "unavailable: the library is not built")


def test_a_path_that_the_loader_would_split_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LD_PRELOAD is a list separated by blanks and colons."""
    library = tmp_path / "a folder" / "libcrashbox.so"
    library.parent.mkdir()
    library.touch()
    monkeypatch.setattr(preload, "library_path", lambda: library)
    assert run("true").black_box == "unavailable: the library's path has a blank or a colon"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x7fELF\x01\x01" + bytes(100), "program is no executable of this word size"),
        (b"\x7fELF\x02\x01" + b"\xff" * 8, ""),
        (b"\x7fELF\x02\x01" + b"\xff" * 4096, ""),
        (b"#!/no/such/shell\n", ""),
        (b"#!", ""),
        (b"", ""),
    ],
    ids=["32 bits", "torn", "garbage", "script without a shell", "script without a name", "empty"],
)
def test_a_look_at_a_file_never_raises(tmp_path: Path, content: bytes, reason: str) -> None:
    """What can't be read gives no reason: then the start will show."""
    program = tmp_path / "program"
    program.write_bytes(content)
    program.chmod(0o755)
    assert preload.why_not(str(program), {}) == reason


def test_privileges_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that would change the user is one for which the loader ignores LD_PRELOAD."""
    program = tmp_path / "program"
    shutil.copy(shutil.which("true") or "", program)
    assert preload.why_not(str(program), {}) == ""
    program.chmod(0o4755)
    assert preload.why_not(str(program), {}) == ""
    monkeypatch.setattr("os.geteuid", lambda: program.stat().st_uid + 1)
    assert preload.why_not(str(program), {}) == "program is a privileged executable"


def test_the_library_shows_nothing_but_what_it_interposes() -> None:
    """A symbol more could stand in the way of one of the program's own."""
    if not shutil.which("nm"):
        pytest.skip("there is no nm")
    names = subprocess.check_output(["nm", "-D", "--defined-only", str(preload.library_path())], text=True)
    memory, exec_family = {"malloc", "calloc", "realloc"}, {"execve", "execv", "execvp", "execvpe", "fexecve"}
    variadic = {"execl", "execlp", "execle"}
    assert {line.split()[-1] for line in names.splitlines()} == memory | exec_family | variadic | {"pthread_create"}
