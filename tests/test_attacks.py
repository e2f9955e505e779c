"""Attacks on the supervisor: each ends in the victim's true end or in INFRA, within a bounded time, and leaves nothing.

Who attacks is a victim with the rights that we have, or somebody outside who may signal our processes.
"""

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from holding import NO_PTRACE, hold
from likeness import moment_s

from harness.evidence import EndedBy, Evidence, Exited, Signaled
from harness.exceptions import InfraError
from harness.supervisor import Limits, Stop, containment, memory_cgroup, supervise
from harness.supervisor.attend import Audience, attend
from harness.supervisor.confinement import Wanted
from harness.supervisor.guard import REPORT, REPORT_MAGIC, Guard, Note, Report, guard_path

pytestmark = pytest.mark.slow

RUNGS: list[Wanted] = ["namespace", "bare"] if containment().namespace else ["bare"]
MIB = 1 << 20
SECOND_S = 2 * moment_s()  # one, or more on a machine that is slower
NOBODY = 65534
PIDFD_GETFD = 438
on_each_rung = pytest.mark.parametrize("rung", RUNGS)
needs_namespace = pytest.mark.skipif(not containment().namespace, reason=containment().reason or "there is one")
needs_cgroup = pytest.mark.skipif(memory_cgroup().version == 0, reason=memory_cgroup().reason or "a cgroup is there")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Every attack ends with the children and descriptors that it began with."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert psutil.Process().children(recursive=True) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that asks its guard at once, and does not wait long for the answer."""
    for name, seconds in (("ASK_EVERY_S", 0.3), ("ANSWER_S", 0.3), ("RESUMED_S", 3.0)):
        monkeypatch.setattr(f"harness.supervisor.attend.{name}", seconds)


def python(program: str) -> list[str]:
    """Spell a program as a command."""
    return [sys.executable, "-S", "-c", program]


def guards() -> list[psutil.Process]:
    """Our guard processes, the one that reports first."""
    found = [one for one in psutil.Process().children(recursive=True) if one.name() == "guard"]
    return sorted(found, key=lambda one: one.ppid() != os.getpid())


def while_it_lives(command: list[str], attack: Callable[[], object], rung: Wanted, **options: float) -> Evidence:
    """Supervise a command that says "up", and attack from outside when it has."""
    threads: list[threading.Thread] = []

    def relay(_: int, chunk: bytes) -> None:
        if b"up" in chunk:
            threads.append(threading.Thread(target=attack))
            threads[-1].start()

    try:
        return supervise(command, relay=relay, containment=rung, **options)  # type: ignore[arg-type]  # times
    finally:
        for thread in threads:
            thread.join()


LEAVES = """
import os, signal, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
{how}
os.write(1, b"up")
signal.sigwait([signal.SIGTERM])
sys.exit(7)
"""
WAYS = {
    "a session of its own": "os.setsid()",
    "a group of its own": "os.setpgid(0, 0)",
    "another's group": "if (child := os.fork()) == 0: time.sleep(600)\nos.setpgid(child, child)\nos.setpgid(0, child)",
}


def when_it_is_up(command: list[str], **options: Any) -> Evidence:
    """Supervise a command that says "up", and ask it to end when it has; it gets a long grace."""
    with Stop() as stop:

        def relay(_: int, chunk: bytes) -> None:
            if b"up" in chunk:
                stop.set()

        return supervise(command, grace_s=60, stop=stop, relay=relay, **options)


# --- who would lie ---


