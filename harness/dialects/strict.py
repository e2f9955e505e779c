"""What the evidence supports. A row that answers otherwise than upstream carries its reason and what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from harness.dialects.builtin import BuiltIn, Departure
from harness.dialects.rules import (
    ASKED,
    ENDS,
    SHELL_BASE,
    Overruled,
    Rule,
    counted_oom,
    max_duration,
    noting_helper,
    plain,
    says,
    signal_of,
    status_of,
)
from harness.evidence import EndedBy, Evidence, Exited, Memory, address_class
from harness.wire.codes import Code, CodeRow, Status
from harness.wire.errors import TaskError, internal
from harness.wire.request import Request, RunSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.evidence import FaultRecord

LIMIT_SLACK: Final = 1024 * 1024  # where a cgroup's own limit made the kernel kill, its peak is nearer than this
OOM_TEXTS: Final = ("JavaScript heap out of memory", "Reached heap limit")
SENT_CODES: Final = frozenset({"SI_USER", "SI_QUEUE", "SI_MESGQ", "SI_TIMER"})
NOT_FOUND: Final = 127
LOADER_TEXT: Final = "cannot allocate memory for thread-local data"
RAISED: Final = "SI_TKILL"  # by abort(), or by a handler that passes on what it caught: by itself

CRASH_CAUSES: Final[Mapping[str, str]] = {
    "SIGABRT": "abort",
    "SIGBUS": "bus_error",
    "SIGFPE": "arithmetic_error",
    "SIGILL": "illegal_instruction",
    "SIGSYS": "bad_system_call",
    "SIGTRAP": "trap",
}
WRAPPED: Final[Mapping[int, str]] = {
    SHELL_BASE + number: name
    for number, name in (
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (11, "SIGSEGV"),
    )
}


def _ended_as_asked(evidence: Evidence) -> bool:
    """Whether a process that was asked to end did so: not if it crashed between the request and its end."""
    return signal_of(evidence) in (None, "SIGTERM", "SIGKILL")


def _counted_oom_elsewhere(evidence: Evidence) -> bool:
    """Whether the kernel killed for a limit above the attempt's own, which the attempt never came near."""
    memory = evidence.memory
    known = memory.limited_by == "cgroup" and memory.limit_bytes and memory.peak_cgroup_bytes
    near = (memory.peak_cgroup_bytes or 0) + LIMIT_SLACK >= (memory.limit_bytes or 0)
    return counted_oom(evidence) and bool(known) and not near


def _was_sent(evidence: Evidence) -> bool:
    return evidence.fault is not None and evidence.fault.code in SENT_CODES


def _crashed_after_refusal(evidence: Evidence) -> bool:
    crashed = signal_of(evidence) == "SIGSEGV" or signal_of(evidence) in CRASH_CAUSES
    return crashed and bool(evidence.memory.allocation_failures)


def _said_heap_limit(evidence: Evidence) -> bool:
    return signal_of(evidence) == "SIGABRT" and any(text in evidence.stderr for text in OOM_TEXTS)


def _loader_gave_up(evidence: Evidence) -> bool:
    said = status_of(evidence) == NOT_FOUND and LOADER_TEXT in evidence.stderr
    return said and bool(evidence.memory.allocation_failures)


def _coded(code: Code) -> Callable[[Evidence], TaskError]:
    """Return an error of `code` with the message of an unexpected exit."""
    return lambda evidence: msgspec.structs.replace(_exit_as_is(evidence), code=code)


def _exit_as_is(evidence: Evidence) -> TaskError:
    """Word an exit as upstream does, always as a plain non-zero exit: the code comes from the rule."""
    signal = signal_of(evidence)
    status = -1 if signal else status_of(evidence)
    return internal(
        Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE,
        f"Process exited with code {status} after signal {signal or 'null'}.",
        evidence.stderr or msgspec.UNSET,
    )


def _wrapped_error(evidence: Evidence) -> TaskError:
    is_segv = WRAPPED[status_of(evidence) or 0] == "SIGSEGV"
    return _coded(Code.TASK_PROCESS_SIGSEGV)(evidence) if is_segv else _exit_as_is(evidence)


def _segv_cause(evidence: Evidence) -> str:
    """Upstream has one word for it; the record tells null, stack and wild apart."""
    return noting_helper(evidence, _record_cause(evidence.fault) if evidence.fault else "segv_without_record")


def _record_cause(fault: FaultRecord) -> str:
    if fault.code == "SI_KERNEL":
        return "non_canonical_access"
    if fault.code == RAISED:
        return "segv_raised_by_itself"
    where = address_class(fault)
    if where == "null" and fault.code in (None, "SEGV_MAPERR"):
        return "null_dereference"
    if where == "stack":
        return "stack_overflow"
    return "protected_page" if fault.code == "SEGV_ACCERR" else "wild_pointer"


def _crash_cause(evidence: Evidence) -> str:
    return noting_helper(evidence, CRASH_CAUSES[signal_of(evidence) or ""])


