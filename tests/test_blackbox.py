"""The black box of a foreign command: what it must see, what it can't see, and that ptrace agrees."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import Compile

from harness.dialects import find
from harness.evidence import Evidence, Exited, FaultRecord, Signaled
from harness.supervisor import Limits, box, containment, observe, preload, supervise

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


def run(*command: str) -> Evidence:
    """One life under the usual limits, with the library alone."""
    return supervise(command, LIMITS, 30, observe="library")


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
    "alternate stack taken away": (["no_stack", "overflow"], "SEGV_MAPERR"),
}
UNRECORDED = {
    "signal blocked": ["block", "null:0"],
    "signal ignored": ["ignore:11", "null:0"],
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
    assert (evidence.fault, evidence.black_box) == (None, "unavailable: crasher-static is a static executable")
    assert evidence.memory.allocation_failures is None
    failing = "import os\ntry:\n    os.execv('/no/such/program', ['x'])\nexcept OSError:\n    os._exit(4)"
    assert run(sys.executable, "-S", "-c", failing).black_box == "armed"


@pytest.mark.parametrize(
    "way",
    [[], ["env", "A=b"], ["nice"], ["sh", "-c", 'exec "$0" "$@"'], ["script"]],
    ids=["itself", "env", "nice", "a shell", "a script"],
)
def test_a_sanitizers_program_is_left_alone(compile_program: Compile, tmp_path: Path, way: list[str]) -> None:
    """It refuses to run unless its own library is loaded first, whoever executes it."""
    program = compile_program("crasher.c", "crasher-asan", "-fsanitize=address")
    if way == ["script"]:
        script = tmp_path / "script"
        script.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        script.chmod(0o755)
        way, program = [], str(script)
    evidence = supervise([*way, program, "exit:3"], deadline_s=30, observe="library")
    if evidence.black_box == "armed":
        pytest.skip("the sanitizer is not a library of its own here")
    assert (evidence.termination, evidence.black_box) == (
        Exited(3),
        "unavailable: crasher-asan is built with a sanitizer",
    )


def test_a_child_of_bash_carries_nothing(compile_program: Compile) -> None:
    """It has a getenv() of its own; what it starts is as it would be."""
    program = compile_program("crasher.c", "crasher-asan", "-fsanitize=address")
    evidence = supervise(["bash", "-c", f"{program} exit:3; exit $?"], deadline_s=30, observe="library")
    assert (evidence.termination, evidence.black_box) == (Exited(3), "armed")


def test_a_handler_that_passes_the_signal_on_hides_nothing() -> None:
    """Python's faulthandler raises again what it caught: both are in the chain, and the first is the cause."""
    program = "import ctypes, faulthandler; faulthandler.enable(); ctypes.string_at(0)"
    evidence = run(sys.executable, "-c", program)
    assert [one.code for one in evidence.faults] == ["SEGV_MAPERR", "SI_TKILL"]
    assert find("strict").classify(evidence).cause == "null_dereference"
    assert "Fatal Python error: Segmentation fault" in evidence.stderr


def test_off_is_off() -> None:
    """Nothing is added, and nothing is claimed."""
    evidence = supervise(["env"], deadline_s=30, env={"PATH": os.defpath}, observe="off")
    assert evidence.stdout == f"PATH={os.defpath}\n"
    assert (evidence.black_box, evidence.second_witness) == ("off", "off")
    assert evidence.memory.allocation_failures is None


def test_without_a_limit_nothing_is_counted(crasher: str) -> None:
    """The program's allocator is its own there: no zero is invented."""
    evidence = supervise([crasher, "fill:8", "exit:3"], deadline_s=30, observe="library")
    assert (evidence.termination, evidence.black_box) == (Exited(3), "armed")
    assert evidence.memory.allocation_failures is None


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
    monkeypatch.setattr(observe, "library_path", lambda **_: tmp_path / "libcrashbox.so")
    evidence = run("sh", "-c", "exit 3")
    assert (evidence.termination, evidence.black_box) == (Exited(3), "unavailable: the library is not built")


def test_a_path_that_the_loader_would_split_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LD_PRELOAD is a list separated by blanks and colons."""
    library = tmp_path / "a folder" / "libcrashbox.so"
    library.parent.mkdir()
    library.touch()
    monkeypatch.setattr(observe, "library_path", lambda **_: library)
    assert run("true").black_box == "unavailable: the library's path has a blank or a colon"


def test_a_page_without_a_place_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full or missing /dev/shm costs the box, and not the run."""
    monkeypatch.setattr(box, "PLACES", ("/proc", "/no/such/folder"))
    evidence = run("sh", "-c", "exit 3")
    expected = "unavailable: no place for the page, /no/such/folder: No such file or directory"
    assert (evidence.termination, evidence.black_box) == (Exited(3), expected)


