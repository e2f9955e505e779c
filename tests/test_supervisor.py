"""supervise(): limits, deadlines, evidence and containment, with real processes."""

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from likeness import moment_s

from harness.evidence import EndedBy, Exited, Signaled, Witness
from harness.exceptions import InfraError, InvalidInputError
from harness.supervisor import Command, Limits, Shot, Stop, containment, memory_cgroup, parse_bytes, supervise
from harness.supervisor.attend import Audience, attend
from harness.supervisor.cgroups import MEMORY_FILES, find, own_paths, parse_mounts
from harness.supervisor.guard import Guard
from harness.supervisor.process import decode_status

needs_cgroup = pytest.mark.skipif(memory_cgroup().version == 0, reason=memory_cgroup().reason or "a cgroup is there")
needs_namespace = pytest.mark.skipif(not containment().namespace, reason=containment().reason or "there is one")
MIB = 1 << 20


def python(program: str) -> Command:
    """A victim that runs a few lines of Python."""
    return Command((sys.executable, "-S", "-c", program))


def marked(mark: str) -> list[psutil.Process]:
    """Processes with `mark` in their command line."""
    found = psutil.process_iter(["cmdline", "name"])
    return [process for process in found if mark in " ".join(process.info["cmdline"] or [])]


pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")


@pytest.mark.long
@pytest.mark.slow
def test_an_exit_status_belongs_to_the_victim() -> None:
    """All 256 exit statuses come out as themselves, never as a signal."""
    seen = [supervise(["sh", "-c", f"exit {status}"], deadline_s=30).termination for status in range(256)]
    assert seen == [Exited(status) for status in range(256)]


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL", "SIGTERM", "SIGBUS", "SIGHUP", "SIGINT", "SIGPIPE"])
def test_a_signal_death_is_a_signal(name: str) -> None:
    """A victim that signals itself is Signaled by that name."""
    evidence = supervise(["sh", "-c", f"kill -{name.removeprefix('SIG')} $$"], deadline_s=30)
    assert evidence.termination == Signaled(name)
    assert evidence.ended_by is EndedBy.SELF


def test_statuses_that_are_no_end_are_refused() -> None:
    """A stopped process has not ended: that status is INFRA, not a success."""
    with pytest.raises(InfraError, match="status lost"):
        decode_status(0x137F)


def test_output_is_kept_and_belongs_to_the_victim() -> None:
    """Both streams are caught; nothing a victim prints changes what is concluded."""
    evidence = supervise(["sh", "-c", "echo out; echo '{\"termination\": 1}' >&2"], deadline_s=30)
    assert (evidence.stdout, evidence.stderr) == ("out\n", '{"termination": 1}\n')
    assert evidence.termination == Exited(0)


@pytest.mark.slow
def test_a_flood_is_capped_and_its_tail_kept() -> None:
    """64 MiB of output cost 64 KiB of memory, and the last line is there."""
    program = "import sys\nfor _ in range(1024): sys.stderr.write('x' * 65536)\nsys.stderr.write('the end')"
    evidence = supervise(python(program), deadline_s=60)
    assert evidence.termination == Exited(0)
    assert len(evidence.stderr) == 64 * 1024
    assert evidence.stderr.endswith("xthe end")


@pytest.mark.slow
def test_the_deadline_ends_a_victim_that_ignores_sigterm() -> None:
    """SIGTERM first, SIGKILL after the grace; the intent is on record."""
    evidence = supervise(Shot("hang"), deadline_s=moment_s(), grace_s=0.2)
    assert evidence.termination == Signaled("SIGKILL")
    assert evidence.ended_by is EndedBy.DEADLINE
    assert evidence.duration_s is not None
    assert 0.2 <= evidence.duration_s - moment_s() < 1.2


def test_the_deadline_asks_first() -> None:
    """A victim that obeys SIGTERM is not killed."""
    evidence = supervise(["sleep", "60"], deadline_s=0.1)
    assert (evidence.termination, evidence.ended_by) == (Signaled("SIGTERM"), EndedBy.DEADLINE)