def _cause_after_refusal(evidence: Evidence) -> str:
    base = "segv" if signal_of(evidence) == "SIGSEGV" else CRASH_CAUSES[signal_of(evidence) or ""]
    return f"{base}_after_allocation_failure"


def _wrapped_cause(evidence: Evidence) -> str:
    return f"exit_{status_of(evidence)}_as_a_shell_reports_{WRAPPED[status_of(evidence) or 0]}"


def _ambiguous_cause(evidence: Evidence) -> str:
    return f"ambiguous: OOM kill or {evidence.ended_by.value}"


def _timeout_cause(evidence: Evidence) -> str:
    return "timeout, stuck in the memory cgroup's OOM" if evidence.memory.stuck_in_oom else "timeout"


def _exit_cause(evidence: Evidence) -> str:
    return noting_helper(evidence, "exit_before_done" if status_of(evidence) == 0 else "exit_status")


_NON_ZERO: Final = _exit_as_is
_OOM: Final = _coded(Code.TASK_PROCESS_OOM_KILLED)
_MAYBE_OOM: Final = _coded(Code.TASK_PROCESS_MAYBE_OOM_KILLED)
_SEGV: Final = _coded(Code.TASK_PROCESS_SIGSEGV)

RULES: Final = (
    *ENDS,
    Rule(
        "oom-kill-or-asked",
        lambda e: signal_of(e) == "SIGKILL" and counted_oom(e) and e.ended_by is not EndedBy.SELF,
        _MAYBE_OOM,
        _ambiguous_cause,
        reason="The kernel's kill or ours could have been first: it is called ambiguous, and treated as a shortage.",
        needs="the counter, and our own journalled intent",
    ),
    Rule(
        "outer-oom-kill",
        lambda e: signal_of(e) == "SIGKILL" and _counted_oom_elsewhere(e),
        _NON_ZERO,
        says("oom_kill_from_outside_the_limit"),
        reason="The kernel killed for somebody else's limit: a larger machine for this run is the wrong cure.",
        needs="the counter, and the peak of the attempt's own cgroup",
    ),
    Rule(
        "oom-kill",
        lambda e: signal_of(e) == "SIGKILL" and counted_oom(e),
        _OOM,
        says("oom_kill"),
        reason="The kernel's counter says so, and so it is no longer a maybe. What follows is the same.",
        needs="memory.oom_kill of the attempt's own cgroup",
    ),
    Rule("max-duration", lambda e: e.ended_by in ASKED and _ended_as_asked(e), max_duration, _timeout_cause),
    Rule(
        "cancelled",
        lambda e: e.ended_by is EndedBy.CANCEL and _ended_as_asked(e),
        plain(Code.TASK_RUN_CANCELLED),
        says("cancelled"),
    ),
    Rule(
        "cleanup",
        lambda e: e.ended_by is EndedBy.CLEANUP and _ended_as_asked(e),
        plain(Code.TASK_EXECUTION_ABORTED),
        says("cleanup"),
    ),
    Rule(
        "killed",
        lambda e: signal_of(e) == "SIGKILL",
        _NON_ZERO,
        says("killed_sender_unknown"),
        reason="An operator's kill -9 or an eviction is no shortage of memory: it follows the policy (quirk 5).",
        needs="memory.oom_kill of the attempt's own cgroup, which stood still or is not known",
    ),
    Rule("sigterm", lambda e: signal_of(e) == "SIGTERM", _coded(Code.TASK_PROCESS_SIGTERM), says("sigterm")),
    Rule("sent-segv", lambda e: signal_of(e) == "SIGSEGV" and _was_sent(e), _SEGV, says("signal_was_sent")),
    Rule(
        "sent-signal",
        lambda e: signal_of(e) in CRASH_CAUSES and _was_sent(e),
        _NON_ZERO,
        says("signal_was_sent"),
        reason="A signal that somebody sent says nothing about the program, and an abort is no shortage of memory"
        " (quirk 1).",
        needs="si_code of the crash record",
    ),
    Rule("heap-limit-text", _said_heap_limit, _MAYBE_OOM, says("heap_limit_reached")),
    Rule(
        "refused-allocation",
        _crashed_after_refusal,
        _MAYBE_OOM,
        _cause_after_refusal,
        reason="What fails for a refused allocation fails again on a machine of the same size; a larger one helps.",
        needs="the count of refused allocations, by the black box",
    ),
    Rule("sigsegv", lambda e: signal_of(e) == "SIGSEGV", _SEGV, _segv_cause),
    Rule(
        "crash-signal",
        lambda e: signal_of(e) in CRASH_CAUSES,
        _NON_ZERO,
        _crash_cause,
        reason="abort(), a failed assertion, a double free: no shortage of memory, as upstream has it (quirk 1).",
        needs="no refused allocation and no word of a heap limit",
    ),
    Rule("other-signal", lambda e: signal_of(e) is not None, _NON_ZERO, says("signal")),
    Rule(
        "loader-refused",
        _loader_gave_up,
        _MAYBE_OOM,
        says("loader_found_no_memory"),
        reason="The loader ends a process that finds no memory for thread-local data, a C++ exception's for one, by the"
        " status that a shell has for a command that is not found. It is a shortage of memory like any other.",
        needs="the count of refused allocations, by the black box, and the loader's own words on stderr",
        example=(
            "exit 127, the loader was refused memory",
            Evidence(Exited(NOT_FOUND), stderr=LOADER_TEXT, memory=Memory(allocation_failures=1)),
        ),
    ),
    Rule(
        "wrapped-oom-kill",
        lambda e: status_of(e) == SHELL_BASE + 9 and counted_oom(e) and not _counted_oom_elsewhere(e),
        _OOM,
        says("oom_kill_reported_by_a_wrapper"),
    ),
    Rule(
        "wrapped-signal",
        lambda e: status_of(e) in WRAPPED,
        _wrapped_error,
        _wrapped_cause,
        reason="A shell's word for a signal: the same defect has the same name, whoever reports it (quirk 2).",
        needs="the exit status alone; a program may choose it itself",
    ),
    Rule(
        "exit-status",
        lambda _: True,
        _NON_ZERO,
        _exit_cause,
        reason="A shell's word for SIGKILL, whose sender is not known: an exit status is no proof of a shortage.",
        needs="memory.oom_kill of the attempt's own cgroup, which stood still or is not known",
    ),
)
"""The wait status comes first; intents, counters and records only refine it."""

