"""Evidence in the words in which the catalogue says what it expects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.evidence import EndedBy, Witness, spelling

if TYPE_CHECKING:
    from harness.evidence import Evidence, FaultRecord

NULL_PAGES: Final = 64 * 1024  # an address below is NULL plus an offset
BELOW_STACK: Final = 64 * 1024  # a stack overflows downwards, by a frame at most; what lies above a thread's
ABOVE_STACK: Final = 2 * 1024  # stack pointer may be another mapping already


def address_class(record: FaultRecord) -> str:
    """Tell null, code (the instruction itself), stack and wild apart; "self" where a sender stands for an address."""
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
    if evidence.fault is not None:
        return f"{evidence.termination} {evidence.fault.code} {address_class(evidence.fault)}"
    if evidence.ended_by is EndedBy.DEADLINE:
        return f"{evidence.termination} by the deadline"
    if evidence.memory.oom_kills:
        return f"{evidence.termination} by the OOM killer"
    return "done" if evidence.witness is Witness.DONE else spelling(evidence)
