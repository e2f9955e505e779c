"""What a command has under supervision as it has alone: parent, group, signals, descriptors, limits, input."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.evidence import Exited, Signaled
from harness.supervisor import Limits, containment, memory_cgroup, supervise
from harness.supervisor.attend import Audience, attend
from harness.supervisor.confinement import Wanted
from harness.supervisor.guard import Guard

RUNGS: list[Wanted] = ["namespace", "bare"] if containment().namespace else ["bare"]
MIB = 1 << 20
on_each_rung = pytest.mark.parametrize("rung", RUNGS)


def python(*lines: str) -> list[str]:
    """Spell lines of Python as a command."""
    return [sys.executable, "-S", "-c", "\n".join(lines)]


def said(command: list[str], rung: Wanted = "auto") -> str:
    """Return what a command prints that ends well."""
    evidence = supervise(command, deadline_s=30, containment=rung)
    assert evidence.termination == Exited(0), evidence.stderr
    return evidence.stdout.strip()


@on_each_rung
def test_a_victim_has_an_ordinary_parent(rung: Wanted) -> None:
    """Neither init nor nobody: "am I an orphan?" and "am I a daemon already?" are false, and it is not init itself."""
    assert said(python("import os; print(os.getppid() > 1, os.getpid() > 1)"), rung) == "True True"


@on_each_rung
def test_a_victim_leads_no_group_and_may_begin_a_session(rung: Wanted) -> None:
    """What setsid(2) asks for; and its group is neither 0 nor 1, which kill(2) takes for something else."""
    program = python(
        "import os",
        "group = os.getpgrp()",
        "print(group > 1, group != os.getpid(), os.setsid() or os.getsid(0) == os.getpid())",
    )
    assert said(program, rung) == "True True True"


@on_each_rung
def test_a_program_that_setsid_starts_is_the_victim(rung: Wanted) -> None:
    """setsid(1) forks only where it leads a group: a crash behind it is a crash."""
    evidence = supervise(["setsid", "sh", "-c", "kill -SEGV $$"], deadline_s=30, containment=rung)
    assert (evidence.termination, evidence.survivors) == (Signaled("SIGSEGV"), 0)


@on_each_rung
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_its_group_ends_the_victim_and_not_us(rung: Wanted, number: signal.Signals) -> None:
    """Whether it says 0 or the group's number, which scripts do in their traps."""
    for group in ("0", "-os.getpgrp()"):
        evidence = supervise(python(f"import os; os.kill({group}, {int(number)})"), deadline_s=30, containment=rung)
        assert evidence.termination == Signaled(number.name)


@on_each_rung
def test_orphans_are_reaped(rung: Wanted) -> None:
    """Whoever waits until a daemon is gone sees it go."""
    program = python(
        "import os, signal, time",
        "reader, writer = os.pipe()",
        "if os.fork() == 0:",
        "    if os.fork() == 0:",
        "        os.write(writer, b'%d' % os.getpid())",
        "        time.sleep(600)",
        "    os._exit(0)",
        "os.wait()",
        "daemon = int(os.read(reader, 9))",
        "os.kill(daemon, signal.SIGKILL)",
        "while True:",
        "    try: os.kill(daemon, 0)",
        "    except ProcessLookupError: break",
        "print('gone')",
    )
    assert said(program, rung) == "gone"


