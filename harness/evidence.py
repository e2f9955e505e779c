"""The facts of one attempt. Frozen, without opinion: nothing here says "OOM" or "flaky"."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

NULL_PAGES: Final = 64 * 1024  # an address below is NULL plus an offset
BELOW_STACK: Final = 64 * 1024  # a stack overflows downwards, by a frame at most; what lies above a thread's
ABOVE_STACK: Final = 2 * 1024  # stack pointer may be another mapping already

ASKED_SIGNALS: Final = ("SIGTERM", "SIGKILL")  # no crash, though one may have come before: a reporter that hangs

ByteCount = Annotated[int, Meta(ge=0)]

Host = Literal["python", "native"]
Start = Literal["fresh", "warm"]
Source = Literal["library", "perf", "trace"]

CRASHES: Final = frozenset({"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGABRT", "SIGSYS"})

MOST_FAULTS: Final = 8  # a chain holds no more


class Exited(msgspec.Struct, frozen=True, tag_field="kind", tag="exited", forbid_unknown_fields=True):
    """The process left by itself with `status` in 0..255."""

    status: Annotated[int, Meta(ge=0, le=255)]

    def __str__(self) -> str:
        """As a scenario spells it: "exited 1"."""
        return f"exited {self.status}"


class Signaled(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    tag_field="kind",
    tag="signaled",
    forbid_unknown_fields=True,
):
    """The process was ended by `signal`, spelt as POSIX does ("SIGSEGV")."""

    signal: Annotated[str, Meta(pattern=r"^SIG[A-Z0-9+-]+$", max_length=16)]
    core_dumped: bool = False

    def __str__(self) -> str:
        """As a scenario spells it: "SIGSEGV"."""
        return self.signal


Termination = Exited | Signaled


class EndedBy(StrEnum):
    """Who first asked for the end. An intent, not a cause: the victim may have crashed before it was obeyed."""

    SELF = "self"
    DEADLINE = "deadline"
    CANCEL = "cancel"
    MAX_DURATION = "max_duration"
    CLEANUP = "cleanup"


class Witness(StrEnum):
    """The last word of a fault about itself, from the shared box. The values are those of `enum outcome`."""

    UNTOUCHED = "untouched"
    ARMED = "armed"
    DONE = "done"
    DID_NOT_FIRE = "did_not_fire"
    REFUSED = "refused"
    SILENT = "silent"


class Memory(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Memory facts; what is absent was not measured.

    `stuck_in_oom`: when its end was asked for, the victim slept in its cgroup's OOM, as it does for ever where a
    cgroup of version 1 has its OOM killer disabled.
    `oom_kills` counts in the attempt's own cgroup, so helpers of the victim are in it.
    `allocation_failures` counts what the victim's allocator was refused, as far as the box saw it: not without a
    box, and not where a program brings its own malloc.
    """

    limit_bytes: ByteCount | None = None
    limited_by: str | None = None
    peak_rss_bytes: ByteCount | None = None
    peak_cgroup_bytes: ByteCount | None = None
    oom_kills: ByteCount | None = None
    allocation_failures: ByteCount | None = None
    stuck_in_oom: bool | None = None