def test_intents_are_journalled_before_the_signals_are_sent() -> None:
    """The start before the spawn, each signal before it is sent; in this order."""
    told: list[str] = []

    class Told:
        def started(self) -> None:
            told.append("started")

        def kill_intent(self, ended_by: EndedBy, signal: str) -> None:
            told.append(f"{ended_by} {signal}")

    supervise(Shot("hang"), deadline_s=moment_s(), grace_s=0.1, journal=Told())
    assert told == ["started", "deadline SIGTERM", "deadline SIGKILL"]


def test_a_stopped_victim_is_ended_too() -> None:
    """SIGSTOP does not outlast the deadline."""
    evidence = supervise(["sh", "-c", "kill -STOP $$"], deadline_s=moment_s(), grace_s=0.1)
    assert (evidence.termination, evidence.ended_by) == (Signaled("SIGKILL"), EndedBy.DEADLINE)


def test_a_program_that_cannot_start_in_time_is_ended_too(tmp_path: Path) -> None:
    """The deadline counts from the fork, not from an exec that hangs: here another's lease on the file holds it up."""
    program = str(shutil.copy("/bin/true", tmp_path))
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # the kernel asks for the lease
    leased = os.open(program, os.O_RDONLY)
    try:
        fcntl.fcntl(leased, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        evidence = supervise([program], deadline_s=0.1, grace_s=30, observe="off")
    finally:
        os.close(leased)
        signal.signal(signal.SIGIO, before)
    assert (evidence.termination, evidence.ended_by) == (Signaled("SIGTERM"), EndedBy.DEADLINE)


def test_a_crash_in_the_deadlines_window_is_a_crash() -> None:
    """A victim that crashes on SIGTERM was ended by the deadline, and crashed: both are facts."""
    program = "import os, signal\nsignal.signal(15, lambda *_: os.kill(os.getpid(), 11))\nwhile True: signal.pause()"
    evidence = supervise(python(program), deadline_s=moment_s(), grace_s=30)
    assert (evidence.termination, evidence.ended_by) == (Signaled("SIGSEGV"), EndedBy.DEADLINE)


def test_what_a_victim_leaves_behind_is_killed(tmp_path: Path) -> None:
    """Daemons in sessions of their own, holding the output open, die with the victim, and are counted."""
    mark, up = f"sleep 98{os.getpid()}", tmp_path / "up"
    daemons = f"setsid {mark} & setsid sh -c 'setsid {mark} & : > {up}; {mark}' &"
    started = time.monotonic()
    evidence = supervise(["sh", "-c", f"{daemons} until [ -e {up} ]; do sleep 0.01; done"], deadline_s=30)
    assert time.monotonic() - started < 10
    assert evidence.termination == Exited(0)
    assert evidence.survivors >= 3
    assert not marked(mark)


def test_a_command_that_cannot_be_executed_is_no_crash() -> None:
    """It is INFRA, in one line."""
    with pytest.raises(InfraError, match=r"^/no/such/program: can't be executed: No such file or directory$"):
        supervise(["/no/such/program"])


def test_an_empty_command_is_refused() -> None:
    """There is nothing to supervise."""
    with pytest.raises(InfraError, match="empty"):
        supervise([])


@pytest.mark.parametrize("size", [0, -1])
def test_a_limit_is_a_size(size: int) -> None:
    """Zero and less are wrong use."""
    with pytest.raises(InvalidInputError, match="above 0"):
        Limits(memory_bytes=size)


@pytest.mark.parametrize(("text", "size"), [("64MiB", 64 * MIB), ("1.5 GiB", 1536 * MIB), ("4096", 4096), (7, 7)])
def test_sizes_are_read(text: str | int, size: int) -> None:
    """Bytes, and numbers with a unit."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "64 parsecs", "-1", "0x10", "1.5", "1.5b"])
def test_other_sizes_are_refused(text: str) -> None:
    """Anything else says what was expected."""
    with pytest.raises(InvalidInputError, match="expected bytes"):
        parse_bytes(text)


@needs_cgroup
def test_the_kernels_oom_kill_is_counted_in_the_attempts_own_cgroup(outer: Path) -> None:
    """A memory cgroup kills for real, the counter says so, and the cgroup is gone afterwards."""
    evidence = supervise(Shot("memory_fill"), Limits(memory_bytes=48 * MIB, memory_by="cgroup"), 60)
    assert evidence.termination == Signaled("SIGKILL")
    assert evidence.memory.oom_kills == 1
    assert evidence.memory.peak_cgroup_bytes is not None
    assert evidence.memory.peak_cgroup_bytes <= 48 * MIB
    assert not [entry for entry in outer.iterdir() if entry.is_dir()]


@needs_cgroup
def test_a_sigkill_by_hand_is_no_oom_kill() -> None:
    """The counter stays at zero."""
    evidence = supervise(["sh", "-c", "kill -KILL $$"], Limits(memory_bytes=48 * MIB, memory_by="cgroup"), 30)
    assert (evidence.termination, evidence.memory.oom_kills) == (Signaled("SIGKILL"), 0)


@pytest.mark.parametrize("by", ["rlimit", "auto"])
def test_a_refused_allocation_comes_with_real_pressure(by: str) -> None:
    """Malloc is refused below the limit, with nine tenths of RLIMIT_DATA in use, and the NULL is dereferenced."""
    limits = Limits(memory_bytes=64 * MIB, memory_by=by, data_bytes=56 * MIB)  # type: ignore[arg-type]  # a Literal
    evidence = supervise(Shot("refused_allocation"), limits, 60)
    assert evidence.termination == Signaled("SIGSEGV")
    assert evidence.fault is not None
    assert (evidence.fault.code, evidence.fault.address) == ("SEGV_MAPERR", 0x80)
    assert evidence.memory.allocation_failures == 1
    assert evidence.memory.peak_rss_bytes is not None
    assert evidence.memory.peak_rss_bytes >= 0.9 * 56 * MIB


@pytest.mark.parametrize("fault", ["refused_allocation", "memory_fill"])
def test_a_memory_fault_without_a_limit_refuses(fault: str) -> None:
    """Nothing is filled, and it says why."""
    with pytest.raises(InfraError, match="needs a memory limit"):
        supervise(Shot(fault), deadline_s=30)


def test_a_fault_that_is_never_reached_proves_nothing() -> None:
    """A victim that dies before it fires is INFRA, not a crash."""
    with pytest.raises(InfraError, match="never fired"):
        supervise(Shot("null_read"), Limits(data_bytes=1 * MIB), 30)


def test_core_dumps_are_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash leaves no core by itself."""
    monkeypatch.chdir(tmp_path)
    assert supervise(["sh", "-c", "kill -SEGV $$"], deadline_s=30).termination == Signaled("SIGSEGV")
    assert not list(tmp_path.iterdir())


def test_a_victim_of_ours_starts_clean() -> None:
    """A shot is to be the same everywhere: no inherited descriptors, default dispositions, an empty mask."""
    with Guard(["cat", "/proc/self/status"], [], os.environ) as guard, Path("/dev/null").open() as inherited:
        os.set_inheritable(inherited.fileno(), True)
        _, status, _ = attend(guard, Audience())
    assert "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n" in status
    with Guard(["sh", "-c", "ls /proc/$$/fd"], [], os.environ) as guard:
        assert attend(guard, Audience())[1].split() == ["0", "1", "2"]


def test_a_stop_ends_the_victim() -> None:
    """A switch set from another thread ends it, and the intent is a cancel."""
    with Stop() as stop:
        timer = threading.Timer(0.2, stop.set)
        timer.start()
        evidence = supervise(["sleep", "60"], deadline_s=30, stop=stop)
        timer.join()
    assert (evidence.termination, evidence.ended_by) == (Signaled("SIGTERM"), EndedBy.CANCEL)


@pytest.mark.slow
def test_a_killed_supervisor_leaves_nothing() -> None:
    """SIGKILL on the supervisor ends guard, victim and daemons below it, and removes the cgroup."""
    mark = f"sleep 97{os.getpid()}"
    program = (
        "from harness.supervisor import *\n"
        f"supervise(['sh', '-c', 'setsid {mark} & {mark}'], Limits(memory_bytes=64<<20), 60)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", program])
    limit = time.monotonic() + 30
    while len([one for one in marked(mark) if one.info["name"] == "sleep"]) < 2:
        assert time.monotonic() < limit, "the victim did not start"
    supervisor.kill()
    supervisor.wait()
    while marked(mark):
        assert time.monotonic() < limit, f"left behind: {marked(mark)}"
    while memory_cgroup().version and list(Path(memory_cgroup().parent).glob(f"crash-harness-{supervisor.pid}-*")):
        assert time.monotonic() < limit, "the cgroup is left"


