"""Each fault of the catalogue by a witness that is not our code, and the table of what they said.

    python tests/witness.py --write docs/witnesses.md

ptrace tells signal, si_code and address of the very same death, strace the system calls that led there, the
compiler's sanitizers the misuse of memory and the racing functions, the kernel's counter its OOM kills, and the C and
C++ libraries what they noticed. Exits 1 when a witness contradicts a row.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

from harness.evidence import Evidence, Exited, FaultRecord, address_class
from harness.faults.catalogue import Row, catalogue, find
from harness.machine import why_not
from harness.scenarios.rollcall import DEADLINE_S, HANG_S, limits_for
from harness.supervisor import Shot, box, process, supervise
from harness.supervisor.launch import runner_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build"
NO_PTRACE = 77
UNTRACED = "strace, parent only"  # a signal that a tracer hands on does not kill init, as the kernel's own does
SANITIZERS = {"asan": "address", "tsan": "thread"}
QUIET = "handle_segv=0:handle_abort=0:use_sigaltstack=0:detect_leaks=0"
HEAD = """\
# The witnesses

Written by `make witness`, on {machine}. For each fault something that is not our code says what it saw; the words are
looked for in this order. `ptrace` is asked for signal, si_code and address of the very same death (the class of the
address is as in [the catalogue](faults.md)), `strace` for the system calls, `asan` and `tsan` are the compiler's
AddressSanitizer and ThreadSanitizer in a build of the native host, `kernel` is the count of OOM kills in /proc/vmstat,
and `stderr` what the C or C++ library said before it gave up.