_STATUS_FIRST: Final = "The wait status outranks intent: what crashed was not ended as asked."
OVERRULED: Final = (
    *(
        Overruled(name, _STATUS_FIRST, "the wait status", but_for="oom-kill-or-asked")
        for name in ("max-duration", "cancelled", "cleanup")
    ),
    Overruled(
        "stderr-oom-handler",
        "A text on stderr is the victim's own, and proves nothing about memory (quirk 6).",
        "the wait status, and the memory's own counters",
    ),
)

_POLICY: Final = {"maxAttempts": 3, "randomize": False}
_MOVING: Final = _POLICY | {"outOfMemory": {"machine": "medium-1x"}}
_HERE: Final = RunSettings(3, _MOVING, "small-1x")
_THERE: Final = RunSettings(3, _MOVING, "medium-1x")
_MAYBE: Final = internal(Code.TASK_PROCESS_MAYBE_OOM_KILLED)
_FFMPEG: Final = TaskError("BUILT_IN_ERROR", name="Error", message="ffmpeg was killed with signal SIGKILL, it says")
_UNEXPECTED: Final = TaskError(
    "BUILT_IN_ERROR", name="UnexpectedExitError", message="Unexpected exit with code -1", stack_trace="SIGKILL"
)
_STAYS: Final = "A run that can't be moved may still be flaky: where memory is only a maybe, its policy is followed."
_NO_NAME: Final = "The classifier names the code, by evidence; the decision reads none out of a text (quirks 4 and 6)."
_THROWN: Final = "An error that the worker threw is retried as the worker says, where no machine can be changed."


def _exit(signal: str) -> TaskError:
    text = f"Process exited with code -1 after signal {signal}."
    return internal(Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE, text)


DEPARTURES: Final = (
    Departure("maybe out of memory, on the larger machine already", Request(_MAYBE, 1, _THERE), _STAYS),
    Departure(
        "maybe out of memory, no larger machine named", Request(_MAYBE, 1, RunSettings(3, _POLICY, "small-1x")), _STAYS
    ),
    Departure("maybe out of memory, no policy", Request(_MAYBE, 1, RunSettings(3, None, "small-1x")), _STAYS),
    Departure("a non-zero exit whose message says SIGKILL", Request(_exit("SIGKILL"), 1, _HERE), _NO_NAME),
    Departure("a non-zero exit whose message says SIGABRT", Request(_exit("SIGABRT"), 1, _HERE), _NO_NAME),
    Departure("an UnexpectedExitError whose stack says SIGKILL", Request(_UNEXPECTED, 1, _HERE), _NO_NAME),
    Departure(
        "a thrown error about ffmpeg and SIGKILL, on the larger machine already, with settings of the worker's",
        Request(_FFMPEG, 1, _THERE, Settings(500, 500)),
        _THROWN,
    ),
)


def beside(upstream: BuiltIn) -> BuiltIn:
    """Make the dialect from the upstream that it goes by where it has nothing of its own to say."""
    maybe = CodeRow(retriable=True, lookup=True, status=Status.CRASHED)  # no larger machine: the policy applies
    return msgspec.structs.replace(
        upstream,
        name="strict",
        stands_for="what the evidence supports",
        like=upstream.name,
        published=None,
        rules=RULES,
        rows={**upstream.rows, Code.TASK_PROCESS_MAYBE_OOM_KILLED: maybe},
        oom_by_text=False,
        oom_may_stay=True,
        overruled=OVERRULED,
        departures=DEPARTURES,
    )