ROBS = """
import ctypes, os, signal, struct
PIDFD_OPEN, PIDFD_GETFD, SEIZE = 434, 438, 0x4206
libc = ctypes.CDLL(None)

def parent(pid):
    try: return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    except OSError: return 0

parents = [os.getppid(), parent(os.getppid())]  # in a namespace the second is no process of it, and init is 1
victims = [one for one in dict.fromkeys([*parents, 1]) if one > 0 and open(f"/proc/{one}/comm").read() == "guard\\n"]
REPORT = struct.pack("<IiiiI7i5Q", 0x47484331, 0, 0, 0, 0, 0, 0, 2, 2, -1, 0, 0, 0, 4096, 1, 1, 2)
GONE, SWEPT, FAILED = (struct.pack("<I5i2Q", kind, 0, 0, 0, 0, 0, 4096, 1) for kind in (7, 10, 3))
robbed = 0
for pid in victims:
    pidfd = libc.syscall(PIDFD_OPEN, pid, 0)
    for fd in range(64):
        taken = libc.syscall(PIDFD_GETFD, pidfd, fd, 0)
        for lie in (REPORT, GONE, SWEPT, FAILED) if taken >= 0 else ():
            try: robbed += bool(os.write(taken, lie))
            except OSError: pass
os.write(1, b"%d %d" % (len(victims), robbed))
"""


@on_each_rung
def test_a_victim_that_robs_its_guards_is_not_believed(rung: Wanted) -> None:
    """It takes every socket that it can reach and says on it that all went well: its crash is a crash, or INFRA."""
    try:
        evidence = supervise(python(f"{ROBS}os.kill(os.getpid(), 11)"), deadline_s=30, containment=rung)
    except InfraError as error:
        assert "status lost" in str(error) or "left behind" in str(error)  # noqa: PT017 -- either is right
    else:
        assert evidence.termination == Signaled("SIGSEGV")


@needs_namespace
def test_what_reports_is_out_of_reach() -> None:
    """In a namespace a victim sees its parent and init, and neither has the supervisor's socket."""
    program = (
        "import os\n"
        "links = {os.readlink(f'/proc/{pid}/fd/{fd}') for pid in (1, 2) for fd in os.listdir(f'/proc/{pid}/fd')}\n"
        "print(sorted(int(one) for one in os.listdir('/proc') if one.isdigit()), len(links))"
    )
    with Guard(python(program), ["--namespace"], os.environ) as guard:
        inode = os.fstat(guard.control).st_ino
        _, told, _ = attend(guard, Audience())
    assert told.startswith("[1, 2, 3] ")
    assert str(inode) not in told


def test_a_report_in_anothers_name_is_not_heard() -> None:
    """The kernel says who speaks: what does not come from the guard itself is nothing."""
    lie = REPORT.pack(REPORT_MAGIC, *[0] * 16)
    with Guard(["sleep", "60"], [], os.environ) as guard:
        guard.ask()
        assert isinstance(guard.receive(), Note)
        control = _stolen_control(guard.pid)
        try:
            os.write(control, lie)
        finally:
            os.close(control)
        assert guard.receive() is None


def _stolen_control(pid: int) -> int:
    """A copy of the guard's control socket."""
    libc, pidfd = ctypes.CDLL(None, use_errno=True), os.pidfd_open(pid)
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    taken = libc.syscall(PIDFD_GETFD, pidfd, int(words[words.index(b"--control") + 1]), 0)
    os.close(pidfd)
    if taken < 0:
        pytest.skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    return int(taken)


def test_a_word_that_the_guard_never_reads_costs_no_report() -> None:
    """It ends with our question unread, which resets the line: what it had said before is heard all the same."""
    theirs, ours = os.pipe2(os.O_CLOEXEC)
    with Guard(["sh", "-c", "echo up; read word; exit 3"], [], os.environ, stdin=theirs) as guard:
        assert os.read(guard.stdout, 2) == b"up"
        victim = next(one for one in psutil.Process().children(recursive=True) if one.name() == "sh")
        psutil.Process(guard.pid).suspend()
        os.close(ours)
        os.close(theirs)
        assert guard.pidfd is not None
        while victim.status() != psutil.STATUS_ZOMBIE:
            assert victim.is_running()
        guard.ask()
        guard.resume()
        select.select([guard.pidfd], [], [], 20)
        heard = guard.receive()
    assert isinstance(heard, Report)
    assert os.WEXITSTATUS(heard.wait_status) == 3