| fault | witness | what it said |
|---|---|---|
"""


class Look(NamedTuple):
    """What a witness must say: these words, in this order."""

    tool: str
    words: tuple[str, ...] = ()


class Saying(NamedTuple):
    """What a witness said. `agrees` is None where it could not be asked."""

    fault: str
    tool: str
    said: str
    agrees: bool | None


def strace(*words: str) -> Look:
    """Look for system calls and signals."""
    return Look("strace", words)


# Beside ptrace, which is asked for every death by a signal that can be recorded.
LOOKS: Mapping[str, Look] = {
    "use_after_free": Look("asan", ("heap-use-after-free", "in use_after_free")),
    "use_after_free_small": Look("asan", ("heap-use-after-free", "in use_after_free_small")),
    "double_free": Look("asan", ("attempting double-free", "in double_free")),
    "invalid_free": Look("asan", ("attempting free on address which was not malloc()-ed", "in invalid_free")),
    "free_of_stack": Look("asan", ("attempting free on address which was not malloc()-ed", "in free_of_stack")),
    "heap_overflow": Look("asan", ("heap-buffer-overflow", "in heap_overflow")),
    "heap_underflow": Look("asan", ("heap-buffer-overflow", "in heap_underflow")),
    "stack_canary": Look("asan", ("stack-buffer-overflow", "in overflow_protected_buffer")),
    "fortified_copy": Look("stderr", ("buffer overflow detected",)),
    "assertion": Look("stderr", ("Assertion", "failed")),
    "torn_publish": Look("tsan", ("data race", "read_last_byte", "publish_pair")),
    "use_after_close": Look("tsan", ("data race", "close_resource", "use_if_open")),
    "refcount": Look("tsan", ("data race", "take_reference", "take_reference_slowly")),
    "publish_before_init": Look("tsan", ("data race", "follow_node", "publish_node")),
    "jit_patch": Look("tsan", ("data race", "run_code", "patch_code")),
    "stack_limit": strace("RLIMIT_STACK, {rlim_cur=512*1024", "SIGSEGV"),
    "truncated_mapping": strace("ftruncate", ", 0) = 0", "SIGBUS"),
    "full_tmpfs": strace('mount("tmpfs", "/tmp"', "ENOSPC", "SIGBUS"),
    "full_shared_memory": strace('mount("tmpfs", "/dev/shm"', "SIGBUS"),
    "file_size_limit": strace("RLIMIT_FSIZE", "EFBIG", "SIGXFSZ", "killed by SIGXFSZ"),
    "broken_pipe": strace("EPIPE", "SIGPIPE", "killed by SIGPIPE"),
    "queued_segv": strace("rt_sigqueueinfo", "si_code=SI_QUEUE"),
    "forged_segv": strace("rt_tgsigqueueinfo", "SIGSEGV", "si_code=SEGV_MAPERR"),
    "killed": strace("kill(", "SIGKILL", "killed by SIGKILL"),
    "terminated": strace("kill(", "SIGTERM", "si_code=SI_USER", "killed by SIGTERM"),
    "hung_up": strace("kill(", "SIGHUP", "si_code=SI_USER", "killed by SIGHUP"),
    "alarm_clock": strace("setitimer", "SIGALRM", "si_code=SI_KERNEL", "killed by SIGALRM"),
    "blocked_segv": strace("SIG_BLOCK, [SEGV]", "si_code=SEGV_MAPERR", "killed by SIGSEGV"),
    "ignored_segv": strace("SIG_IGN", "si_code=SEGV_MAPERR", "killed by SIGSEGV"),
    "ignored_raise": strace("SIG_IGN", "SIGSEGV", "si_code=SI_TKILL", "exited with 0"),
    "cpu_limit": strace("RLIMIT_CPU", "SIGXCPU", "si_code=SI_KERNEL", "killed by SIGXCPU"),
    "cpu_limit_hard": strace("RLIMIT_CPU, {rlim_cur=1, rlim_max=1}", "killed by SIGKILL"),
    "refused_allocation": strace("ENOMEM", "SIGSEGV"),
    "refused_abort": strace("ENOMEM", "SIGABRT"),
    "refused_exit": strace("ENOMEM", "exited with 12"),
    "empty_hugetlb": strace("MAP_HUGETLB", "SIGBUS"),
    "memory_fill": Look("kernel", ("oom_kill",)),
    "refused_address_space": strace("RLIMIT_AS", "ENOMEM", "SIGSEGV"),
    "refused_array": strace("RLIMIT_AS", "ENOMEM", "SIGSEGV"),
    "refused_thread": strace("RLIMIT_AS", "MAP_STACK", "ENOMEM", "SIGSEGV"),
    "lock_across_fork": strace("fork", "FUTEX_WAIT"),
    "deadlock": strace("FUTEX_WAIT"),
    "handler_reraises": strace("si_code=SEGV_MAPERR", "si_code=SI_TKILL", "killed by SIGSEGV"),
    "handler_exits": strace("si_code=SEGV_MAPERR", "exited with 1"),
    "handler_returns": strace(*["si_code=SEGV_MAPERR", "rt_sigreturn"] * 3),
    "crash_in_handler": strace("si_code=SEGV_MAPERR", "si_code=SEGV_MAPERR", "killed by SIGSEGV"),
    "seccomp_trap": strace("SECCOMP_MODE_FILTER", "SIGSYS", "si_code=SYS_SECCOMP"),
    "seccomp_kill": strace("SECCOMP_MODE_FILTER", "killed by SIGSYS"),
    "crashed_helper": strace("killed by SIGSEGV", "exited with 0"),
    "shell_status": strace("killed by SIGSEGV", "exited with 139"),
    "negative_status": strace("killed by SIGSEGV", "exited with 245"),
    "init_kills_itself": strace("CLONE_NEWPID", "kill(1, SIGKILL)", "exited with 42", "exited with 0"),
    "init_aborts": Look(UNTRACED, ("CLONE_NEWPID", "WTERMSIG(s) == SIGSEGV", "exited with 139")),
    "terminate_call": Look("stderr", ("terminate called without an active exception",)),
    "uncaught_exception": Look("stderr", ("terminate called after throwing", "nobody catches this")),
    "noexcept_throw": Look("stderr", ("terminate called after throwing", "nobody catches this")),
    "throwing_destructor": Look("stderr", ("terminate called after throwing", "nobody catches this")),
    "pure_virtual_call": Look("stderr", ("pure virtual method called",)),
    "bad_alloc": Look("stderr", ("terminate called after throwing", "std::bad_alloc")),
    "caught_bad_alloc": strace("out of memory, and going", "exited with 0"),
    "thread_exception": Look("stderr", ("terminate called after throwing", "nobody catches this")),
    "handed_on_exception": Look("stderr", ("terminate called after throwing", "nobody catches this")),
    "never": strace("exited with 0"),
    "did_not_fire": strace("exited with 0"),
    "hang": strace("SIGTERM, {sa_handler=SIG_IGN", "pause"),
    "exit_status": strace("exit_group(1)", "exited with 1"),
}


def looks_for(fault: Row) -> list[Look]:
    """All that is asked about a fault, in order."""
    found = [Look("ptrace")] if any(one.startswith("SIG") and one.count(" ") == 2 for one in fault.expects) else []
    return [*found, *([LOOKS[fault.name]] if fault.name in LOOKS else [])]


# --- how a witness is asked ---


def life(fault: Row, host: Sequence[str], env: Mapping[str, str] | None = None) -> Evidence:
    """One supervised life of the native host, begun by `host`: the witness's own command, and a runner."""
    deadline_s = HANG_S if fault.kind == "hang" else DEADLINE_S
    shot = Shot(fault.name, host="native")
    with mock.patch.object(process, "host_command", return_value=list(host)):
        return supervise(shot, limits_for(fault), deadline_s, env={**os.environ, **(env or {})})


@cache
def oracle() -> str:
    """The program that watches another through ptrace, or the reason why there is none, after a blank."""
    compiler = shutil.which("cc")
    if compiler is None:
        return " there is no C compiler called cc"
    BUILD.mkdir(exist_ok=True)
    program, fresh = BUILD / "oracle", BUILD / f"oracle-{os.getpid()}"
    source = ROOT / "tests" / "native" / "oracle.c"
    subprocess.run([compiler, "-O0", "-D_GNU_SOURCE", "-o", str(fresh), str(source)], check=True)
    return str(fresh.replace(program))