def test_the_page_leaves_no_file_behind(crasher: str) -> None:
    """It has a name while the command lives, and none after that."""
    seen = run("sh", "-c", "cat /proc/$$/maps; exec " + crasher + " null:0")
    assert seen.fault is not None
    names = {word for word in seen.stdout.split() if "/crash-box-" in word}
    assert len(names) == 1
    assert [name for name in names if Path(name).exists()] == []


ODD = """
import os, random
head = open("/proc/self/exe", "rb").read(4096)
for turn in range(300):
    draw, image = random.Random(turn), bytearray(head)
    for _ in range(draw.choice((1, 8, 64))):
        image[draw.randrange(draw.choice((64, 1024)))] = draw.randrange(256)
    with open("odd", "wb") as file:
        file.write((b"#!" + image[2:] if turn % 7 == 0 else image)[: draw.choice((0, 3, 63, 64, 500, 4096))])
    try:
        os.execv("./odd", ["odd"])  # looked at, and then refused: nobody may execute it
    except (OSError, ValueError):
        continue
os._exit(7)
"""


def test_a_look_at_a_file_never_harms(tmp_path: Path) -> None:
    """Three hundred torn, empty and mangled programs can't be executed, and the victim is armed as before."""
    evidence = run("env", "-C", str(tmp_path), sys.executable, "-S", "-c", ODD)
    assert (evidence.termination, evidence.black_box) == (Exited(7), "armed"), evidence.stderr


def as_nobody(*command: str) -> list[str]:
    """The command as an ordinary user, after an exec as root."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("takes root and setpriv")
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]


@pytest.fixture
def public_copy() -> Iterator[Path]:
    """A program that everybody may execute, in a folder that everybody can reach."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield Path(shutil.copy(shutil.which("true") or "", folder / "program"))


def test_a_privileged_program_is_left_alone(public_copy: Path) -> None:
    """The loader ignores LD_PRELOAD there, and would hand our variables on; not where we have the rights already."""
    public_copy.chmod(0o4755)
    assert run(str(public_copy)).black_box == "armed"
    assert run(*as_nobody(str(public_copy))).black_box == "unavailable: program is a privileged executable"


def test_a_program_with_capabilities_is_left_alone(public_copy: Path) -> None:
    """The same, by another road."""
    public_copy.chmod(0o755)
    command = as_nobody(str(public_copy))
    if not shutil.which("setcap") or subprocess.run(["setcap", "cap_net_raw+ep", public_copy], check=False).returncode:
        pytest.skip("takes setcap, and a file system that keeps capabilities")
    assert run(*command).black_box == "unavailable: program has capabilities of its own"


def test_a_victim_that_becomes_another_user_keeps_the_box(public_copy: Path, crasher: str) -> None:
    """Root's page may be written by whoever the victim becomes."""
    shutil.copy(crasher, public_copy)
    public_copy.chmod(0o755)
    if not all(path.stat().st_mode & 1 for path in preload.library_path().parents):
        pytest.skip("the library lies where another user can't read it")
    evidence = run(*as_nobody(str(public_copy), "null:16"))
    assert (evidence.black_box, evidence.fault and evidence.fault.address) == ("armed", 16)


def test_the_libraries_show_nothing_but_what_they_interpose() -> None:
    """A symbol more could stand in the way of one of the program's own."""
    if not shutil.which("nm"):
        pytest.skip("there is no nm")

    def shown(*, counting: bool) -> set[str]:
        command = ["nm", "-D", "--defined-only", str(preload.library_path(counting=counting))]
        return {line.split()[-1] for line in subprocess.check_output(command, text=True).splitlines()}

    aligned = {"posix_memalign", "aligned_alloc", "memalign", "valloc", "pvalloc"}
    execs = {"execve", "execv", "execvp", "execvpe", "fexecve", "execveat", "execl", "execlp", "execle"}
    simple = {"signal", "bsd_signal", "ssignal", "sysv_signal", "__sysv_signal", "sigignore", "sigset", "siginterrupt"}
    looked_up = {"dlsym", "backtrace", "_Unwind_Backtrace"}
    plain = execs | simple | looked_up | {"sigaction", "sigaltstack", "pthread_create", "prctl", "syscall", "mlockall"}
    assert shown(counting=False) == plain
    assert shown(counting=True) == plain | aligned | {"malloc", "calloc", "realloc"}