class FaultRecord(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One crash signal as it reached the victim: si_code by name, si_addr, thread id, registers.

    `code` is None where the witness can't know it. `module` and `offset` say where the program counter lay: the file
    that was mapped there, and how far behind its first byte. `returned`: the program's own handler took the signal
    and went on. `left`: the handler was left by siglongjmp(). `source` is who saw it: the handler of ours in the
    victim ("library"), the kernel's count of page faults that it could not serve ("perf"), or a tracer ("trace").
    """

    signal: Annotated[str, Meta(pattern=r"^SIG[A-Z0-9+-]+$", max_length=16)]
    code: str | None = None
    address: ByteCount | None = None
    thread: ByteCount | None = None
    sender: ByteCount | None = None
    program_counter: ByteCount | None = None
    stack_pointer: ByteCount | None = None
    module: str | None = None
    offset: ByteCount | None = None
    returned: bool = False
    left: bool = False
    source: Source | None = None

    def __str__(self) -> str:
        """Write "SEGV_MAPERR at 0x0 in libboom.so+0x116e"; without a code, the signal stands for it."""
        where = "" if self.address is None else f" at {self.address:#x}"
        place = "" if self.module is None or self.is_sent else f" in {self.module}+{self.offset or 0:#x}"
        return f"{self.code or self.signal}{where}{place}"

    @property
    def is_sent(self) -> bool:
        """Whether a process sent the signal (raise() and abort() do); otherwise the kernel did, for an instruction."""
        code = self.code or ""
        return code.startswith(("SI_", "CODE_-")) and code != "SI_KERNEL"

    @property
    def is_over(self) -> bool:
        """Whether the program survived it."""
        return self.returned or self.left


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Everything that was observed of one process life.

    `stdout` and `stderr` hold the last bytes only, decoded with replacement. `faults` is the chain of crash signals
    that were seen, in their order, at most eight: a runtime that reports a fault and then aborts leaves two. It is
    empty when nobody saw one. `witness` is absent for a command that carries no fault of ours.
    `black_box` says whether a command carried the library that sees its signals: "armed", "off", or "unavailable:
    why"; a fault of ours always does. `second_witness` is the one that needs no library: "perf", "trace", "off", or
    "unavailable: why". `survivors` counts processes that the victim left behind and that had to be killed;
    `containment` is what held it; `limits` are those that are one number, called as in `harness.Limits`. `host` and
    `start` say what carried a fault of ours and how it was started; attempts of one `group` were forked from one
    process, so they share its address-space layout. `backtrace` is there when it was asked for and a signal ended the
    process: a line a frame, innermost first, or "unavailable: why".
    """

    termination: Termination
    ended_by: EndedBy = EndedBy.SELF
    witness: Witness | None = None
    faults: Annotated[tuple[FaultRecord, ...], Meta(max_length=MOST_FAULTS)] = ()
    memory: Memory = Memory()
    stderr: str = ""
    stdout: str = ""
    deadline_s: float | None = None
    duration_s: float | None = None
    cpu_s: float | None = None
    black_box: str | None = None
    second_witness: str | None = None
    survivors: int = 0
    containment: str | None = None
    limits: dict[str, ByteCount] = {}
    host: Host | None = None
    start: Start | None = None
    group: int | None = None
    backtrace: str | None = None
    former: FaultRecord | None = msgspec.field(default=None, name="fault")

    def __post_init__(self) -> None:
        """Take the one record of a line that was written before there were chains, its member `fault`."""
        if self.former is not None:
            msgspec.structs.force_setattr(self, "faults", (self.former, *self.faults)[:MOST_FAULTS])
            msgspec.structs.force_setattr(self, "former", None)

    def __str__(self) -> str:
        """In one line: how the process ended, and what the crash record and the counters say about it."""
        parts = [spelling(self)]
        if self.fault:
            parts.append(str(self.fault))
        elif self.unseen is not None:
            parts.append(f"no crash record ({self.unseen})")
        if self.ended_by is not EndedBy.SELF:
            parts.append(f"after {self.ended_by}")
        if self.memory.oom_kills:
            parts.append(f"oom_kills {self.memory.oom_kills}")
        if self.memory.allocation_failures:
            parts.append(f"allocation failures {self.memory.allocation_failures}")
        return ", ".join(parts)

    @property
    def unseen(self) -> str | None:
        """Why nobody saw the crash of a command that died of one; None where nobody was to see it, or somebody did."""
        black_box = self.black_box or ""
        if str(self.termination) not in CRASHES or self.faults or not black_box.startswith("unavailable: "):
            return None
        return black_box.removeprefix("unavailable: ")

    @property
    def succeeded(self) -> bool:
        """Whether the process left by itself with status 0; False for a crash, which has no status."""
        return self.termination == Exited(0)

    @property
    def fault(self) -> FaultRecord | None:
        """The record that tells why a signal ended the process, None if there is none or it left by itself.

        The first fault of the kernel's that the program did not survive: what followed was a report of it. Without
        one, the last record of the very signal that the process died of, which someone sent.
        """
        if not isinstance(self.termination, Signaled):
            return None
        began = next((one for one in self.faults if not one.is_sent and not one.is_over), None)
        deadly = (one for one in reversed(self.faults) if one.signal == self.termination.signal and not one.is_over)
        return began or next(deadly, None)


def spelling(evidence: Evidence) -> str:
    """How the attempt ended, as scenarios and tables spell it."""
    if evidence.witness is Witness.DID_NOT_FIRE:
        return "did not fire"
    if evidence.witness is Witness.SILENT and evidence.termination == Exited(0):
        return "silent"
    return str(evidence.termination)


def address_class(record: FaultRecord) -> str:
    """Name the kind of an address: null, code (the instruction itself), stack, wild; "self" where there is none."""
    if record.address is None:
        return "self"
    if record.address < NULL_PAGES:
        return "null"
    if record.address == record.program_counter:
        return "code"
    return "stack" if _is_near(record.address, record.stack_pointer) else "wild"


def _is_near(address: int, stack_pointer: int | None) -> bool:
    return stack_pointer is not None and -BELOW_STACK <= address - stack_pointer <= ABOVE_STACK


def signature(evidence: Evidence) -> str:
    """Write "SIGSEGV SEGV_MAPERR null", "SIGKILL by the deadline", "exited 3", "done", "silent" or "did not fire"."""
    if evidence.fault is not None and str(evidence.termination) not in ASKED_SIGNALS:
        return f"{evidence.termination} {evidence.fault.code or 'unknown'} {address_class(evidence.fault)}"
    if evidence.ended_by is EndedBy.DEADLINE:
        return f"{evidence.termination} by the deadline"
    if evidence.memory.oom_kills:
        return f"{evidence.termination} by the OOM killer"
    return "done" if evidence.witness is Witness.DONE else spelling(evidence)