@cache
def sanitized(sanitizer: str) -> str:
    """The native host of a sanitizer's build, or the reason why there is none, after a blank."""
    if shutil.which("cmake") is None:
        return " cmake is not installed"
    folder = BUILD / f"sanitize-{sanitizer}"
    for words in (["-S", str(ROOT / "native"), "-B", str(folder), f"-DSANITIZE={sanitizer}"], ["--build", str(folder)]):
        done = subprocess.run(["cmake", *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f" no build for it: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    return str(folder / "runner")


def missing(tool: str) -> str:
    """Why a witness can't be asked here, or the empty string."""
    if tool in {"strace", UNTRACED}:
        return "" if shutil.which("strace") else "strace is not installed"
    if tool == "ptrace":
        return oracle().removeprefix(" ") if oracle().startswith(" ") else ""
    if tool in SANITIZERS:
        program = sanitized(SANITIZERS[tool])
        return program.removeprefix(" ") if program.startswith(" ") else ""
    return ""


def ask_ptrace(fault: Row) -> Saying:
    """The kernel's own words for the first crash signal of the life."""
    evidence = life(fault, [oracle(), runner_path()])
    if evidence.termination == Exited(NO_PTRACE):
        return Saying(fault.name, "ptrace", "not here: ptrace is not allowed", None)
    seen = [record for record in map(_record, evidence.stdout.splitlines()[1:]) if record.signal != "SIGCHLD"]
    if not seen:
        return Saying(fault.name, "ptrace", "no signal", agrees=False)
    said = f"{seen[0].signal} {seen[0].code} {address_class(seen[0])}"
    agrees = said in fault.expects and str(evidence.termination) == seen[0].signal
    return Saying(fault.name, "ptrace", said, agrees)


def _record(line: str) -> FaultRecord:
    number, code, address, sender, thread, counter, stack = map(int, line.split())
    signal, name, sent = box.signal_name(number), box.code_name(number, code), code <= 0
    return FaultRecord(signal, name, None if sent else address, thread, sender if sent else None, counter, stack)


def ask_for_words(fault: Row, look: Look) -> Saying:
    """A report in which words are looked for."""
    report = {"strace": _strace, UNTRACED: _strace, "stderr": _stderr, "kernel": _kernel}.get(look.tool, _sanitizer)(
        fault, look.tool
    )
    pattern = ".*?".join(map(re.escape, look.words))
    if re.search(pattern, report, re.DOTALL):
        return Saying(fault.name, look.tool, " … ".join(look.words), agrees=True)
    last = (report.strip().splitlines() or ["nothing"])[-1]
    return Saying(fault.name, look.tool, f"not {' … '.join(look.words)}, but: {last}", agrees=False)


def _strace(fault: Row, tool: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        life(fault, ["strace", *([] if tool == UNTRACED else ["-f"]), "-q", "-o", str(log), runner_path()])
        return log.read_text(errors="replace")


def _stderr(fault: Row, _: str) -> str:
    return life(fault, [runner_path()]).stderr


def _kernel(fault: Row, _: str) -> str:
    """Others may be killed meanwhile: an increase that can't be ours is not told from ours, a missing one is."""
    before = _oom_kills()
    life(fault, [runner_path()])
    return "oom_kill" if _oom_kills() > before else "no OOM kill was counted"


def _oom_kills() -> int:
    found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def _sanitizer(fault: Row, tool: str) -> str:
    """The layout is not randomised: an older ThreadSanitizer refuses some of those that a kernel makes."""
    host = ["setarch", platform.machine(), "-R", sanitized(SANITIZERS[tool])]
    return life(fault, host, {f"{tool.upper()}_OPTIONS": QUIET}).stderr


# --- the table ---


def ask(fault: Row) -> Iterator[Saying]:
    """What all witnesses of a fault say."""
    reason, looks = why_not(fault.needs), looks_for(fault)
    if reason:
        yield Saying(fault.name, "", f"not fired here: {reason}", None)
        return
    if not looks:
        yield Saying(fault.name, "none", "no witness: nothing of it is to be seen from outside", None)
    for look in looks:
        absent = missing(look.tool)
        if absent:
            yield Saying(fault.name, look.tool, f"not here: {absent}", None)
        else:
            yield ask_ptrace(fault) if look.tool == "ptrace" else ask_for_words(fault, look)


def row(saying: Saying) -> str:
    """One line of the table."""
    mark = "**contradicts the row:** " if saying.agrees is False else ""
    return f"| `{saying.fault}` | {saying.tool} | {mark}{saying.said.replace('|', chr(92) + '|')} |\n"


def main() -> int:
    """Print the table, or write the page; exit 1 when a witness contradicts a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    faults = [find(name) for name in asked.faults] or list(catalogue().values())
    rows, contradictions = [HEAD.format(machine=f"{platform.machine()}, {platform.libc_ver()[0]}")], 0
    for saying in (saying for fault in faults for saying in ask(fault)):
        rows.append(row(saying))
        contradictions += saying.agrees is False
        sys.stderr.write(rows[-1])
    if asked.write:
        asked.write.write_text("".join(rows))
    sys.stderr.write(f"{len(faults)} faults, {contradictions} contradictions\n")
    return int(contradictions > 0)


if __name__ == "__main__":
    sys.exit(main())