AS_A_USER = f"""
import os, sys
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
from harness.supervisor import supervise
program = '''
import ctypes, os
parent = os.getppid()
grand = int(open(f"/proc/{{parent}}/stat").read().rpartition(")")[2].split()[1])
libc = ctypes.CDLL(None, use_errno=True)
for pid in (parent, grand):
    taken = libc.syscall(438, libc.syscall(434, pid, 0), 3, 0)
    seized = libc.ptrace(0x4206, pid, 0, 0)
    try: os.listdir(f"/proc/{{pid}}/fd"); listed = 0
    except PermissionError: listed = -1
    print(taken, seized, listed)
'''
sys.stdout.write(supervise([sys.executable, "-S", "-c", program], deadline_s=30).stdout)
"""


@needs_root
def test_a_user_can_not_touch_the_guards_of_his_victims() -> None:
    """Without a namespace they are his own processes; but nobody may trace, read or rob them."""
    done = subprocess.run(
        [sys.executable, "-c", AS_A_USER], capture_output=True, text=True, check=False, cwd="/", timeout=60
    )
    if "Permission denied" in done.stderr or "No module named" in done.stderr:
        pytest.skip(f"uid {NOBODY} can't read this installation")
    assert done.stdout.splitlines() == ["-1 -1 -1"] * 2, done.stderr