@pytest.fixture
def dispositions() -> Iterator[None]:
    """Run with two signals ignored and one blocked."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGUSR2)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, disposition in before.items():
        signal.signal(number, disposition)


@pytest.mark.usefixtures("dispositions")
@on_each_rung
def test_ignored_signals_and_the_mask_are_inherited(rung: Wanted) -> None:
    """To the bit; but for SIGPIPE and SIGXFSZ, which every Python ignores itself, and a program it starts does not."""
    lines = said(["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"], rung).split()
    internal = int(Path("/proc/self/status").read_text().partition("SigIgn:")[2].split()[0], 16) & 0b11 << signal.SIGSYS
    assert lines == ["SigBlk:", f"{1 << 9:016x}", "SigIgn:", f"{1 | 1 << 11 | internal:016x}"]


REPORTS = """
import subprocess, sys
from harness.supervisor import supervise
words = ["grep", "SigIgn", "/proc/self/status"]
print(subprocess.check_output(words, text=True), supervise(words, containment=sys.argv[1]).stdout)
"""


@on_each_rung
@pytest.mark.parametrize("spawned", [False, True], ids=["by fork", "by posix_spawn"])
def test_the_c_librarys_own_signals_are_as_they_were(rung: Wanted, spawned: bool, tmp_path: Path) -> None:
    """posix_spawn() has its children ignore them, as `make` has its own. The guard is started so too, and undoes it."""
    seen, words = tmp_path / "seen", [sys.executable, "-c", REPORTS, rung]
    with seen.open("w") as file:
        if spawned:
            given = [(os.POSIX_SPAWN_DUP2, file.fileno(), 1)]
            os.waitpid(os.posix_spawn(words[0], words, os.environ, file_actions=given), 0)
        else:
            subprocess.run(words, stdout=file, check=True)
    alone, supervised = (int(text, 16) >> signal.SIGSYS & 0b11 for text in seen.read_text().split()[1::2])
    assert supervised == alone
    assert alone == 0b11 or not spawned


@on_each_rung
def test_descriptors_are_inherited(rung: Wanted, tmp_path: Path) -> None:
    """Those that may be: bats writes to 3, make's jobserver to whatever number it has. Ours are not among them."""
    ours = os.open(tmp_path / "three", os.O_RDWR | os.O_CREAT)
    os.dup2(ours, 77, inheritable=True)
    program = python("import os", "os.write(77, b'hello')", "print(*sorted(map(int, os.listdir('/proc/self/fd'))))")
    try:
        evidence = supervise(program, deadline_s=30, containment=rung, observe="off")
    finally:
        os.close(77)
        os.close(ours)
    assert evidence.stdout == "0 1 2 3 77\n", "3 is the folder's"
    assert (tmp_path / "three").read_text() == "hello"


@on_each_rung
def test_a_descriptor_that_is_let_go_is_gone(rung: Wanted) -> None:
    """No process of ours keeps one open that the victim has closed: whoever waits for its end of file gets it."""
    (reader, writer), (stdin, word) = os.pipe(), os.pipe()
    os.set_inheritable(writer, True)
    options = ["--namespace"] if rung == "namespace" else []
    command = python(f"import os; os.close({writer}); print(os.read(0, 1))")
    with Guard(command, options, os.environ, stdin=stdin, clean=False) as guard:
        os.close(writer)
        assert os.read(reader, 1) == b""
        os.write(word, b"x")
        assert attend(guard, Audience())[1] == "b'x'\n"
    for fd in (reader, stdin, word):
        os.close(fd)


@on_each_rung
def test_only_the_soft_core_limit_is_touched(rung: Wanted) -> None:
    """A script that asks for cores gets them, as far as its own hard limit goes."""
    hard = subprocess.run(["sh", "-c", "ulimit -H -c"], capture_output=True, text=True, check=True).stdout.strip()
    assert said(["sh", "-c", "ulimit -H -c; ulimit -c $(ulimit -H -c) && ulimit -c"], rung).split() == [hard, hard]


def test_standard_input_is_empty_or_ours() -> None:
    """As asked for."""
    reader, writer = os.pipe()
    os.write(writer, b"data\n")
    os.close(writer)
    saved = os.dup(0)
    os.dup2(reader, 0)
    try:
        assert supervise(["cat"], deadline_s=30).stdout == ""
        assert supervise(["cat"], deadline_s=30, stdin="inherit").stdout == "data\n"
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reader)


def test_a_closed_standard_input_stays_closed() -> None:
    """As it would alone: nothing is opened in its place."""
    saved = os.dup(0)
    os.close(0)
    try:
        assert supervise(["sh", "-c", "ls /proc/$$/fd"], deadline_s=30, stdin="inherit").stdout.split()[0] != "0"
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def test_a_lock_on_descriptor_200_holds(tmp_path: Path) -> None:
    """The number of flock(1)'s own example is as free as any other."""
    script = f"exec 200>{tmp_path}/lock; flock -n 200 || exit 9; kill -SEGV $$"
    shell = shutil.which("bash") or "sh"
    assert supervise([shell, "-c", script], deadline_s=30, observe="off").termination == Signaled("SIGSEGV")


@on_each_rung
def test_a_text_without_a_first_line_is_a_script(rung: Wanted, tmp_path: Path) -> None:
    """As shells and execvp() have it."""
    script = tmp_path / "script"
    script.write_text("exit $1\n")
    script.chmod(0o755)
    assert supervise([str(script), "7"], deadline_s=30, containment=rung).termination == Exited(7)


@pytest.mark.skipif(memory_cgroup().version == 0, reason=memory_cgroup().reason or "a cgroup is there")
def test_the_guards_memory_is_not_the_victims() -> None:
    """What stands around a victim is not in its cgroup: under 2 MiB a small program still runs."""
    evidence = supervise(["true"], Limits(memory_bytes=2 * MIB, memory_by="cgroup"), 30, observe="off")
    assert (evidence.termination, evidence.memory.oom_kills) == (Exited(0), 0)
