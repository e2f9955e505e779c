"""Fixed questions for a classifier: every kind of death, as evidence, by name. Pure.

Where the answer turns on a number, both sides of it are asked. Names and numbers are spelt out here, as in
`harness.gate.questions`: taken from the tables that are asked about, they would change with them and hide the change.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import msgspec

from harness.dialects import BUILT_IN
from harness.dialects.compare import examples
from harness.evidence import EndedBy, Evidence, Exited, FaultRecord, Memory, Signaled, Witness

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB: Final = 1 << 20
PAGE_64: Final = 64 * 1024
CRASHES: Final = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP", "SIGSEGV")
SIGNALS: Final = (*CRASHES, "SIGHUP", "SIGINT", "SIGKILL", "SIGPIPE", "SIGTERM", "SIGUSR1", "SIGXCPU")
STATUSES: Final = range(256)
OTHER_SIGNALS: Final = (
    "SIGQUIT",
    "SIGUSR2",
    "SIGALRM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
)
LATER_SIGNALS: Final = ("SIGTTOU", "SIGURG", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR")
UNNAMED: Final = tuple(f"SIG{number}" for number in (*range(32, 34), *range(35, 64)))  # as the supervisor spells them
ALL_SIGNALS: Final = (*SIGNALS, *OTHER_SIGNALS, *LATER_SIGNALS, "SIGRTMIN", "SIGRTMAX", *UNNAMED)
ASKED: Final = tuple(one for one in EndedBy if one is not EndedBy.SELF)
HANDLER: Final = "OOMErrorHandler"
HEAP_TEXTS: Final = ("FATAL ERROR: JavaScript heap out of memory", "FATAL ERROR: Reached heap limit")
KILLED: Final = Memory(oom_kills=1)
REFUSED: Final = Memory(allocation_failures=1)
STACK: Final = 0x7F_0000_0000

Named = dict[str, Evidence]
End = str | int


@cache
def evidences() -> Named:
    """Every piece of evidence by its name, and the examples that rules bring along."""
    parts = (_plain(), _witnessed(), _asked_for(), _of_memory(), _recorded(), _written(), _mixed(), _varied())
    return {name: one for part in parts for name, one in part} | examples(*BUILT_IN.values())


def _died(signal: str, **facts: Any) -> Evidence:
    return Evidence(Signaled(signal), **facts)


def _left(status: int, **facts: Any) -> Evidence:
    return Evidence(Exited(status), **facts)


def _either(end: End, **facts: Any) -> Evidence:
    return _died(end, **facts) if isinstance(end, str) else _left(end, **facts)


def _plain() -> Iterator[tuple[str, Evidence]]:
    for end in (*STATUSES, *ALL_SIGNALS):
        yield f"{_spelt(end)}", _either(end)


def _spelt(end: End) -> str:
    return end if isinstance(end, str) else f"exited {end}"


def _witnessed() -> Iterator[tuple[str, Evidence]]:
    ends: tuple[End, ...] = (0, 1, 137, "SIGSEGV", "SIGTERM")
    for end, witness in product(ends, Witness):
        yield f"{_spelt(end)}, fault {witness}", _either(end, witness=witness)
    for seen, by in product((None, Witness.DONE, Witness.DID_NOT_FIRE), ASKED):
        yield f"exited 0, fault {seen or 'none'}, {by}", _left(0, witness=seen, ended_by=by, deadline_s=5)


def _asked_for() -> Iterator[tuple[str, Evidence]]:
    ends: tuple[End, ...] = (1, 137, 139, "SIGKILL", "SIGTERM", "SIGSEGV", "SIGABRT", "SIGHUP")
    for end, by in product(ends, ASKED):
        yield f"{_spelt(end)}, {by}", _either(end, ended_by=by, deadline_s=2.5)
    stuck = Memory(oom_kills=0, stuck_in_oom=True)
    yield "SIGKILL, deadline, stuck in OOM", _died("SIGKILL", ended_by=EndedBy.DEADLINE, memory=stuck)


def _cgroup(below: int, oom_kills: int = 1) -> Memory:
    """Return memory facts whose peak is so many bytes below the limit."""
    return Memory(limited_by="cgroup", limit_bytes=64 * MIB, peak_cgroup_bytes=64 * MIB - below, oom_kills=oom_kills)


def _of_memory() -> Iterator[tuple[str, Evidence]]:
    ends: tuple[End, ...] = ("SIGKILL", "SIGTERM", "SIGSEGV", 0, 1, 137)
    for end, by in product(ends, EndedBy):
        yield f"{_spelt(end)}, OOM kill, {by}", _either(end, memory=KILLED, ended_by=by)
    for end in ends[::5]:
        for below in (0, MIB - 1, MIB, MIB + 1, 32 * MIB):
            yield f"{_spelt(end)}, OOM kill {below} below the limit", _either(end, memory=_cgroup(below))
        yield f"{_spelt(end)}, no OOM kill, far below", _either(end, memory=_cgroup(32 * MIB, 0))
        rlimit = Memory(limited_by="rlimit", limit_bytes=64 * MIB, peak_cgroup_bytes=MIB, oom_kills=1)
        yield f"{_spelt(end)}, OOM kill, rlimit", _either(end, memory=rlimit)
        unknown = Memory(limited_by="cgroup", limit_bytes=64 * MIB, oom_kills=1)
        yield f"{_spelt(end)}, OOM kill, peak unknown", _either(end, memory=unknown)
    for by in ASKED:
        yield f"SIGKILL, outer OOM kill, {by}", _died("SIGKILL", memory=_cgroup(32 * MIB), ended_by=by)
    for end in (*SIGNALS, 0, 1, 134, 139):
        yield f"{_spelt(end)}, allocation refused", _either(end, memory=REFUSED)
    for end in CRASHES:
        yield f"{end}, OOM kill of a helper", _died(end, memory=KILLED)


def _recorded() -> Iterator[tuple[str, Evidence]]:
    for signal, code in product(CRASHES, ("SI_USER", "SI_QUEUE", "SI_MESGQ", "SI_TIMER", "SI_TKILL")):
        yield f"{signal} {code}", _died(signal, faults=(FaultRecord(signal, code, sender=7),))
    yield "SIGBUS BUS_ADRERR", _died("SIGBUS", faults=(FaultRecord("SIGBUS", "BUS_ADRERR", 4096),))
    yield "SIGSEGV SI_KERNEL", _died("SIGSEGV", faults=(FaultRecord("SIGSEGV", "SI_KERNEL", 0),))
    for code, address in product(("SEGV_MAPERR", "SEGV_ACCERR"), (0, PAGE_64 - 1, PAGE_64, 1 << 40)):
        yield f"SIGSEGV {code} at {address:#x}", _died("SIGSEGV", faults=(FaultRecord("SIGSEGV", code, address),))
    for code, offset in product(("SEGV_MAPERR", "SEGV_ACCERR"), (-PAGE_64 - 1, -PAGE_64, 0, 2048, 2049)):
        fault = FaultRecord("SIGSEGV", code, STACK + offset, stack_pointer=STACK)
        yield f"SIGSEGV {code} stack {offset:+}", _died("SIGSEGV", faults=(fault,))
    jump = FaultRecord("SIGSEGV", "SEGV_MAPERR", STACK, program_counter=STACK, stack_pointer=STACK)
    yield "SIGSEGV SEGV_MAPERR at the instruction", _died("SIGSEGV", faults=(jump,))


def _written() -> Iterator[tuple[str, Evidence]]:
    texts = (HANDLER, *HEAP_TEXTS, "received SIGTERM", "received SIGSEGV")
    ends: tuple[End, ...] = (0, 1, 134, 137, "SIGABRT", "SIGSEGV", "SIGTERM", "SIGKILL")
    for end, text in product(ends, texts):
        yield f"{_spelt(end)}, {text!r}", _either(end, stderr=text)
    for by in ASKED:
        yield f"exited 1, {HANDLER!r}, {by}", _left(1, stderr=HANDLER, ended_by=by)


def _mixed() -> Iterator[tuple[str, Evidence]]:
    """Yield evidence for which several rules hold, so that the first one must answer."""
    for signal in CRASHES:
        sent = FaultRecord(signal, "SI_USER", sender=7)
        yield f"{signal} sent, allocation refused", _died(signal, faults=(sent,), memory=REFUSED)
    sent = FaultRecord("SIGABRT", "SI_USER", sender=7)
    yield "SIGABRT sent, heap limit", _died("SIGABRT", faults=(sent,), stderr=HEAP_TEXTS[0])
    yield "SIGABRT, heap limit, allocation refused", _died("SIGABRT", stderr=HEAP_TEXTS[0], memory=REFUSED)
    yield "exited 0 too early, OOM kill", _left(0, witness=Witness.ARMED, memory=KILLED)
    for end in ("SIGKILL", 137):
        unfired = _either(end, witness=Witness.DID_NOT_FIRE, memory=KILLED, ended_by=EndedBy.CANCEL)
        yield f"{_spelt(end)}, did not fire, OOM kill", unfired


CRASHED: Final = Evidence(
    Signaled("SIGSEGV"),
    faults=(FaultRecord("SIGSEGV", "SEGV_MAPERR", 1 << 40, program_counter=1 << 41, stack_pointer=STACK),),
)
"""A plain crash; `_varied` changes one member of it at a time."""

VARIED: Final[dict[str, tuple[Any, ...]]] = {
    "termination": (Signaled("SIGSEGV", core_dumped=True), Exited(139), Signaled("SIGBUS")),
    "ended_by": tuple(EndedBy),
    "witness": (None, *Witness),
    "faults": (
        (),
        (FaultRecord("SIGSEGV"),),
        (FaultRecord("SIGSEGV", "SEGV_MAPERR"),),
        (FaultRecord("SIGSEGV", None, 0),),
        (FaultRecord("SIGSEGV", "SEGV_MAPERR", 1 << 40, thread=8),),
        (FaultRecord("SIGSEGV", "SEGV_MAPERR", 1 << 40, sender=9),),
        (FaultRecord("SIGSEGV", "SEGV_MAPERR", 1 << 40, module="libx.so", offset=64, source="perf"),),
        (FaultRecord("SIGSEGV", "SEGV_MAPERR", 0, returned=True),),
        (FaultRecord("SIGSEGV", "SEGV_MAPERR", 0, left=True),),
        (FaultRecord("SIGBUS", "BUS_ADRALN", 1 << 40), FaultRecord("SIGSEGV", "SI_TKILL")),
    ),
    "memory": (
        *(Memory(limit_bytes=size) for size in (0, MIB)),
        *(Memory(peak_rss_bytes=size) for size in (0, MIB)),
        *(Memory(peak_cgroup_bytes=size) for size in (0, MIB)),
        *(Memory(oom_kills=count) for count in (0, 1, 2, 1000)),
        *(Memory(allocation_failures=count) for count in (0, 1, 2, 1000)),
        *(Memory(limited_by=by) for by in ("cgroup", "rlimit")),
        *(Memory(stuck_in_oom=stuck) for stuck in (False, True)),
    ),
    "stderr": ("Segmentation fault", HANDLER, *HEAP_TEXTS, "\0", "💥"),
    "stdout": ("Segmentation fault", HANDLER, *HEAP_TEXTS),
    "deadline_s": (0.001, 1, 1e9),
    "duration_s": (0.0, 1e9),
    "cpu_s": (0.0, 1e9),
    "black_box": ("armed", "off", "unavailable: it is static"),
    "second_witness": ("perf", "off", "unavailable: perf_event_open"),
    "survivors": (1, 1000),
    "containment": ("namespace", "none"),
    "limits": ({"processes": 1}, {"open_files": 64}),
    "host": ("python", "native"),
    "start": ("fresh", "warm"),
    "group": (0, 1),
    "backtrace": ("#0 abort", "unavailable: no core"),
}
"""Other values for every member of Evidence, none of which may be forgotten: a test compares the names."""


def _varied() -> Iterator[tuple[str, Evidence]]:
    """Yield evidence in which one member alone is varied: some must change the answer, the others must not."""
    for member, values in VARIED.items():
        for number, value in enumerate(values):
            yield f"crash, {member} {number}", msgspec.structs.replace(CRASHED, **{member: value})