def test_status_theft_does_not_matter() -> None:
    """With SIGCHLD ignored the kernel reaps for us; the verdict does not come that way."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert supervise(["sh", "-c", "kill -SEGV $$"], deadline_s=30).termination == Signaled("SIGSEGV")
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_full_descriptor_table_is_infra() -> None:
    """No descriptor left is the harness's trouble, in one line, and none of those it took leaks."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 6, hard))
    try:
        with pytest.raises(InfraError, match="can't be started"):
            supervise(["true"], deadline_s=30)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_containment_is_recorded_with_every_attempt() -> None:
    """What held the victim is a fact of the attempt."""
    assert supervise(["true"], deadline_s=30, containment="bare").containment in (
        "bare",
        f"bare+cgroup-v{memory_cgroup().version}",
    )
    assert supervise(["true"], deadline_s=30).containment == containment().name


def test_many_at_once_keep_their_own_verdicts() -> None:
    """Sixteen threads supervise sixteen victims; nobody gets another's status."""
    seen: dict[int, object] = {}

    def one(status: int) -> None:
        seen[status] = supervise(["sh", "-c", f"exit {status}"], deadline_s=60).termination

    threads = [threading.Thread(target=one, args=(status,)) for status in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {status: Exited(status) for status in range(16)}


def test_closed_standard_streams_do_not_matter() -> None:
    """A supervisor without stdin, stdout and stderr still gets its evidence right."""
    program = (
        "import os\n[os.close(fd) for fd in (0, 1, 2)]\nfrom harness.supervisor import *\n"
        "evidence = supervise(Shot('null_read'), deadline_s=30)\n"
        "os._exit(0 if str(evidence.termination) == 'SIGSEGV' and evidence.fault else 1)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_the_witness_tells_done_from_armed() -> None:
    """Exit 0 after the work and exit 0 before it are told apart by the fault's own word."""
    done = supervise(Shot("never"), deadline_s=30)
    early = supervise(Shot("exit_status", parameters={"status": 0}), deadline_s=30)
    assert (done.termination, done.witness) == (Exited(0), Witness.DONE)
    assert (early.termination, early.witness) == (Exited(0), Witness.ARMED)


MOUNTS = """\
31 23 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 23 0:28 /docker/x /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
33 23 0:29 / /tmp rw - tmpfs tmpfs rw"""


def test_cgroup_mounts_are_read() -> None:
    """Version, root and mount point of each memory hierarchy, and no other mount."""
    assert [(one.version, one.root, one.point) for one in parse_mounts(MOUNTS)] == [
        (1, "/", "/sys/fs/cgroup/memory"),
        (2, "/docker/x", "/sys/fs/cgroup/unified"),
    ]
    assert own_paths("4:memory:/a\n0::/docker/x/b\n1:cpu:/c") == {1: "/a", 2: "/docker/x/b"}


def test_a_controller_that_is_not_given_on_says_why(tmp_path: Path) -> None:
    """In version 2 a controller has files only where the folder above names it; a plain folder has none."""
    mounted = f"31 23 0:27 / {tmp_path} rw - cgroup2 cgroup2 rw"
    found = find(mounted, "0::/", MEMORY_FILES, "memory")
    assert found.version == 0
    assert found.reason == f"{tmp_path}: no memory.max below it: cgroup.subtree_control does not name the controller"
    assert not list(tmp_path.iterdir())


def test_no_cgroup_says_why() -> None:
    """Without a hierarchy, or without the right to use it, there is a reason to quote."""
    assert find("", "", MEMORY_FILES, "memory").reason == "no memory cgroup is mounted"
    nowhere = "31 23 0:27 / /no/such/folder rw - cgroup2 cgroup2 rw"
    assert "/no/such/folder: No such file or directory" in find(nowhere, "0::/", MEMORY_FILES, "memory").reason