KIN = """
import ctypes, os, resource, signal, socket, time
libc = ctypes.CDLL(None)
libc.ptrace.argtypes = [ctypes.c_long] * 4
def above(pid):
    try: return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    except OSError: return 0
def is_guard(pid):
    try: return open(f"/proc/{pid}/comm").read() == "guard\\n"
    except OSError: return False
def attempt(what, *words):
    try: return what(*words)
    except (OSError, ValueError, OverflowError): return None
"""
ATTACKS = {
    "writes over their memory": """
    for line in attempt(lambda: open(f"/proc/{pid}/maps").readlines()) or []:
        start, end = (int(one, 16) for one in line.split()[0].split("-"))
        attempt(lambda: os.pwrite(os.open(f"/proc/{pid}/mem", os.O_RDWR), bytes(min(end - start, 1 << 20)), start))""",
    "writes into their descriptors": """
    for fd in attempt(os.listdir, f"/proc/{pid}/fd") or []:
        attempt(lambda: os.write(os.open(f"/proc/{pid}/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK), bytes(4096)))""",
    "takes away their limits": """
    for limit in range(16): attempt(resource.prlimit, pid, limit, (0, 0))""",
    "sends every signal but two": """
    for number in range(1, 65):
        if number not in (signal.SIGKILL, signal.SIGSTOP): attempt(os.kill, pid, number)""",
    "shuts their sockets down": """
    pidfd = libc.syscall(434, pid, 0)
    for fd in range(40):
        taken = libc.syscall(438, pidfd, fd, 0)
        if taken >= 0: attempt(lambda: socket.socket(fileno=taken).shutdown(2))""",
    "ends with them in its hands": """
    libc.ptrace(0x4206, pid, 0, 0x100000)""",
    "kills them": """
    attempt(os.kill, pid, signal.SIGKILL)""",
    "has them sleep in a corner": """
    attempt(os.sched_setscheduler, pid, os.SCHED_IDLE, os.sched_param(0)); attempt(os.sched_setaffinity, pid, {0})""",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@on_each_rung
def test_whatever_a_victim_does_to_its_guards_its_end_is_true(rung: Wanted, attack: str) -> None:
    """It may break them, as root without a namespace: then it is INFRA. Never another end than the one it chose."""
    program = f"{KIN}for pid in filter(is_guard, [os.getppid(), above(os.getppid()), 1]):{attack}\nos._exit(7)"
    started = time.monotonic()
    try:
        evidence = supervise(python(program), deadline_s=60, containment=rung)
    except InfraError as error:
        assert "status lost" in str(error) or "left behind" in str(error)  # noqa: PT017 -- either is right
    else:
        assert (evidence.termination, evidence.ended_by) == (Exited(7), EndedBy.SELF)
    assert time.monotonic() - started < 30


ELSEWHERE = {
    "its box": """
for line in open("/proc/self/maps"):
    if "crash-box" in line: ctypes.memmove(int(line.split("-")[0], 16) + 4, os.urandom(4092), 4092)""",
    "the file of its box": """
for name in {line.split()[5] for line in open("/proc/self/maps") if "crash-box" in line}: os.truncate(name, 0)""",
    "all that it may signal": """
if is_guard(1): os.kill(-1, signal.SIGSTOP); os.kill(-1, signal.SIGKILL)""",
    "the /proc of its namespace": """
if is_guard(1):
    libc.mount(b"tmpfs", b"/proc", b"tmpfs", 0, None)
    for _ in range(2): libc.umount2(b"/proc", 2)""",
    "the number of its parent": """
if is_guard(1):
    os.kill(os.getppid(), signal.SIGKILL); time.sleep(0.05)
    attempt(lambda: os.write(os.open("/proc/sys/kernel/ns_last_pid", os.O_WRONLY), b"1"))
    if os.fork() == 0: time.sleep(0.1); os._exit(0)""",
    "who inherits its orphans": """
libc.prctl(36, 1, 0, 0, 0); libc.prctl(15, b"guard", 0, 0, 0)
for _ in range(10):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: time.sleep(600)
        os._exit(0)""",
    "its standard streams": "os.closerange(0, 3)",
}


@pytest.mark.parametrize("attack", ELSEWHERE.values(), ids=ELSEWHERE)
@on_each_rung
def test_whatever_a_victim_does_around_itself_its_end_is_true(rung: Wanted, attack: str) -> None:
    """What it writes, unmounts, kills or closes is its own: its end is told, and nothing of it is left."""
    evidence = supervise(python(f"{KIN}{attack}\nos._exit(7)"), deadline_s=60, containment=rung)
    assert (evidence.termination, evidence.ended_by) == (Exited(7), EndedBy.SELF)


@on_each_rung
def test_a_death_by_its_own_parent_is_not_the_victims(rung: Wanted) -> None:
    """It asked to be killed when its parent is gone, and made it go: who sent that SIGKILL can't be told."""
    program = "import ctypes, os, time; ctypes.CDLL(None).prctl(1, 9); os.kill(os.getppid(), 9); time.sleep(600)"
    with pytest.raises(InfraError, match="status lost"):
        supervise(python(program), deadline_s=60, containment=rung)


# --- who would hold us up ---


SEIZES = """
import ctypes, os, signal, time
libc = ctypes.CDLL(None)
libc.ptrace.argtypes = [ctypes.c_long] * 4
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for pid in (os.getppid(), 1):
    if open(f"/proc/{pid}/comm").read() == "guard\\n" and libc.ptrace(0x4206, pid, 0, 0) == 0:
        libc.ptrace(0x4207, pid, 0, 0)
{then}
"""


@on_each_rung
def test_a_victim_that_traces_its_guards_is_ended_in_time(rung: Wanted) -> None:
    """It holds its parent, and init, in a ptrace stop: the deadline is kept all the same."""
    started = time.monotonic()
    evidence = supervise(
        python(SEIZES.replace("{then}", "time.sleep(600)")), deadline_s=2 * moment_s(), grace_s=0.2, containment=rung
    )
    assert (evidence.termination, evidence.ended_by) == (Signaled("SIGKILL"), EndedBy.DEADLINE)
    assert time.monotonic() - started < 2 * moment_s() + 0.2 + 2 * SECOND_S


@pytest.mark.long
@on_each_rung
def test_a_daemon_that_traces_the_guards_does_not_keep_the_truth_back(rung: Wanted) -> None:
    """Its parent does not answer any more, and is killed: whoever inherits the victim tells its end; or it is INFRA."""
    holds = SEIZES.replace("{then}", "os.write(1, b'held'); time.sleep(600)")
    program = f"import os, time\nif os.fork() == 0:\n    exec({holds!r})\ntime.sleep({moment_s()})\nos._exit(5)"
    try:
        assert supervise(python(program), deadline_s=60, containment=rung).termination == Exited(5)
    except InfraError as error:
        assert "left behind" in str(error) or "status lost" in str(error)  # noqa: PT017 -- either is right


@pytest.mark.usefixtures("impatient")
@on_each_rung
def test_guards_that_somebody_stops_go_on(rung: Wanted) -> None:
    """SIGSTOP of all of them: they are let go on, and the end is the victim's true one."""

    def attack() -> None:
        for one in guards():
            one.suspend()

    evidence = while_it_lives(["sh", "-c", "echo up; exec sleep 60"], attack, rung, deadline_s=moment_s())
    assert (evidence.termination, evidence.ended_by) == (Signaled("SIGTERM"), EndedBy.DEADLINE)


@pytest.mark.long
@pytest.mark.usefixtures("impatient")
@on_each_rung
def test_guards_that_somebody_holds_are_given_up(rung: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    """INFRA within our patience, and nothing of it is left. Without a namespace one of the two must be free to act."""
    monkeypatch.setattr("harness.supervisor.attend.RESUMED_S", 1.0)
    monkeypatch.setattr("harness.supervisor.guard.PATIENCE_S", 1.0)
    holders: list[subprocess.Popen[bytes]] = []

    def attack() -> None:
        held = guards() if rung == "namespace" else guards()[:1]
        holders.append(hold(one.pid for one in held))

    with pytest.raises(InfraError, match="does not answer"):
        while_it_lives(["sh", "-c", "echo up; exec sleep 60"], attack, rung)
    if holders[0].wait(timeout=20) == NO_PTRACE:
        pytest.skip("there is no ptrace")


FREEZES = """
import os, time
own = {folder!r}
os.makedirs(own, exist_ok=True)
with open(own + "/tasks", "w") as tasks: tasks.write("0")
with open(own + "/freezer.state", "w") as state: state.write("FROZEN")
time.sleep(600)
"""
FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.mark.skipif(not os.access(FREEZER / "tasks", os.W_OK), reason="no writable freezer of cgroup version 1")
@on_each_rung
def test_a_victim_that_freezes_itself_is_thawed_and_killed(rung: Wanted) -> None:
    """SIGKILL does nothing to what is frozen, in a group below a frozen one too."""
    outer = FREEZER / f"crash-harness-test-{os.getpid()}"
    freeze_above = FREEZES.replace("{folder!r}", repr(f"{outer}/inner")).replace(
        'own + "/freezer.state"', f"{str(outer)!r} + '/freezer.state'"
    )
    try:
        evidence = supervise(python(freeze_above), deadline_s=moment_s(), grace_s=0.1, containment=rung)
    finally:
        for folder in (outer / "inner", outer):
            if folder.exists():
                folder.rmdir()
    assert (evidence.termination, evidence.ended_by) == (Signaled("SIGKILL"), EndedBy.DEADLINE)


class Slow:
    """A journal that takes its time for a kill intent."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def started(self) -> None:
        """At once."""

    def kill_intent(self, *_: object) -> None:
        """Late."""
        time.sleep(self._delay_s)


@pytest.mark.long
@pytest.mark.parametrize("delay_s", [0.0, 2.5])
def test_a_late_journal_is_no_cancel(delay_s: float) -> None:
    """An acknowledgement after the guard's patience is none any more, and takes nothing from the victim's grace."""
    program = LEAVES.replace("{how}", "").replace("sys.exit(7)", "time.sleep(0.5); sys.exit(7)")
    assert when_it_is_up(python(program), journal=Slow(delay_s)).termination == Exited(7)


# --- who would end us ---


@on_each_rung
def test_a_victim_that_kills_its_parent_still_tells_its_end(rung: Wanted) -> None:
    """Whoever inherits it has it as its charge, and the deadline is kept."""
    crash = supervise(["sh", "-c", "kill -KILL $PPID; sleep 0.1; kill -SEGV $$"], deadline_s=30, containment=rung)
    assert crash.termination == Signaled("SIGSEGV")
    hang = supervise(["sh", "-c", "kill -KILL $PPID; exec sleep 60"], deadline_s=moment_s(), containment=rung)
    assert (hang.termination, hang.ended_by) == (Signaled("SIGTERM"), EndedBy.DEADLINE)


@on_each_rung
def test_a_victim_that_stops_its_parent_still_tells_its_end(rung: Wanted) -> None:
    """It is let go on before it is asked."""
    command = ["sh", "-c", "kill -STOP $PPID; kill -STOP 1; exit 3"]
    command = command if rung == "namespace" else ["sh", "-c", "kill -STOP $PPID; exit 3"]
    assert supervise(command, deadline_s=30, containment=rung).termination == Exited(3)


@pytest.mark.parametrize("which", range(3))
@on_each_rung
def test_whichever_guard_is_killed_nothing_is_left(rung: Wanted, which: int) -> None:
    """The true end, or INFRA; never the SIGKILL that its own death brings the victim; and no process of it remains."""

    def attack() -> None:
        held = guards()
        held[min(which, len(held) - 1)].kill()

    command = ["sh", "-c", f"sleep 60{os.getpid()} & echo up; exec sleep 60"]
    try:
        evidence = while_it_lives(command, attack, rung, deadline_s=2 * moment_s())
    except InfraError as error:
        assert "status lost" in str(error)  # noqa: PT017 -- either is right
    else:
        assert (evidence.termination, evidence.ended_by) == (Signaled("SIGTERM"), EndedBy.DEADLINE)
    assert not [one for one in psutil.process_iter(["cmdline"]) if f"60{os.getpid()}" in (one.info["cmdline"] or [])]


@pytest.mark.long
@needs_namespace
def test_a_stopped_init_dies_with_its_guard() -> None:
    """It can't see the end of its line then: the kernel kills it, and with it the namespace."""
    with Guard(["sleep", "60"], ["--namespace"], os.environ) as guard:
        guard.ask()
        assert isinstance(guard.receive(), Note)
        outer, *others = guards()
        victim = next(one for one in psutil.Process().children(recursive=True) if one.name() == "sleep")
        for one in others:
            one.suspend()
        outer.kill()
        psutil.wait_procs([victim, *others], timeout=20)
        assert not victim.is_running()


@pytest.mark.parametrize("supervisor", [1, 2**22 - 1])
def test_a_guard_whose_supervisor_died_first_starts_nothing(supervisor: int, tmp_path: Path) -> None:
    """Its parent is another process than it was told, or there is none of that number; though the line is held."""
    mark = tmp_path / "mark"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        line = str(theirs.fileno())
        command = [guard_path(), "--control", line, "--supervisor", str(supervisor), "--", "touch", str(mark)]
        subprocess.run(command, check=False, timeout=20, pass_fds=[theirs.fileno()])
    assert not mark.exists()


@on_each_rung
@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS.keys())
def test_a_victim_that_has_left_its_group_is_asked_to_end_too(rung: Wanted, how: str) -> None:
    """SIGTERM reaches it wherever it went, once, and it has its grace."""
    evidence = when_it_is_up(python(LEAVES.replace("{how}", how)), containment=rung)
    assert (evidence.termination, evidence.ended_by) == (Exited(7), EndedBy.CANCEL)


def test_a_stopped_guard_is_let_go_on_when_nobody_listens_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leaves does not wait for a guard that can't move, and does not have to kill it."""
    sent: list[int] = []
    send = Guard._signal

    def sends(guard: Guard, number: int) -> None:
        sent.append(number)
        send(guard, number)

    monkeypatch.setattr(Guard, "_signal", sends)
    with Guard(["sleep", "60"], [], os.environ) as guard:
        guard.ask()
        assert isinstance(guard.receive(), Note)
        guards()[0].suspend()
        started = time.monotonic()
    assert time.monotonic() - started < SECOND_S
    assert sent == [signal.SIGCONT]


# --- a supervisor that is not alone ---


FORKED = """
import os, signal, sys, threading, time
from harness.supervisor import supervise
how, mark = sys.argv[1:]

def relay(number, chunk):
    if os.fork() == 0:  # as multiprocessing does: it holds whatever we hold
        time.sleep(30)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.SIGINT)

try:
    supervise(["sh", "-c", f"echo up; exec sleep {mark}"], relay=relay)
except KeyboardInterrupt:
    sys.exit(9)
"""


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_a_forked_child_of_the_supervisor_does_not_keep_the_victim_alive(how: str) -> None:
    """It holds a copy of the lifeline; the supervisor's own death, or its word, ends all within a moment."""
    victim = ["sleep", f"60{os.getpid()}"]
    with subprocess.Popen([sys.executable, "-c", FORKED, how, victim[1]], start_new_session=True) as supervisor:
        assert supervisor.wait(timeout=30) == (-signal.SIGKILL if how == "kill" else 9)
        started = time.monotonic()
        try:
            while [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == victim]:
                assert time.monotonic() - started < 2 * SECOND_S, "the victim is still there"
        finally:
            os.killpg(supervisor.pid, signal.SIGKILL)  # the forked child


NESTED = """
import sys, threading
from pathlib import Path
from typing import Any
from harness.supervisor import Limits, memory_cgroup, supervise
own = next(line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line)
assert memory_cgroup().parent.endswith(own), (memory_cgroup(), own)
seen = {}
def one(status):
    seen[status] = str(supervise(["sh", "-c", f"exit {status}"], Limits(memory_bytes=16 << 20), 60).termination)
threads = [threading.Thread(target=one, args=(status,)) for status in range(10)]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.exit(seen != {status: f"exited {status}" for status in range(10)})
"""


@needs_namespace
@needs_cgroup
@pytest.mark.skipif(memory_cgroup().version == 2, reason="a cgroup of version 2 with processes has none below it")
def test_thirty_nested_lives_at_once_have_their_own_limits(outer: Path) -> None:
    """Ten in each of three PID namespaces, with the same pids: none wrong, none left, none outside its outer one."""
    ends: list[object] = []

    def nest() -> None:
        ends.append(supervise([sys.executable, "-c", NESTED], Limits(memory_bytes=512 * MIB), 120).termination)

    threads = [threading.Thread(target=nest) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [Exited(0)] * 3
    assert not [one for one in outer.iterdir() if one.is_dir()]


MAKES_CGROUPS = """
import sys
from pathlib import Path
from typing import Any
from harness.supervisor import memory_cgroup
from harness.supervisor.cgroups import candidates, own_paths, parse_mounts
version = memory_cgroup().version
mount = next(one for one in parse_mounts(Path("/proc/self/mountinfo").read_text()) if one.version == version)
own = candidates(mount, own_paths(Path("/proc/self/cgroup").read_text())[version])[0]
(own / "a" / "b" / "c").mkdir(parents=True)
(own / "d").mkdir()
sys.exit(3)
"""


@needs_cgroup
def test_a_cgroup_of_the_victims_own_is_removed_with_its_own(outer: Path) -> None:
    """However deep it lies below."""
    command = [sys.executable, "-c", MAKES_CGROUPS]
    assert supervise(command, Limits(memory_bytes=256 * MIB, memory_by="cgroup"), 60).termination == Exited(3)
    assert not [one for one in outer.iterdir() if one.is_dir()]
