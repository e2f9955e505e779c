"""Evidence in, classification out: the wire error, the rule that gave it, and the cause in a word.

One ordered table per dialect; the first rule that holds answers. The upstream dialects share one table
(upstream §3 and §4): what changed between them is the retry table, not the classification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from harness.evidence import EndedBy, Evidence, Exited, Signaled, Witness, address_class
from harness.wire.codes import Code, Dialect
from harness.wire.errors import TaskError, enhance, error_of_exit, internal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.evidence import FaultRecord

LIMIT_SLACK: Final = 1024 * 1024  # where a cgroup's own limit made the kernel kill, its peak is nearer than this
SHELL_BASE: Final = 128  # a shell reports signal n as exit status 128 + n
OOM_TEXTS: Final = ("JavaScript heap out of memory", "Reached heap limit")
SENT_CODES: Final = frozenset({"SI_USER", "SI_QUEUE", "SI_MESGQ", "SI_TIMER"})
RAISED: Final = "SI_TKILL"  # by abort(), or by a handler that passes on what it caught: by itself
ASKED: Final = frozenset({EndedBy.DEADLINE, EndedBy.MAX_DURATION})

CRASH_CAUSES: Final[Mapping[str, str]] = {
    "SIGABRT": "abort",
    "SIGBUS": "bus_error",
    "SIGFPE": "arithmetic_error",
    "SIGILL": "illegal_instruction",
    "SIGSYS": "bad_system_call",
    "SIGTRAP": "trap",
}
SHOWN_CAUSES: Final[Mapping[str, str]] = {
    Code.TASK_PROCESS_SIGSEGV: "segmentation_fault",
    Code.TASK_PROCESS_MAYBE_OOM_KILLED: "maybe_oom",
    Code.TASK_PROCESS_SIGTERM: "sigterm",
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


class Classification(msgspec.Struct, frozen=True):
    """`error` is None where the attempt did its work. `rule` names the row that answered, `cause` what it saw."""

    error: TaskError | None
    rule: str
    cause: str


class Rule(msgspec.Struct, frozen=True):
    """A row: a name, when it holds, and what it makes of the evidence."""

    name: str
    holds: Callable[[Evidence], bool]
    error: Callable[[Evidence], TaskError | None]
    cause: Callable[[Evidence], str]


# --- predicates over evidence ---


def _exit(evidence: Evidence) -> int | None:
    end = evidence.termination
    return end.status if isinstance(end, Exited) else None


def _signal(evidence: Evidence) -> str | None:
    end = evidence.termination
    return end.signal if isinstance(end, Signaled) else None


def _did_not_fire(evidence: Evidence) -> bool:
    return evidence.witness is Witness.DID_NOT_FIRE


def _completed(evidence: Evidence) -> bool:
    """Exit 0 is success only if the work was done; a foreign command's exit 0 is all that can be known of it."""
    if _exit(evidence) != 0:
        return False
    return evidence.witness in (Witness.DONE, Witness.SILENT) or (
        evidence.witness is None and evidence.ended_by is EndedBy.SELF
    )


def _ended_as_asked(evidence: Evidence) -> bool:
    """It left, or died of a signal that ends by request. A crash in the deadline's window is a crash."""
    return _signal(evidence) in (None, "SIGTERM", "SIGKILL")


def _helper_oom(evidence: Evidence) -> bool:
    return bool(evidence.memory.oom_kills)


def _outer_oom(evidence: Evidence) -> bool:
    """The kernel killed for a limit that is not the attempt's own: it never came near that."""
    memory = evidence.memory
    known = memory.limited_by == "cgroup" and memory.limit_bytes and memory.peak_cgroup_bytes
    near = (memory.peak_cgroup_bytes or 0) + LIMIT_SLACK >= (memory.limit_bytes or 0)
    return _helper_oom(evidence) and bool(known) and not near


def _sent(evidence: Evidence) -> bool:
    return evidence.fault is not None and evidence.fault.code in SENT_CODES


def _refused_allocation(evidence: Evidence) -> bool:
    crashed = _signal(evidence) == "SIGSEGV" or _signal(evidence) in CRASH_CAUSES
    return crashed and bool(evidence.memory.allocation_failures)


def _heap_limit(evidence: Evidence) -> bool:
    return _signal(evidence) == "SIGABRT" and any(text in evidence.stderr for text in OOM_TEXTS)


# --- errors and causes ---


def _no_error(_: Evidence) -> None:
    return None


def _unexpected_exit(evidence: Evidence) -> TaskError:
    return error_of_exit(_exit(evidence), _signal(evidence), evidence.stderr or None)


def _coded(code: Code) -> Callable[[Evidence], TaskError]:
    """Return an error of `code` with the message of an unexpected exit."""
    return lambda evidence: msgspec.structs.replace(_exit_as_is(evidence), code=code)


def _exit_as_is(evidence: Evidence) -> TaskError:
    """As upstream words an exit, but never more than a plain non-zero exit: the code comes from the rule."""
    signal = _signal(evidence)
    status = -1 if signal else _exit(evidence)
    return internal(
        Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE,
        f"Process exited with code {status} after signal {signal or 'null'}.",
        evidence.stderr or msgspec.UNSET,
    )


def _max_duration(evidence: Evidence) -> TaskError:
    seconds = "?" if evidence.deadline_s is None else f"{evidence.deadline_s:g}"
    return internal(Code.MAX_DURATION_EXCEEDED, f"Run exceeded maximum compute time (maxDuration) of {seconds} seconds")


def _plain(code: Code) -> Callable[[Evidence], TaskError]:
    return lambda _: internal(code)


def _says(cause: str) -> Callable[[Evidence], str]:
    return lambda _: cause


def _as_enhanced(evidence: Evidence) -> str:
    """What upstream will show the user for an unexpected exit."""
    code = enhance(_unexpected_exit(evidence), Dialect.UPSTREAM_4_5).code
    return SHOWN_CAUSES.get(code, "unexpected_exit") if isinstance(code, str) else "unexpected_exit"


def _segv_cause(evidence: Evidence) -> str:
    """Upstream has one word for it; the record tells null, stack and wild apart."""
    return _noting_helper(evidence, _record_cause(evidence.fault) if evidence.fault else "segv_without_record")


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


def _noting_helper(evidence: Evidence, cause: str) -> str:
    return f"{cause}, and a helper process was OOM-killed" if _helper_oom(evidence) else cause


def _crash_cause(evidence: Evidence) -> str:
    return _noting_helper(evidence, CRASH_CAUSES[_signal(evidence) or ""])


def _after_refusal(evidence: Evidence) -> str:
    base = "segv" if _signal(evidence) == "SIGSEGV" else CRASH_CAUSES[_signal(evidence) or ""]
    return f"{base}_after_allocation_failure"


def _wrapped_cause(evidence: Evidence) -> str:
    return f"exit_{_exit(evidence)}_as_a_shell_reports_{WRAPPED[_exit(evidence) or 0]}"


def _wrapped_error(evidence: Evidence) -> TaskError:
    is_segv = WRAPPED[_exit(evidence) or 0] == "SIGSEGV"
    return _coded(Code.TASK_PROCESS_SIGSEGV)(evidence) if is_segv else _exit_as_is(evidence)


def _ambiguous(evidence: Evidence) -> str:
    return f"ambiguous: OOM kill or {evidence.ended_by.value}"


def _timeout_cause(evidence: Evidence) -> str:
    return "timeout, stuck in the memory cgroup's OOM" if evidence.memory.stuck_in_oom else "timeout"


def _exit_cause(evidence: Evidence) -> str:
    return _noting_helper(evidence, "exit_before_done" if _exit(evidence) == 0 else "exit_status")


def _completed_cause(evidence: Evidence) -> str:
    """What went wrong in silence is a success to any engine; only the fault itself knows better."""
    return _noting_helper(evidence, "silent_defect" if evidence.witness is Witness.SILENT else "completed")


_ENDS: Final = (
    Rule("did-not-fire", _did_not_fire, _no_error, _says("did_not_fire")),
    Rule("completed", _completed, _no_error, _completed_cause),
)

UPSTREAM: Final = (  # upstream §3 then §4, in their order
    *_ENDS,
    Rule("max-duration", lambda e: e.ended_by in ASKED, _max_duration, _says("timeout")),
    Rule(
        "cancelled",
        lambda e: e.ended_by is EndedBy.CANCEL,
        _plain(Code.TASK_RUN_CANCELLED),
        _says("cancelled"),
    ),
    Rule(
        "cleanup",
        lambda e: e.ended_by is EndedBy.CLEANUP,
        _plain(Code.TASK_EXECUTION_ABORTED),
        _says("cleanup"),
    ),
    Rule("exit-137", lambda e: _exit(e) == SHELL_BASE + 9, _unexpected_exit, _says("oom")),
    Rule("stderr-oom-handler", lambda e: "OOMErrorHandler" in e.stderr, _unexpected_exit, _says("oom")),
    Rule("sigterm", lambda e: _signal(e) == "SIGTERM", _unexpected_exit, _says("sigterm")),
    Rule("unexpected-exit", lambda _: True, _unexpected_exit, _as_enhanced),
)

_NZ: Final = _exit_as_is
_OOM: Final = _coded(Code.TASK_PROCESS_OOM_KILLED)
_MAYBE_OOM: Final = _coded(Code.TASK_PROCESS_MAYBE_OOM_KILLED)
_SEGV: Final = _coded(Code.TASK_PROCESS_SIGSEGV)

STRICT: Final = (  # the wait status first; intents, counters and records only refine it
    *_ENDS,
    Rule(
        "oom-kill-or-asked",
        lambda e: _signal(e) == "SIGKILL" and _helper_oom(e) and e.ended_by is not EndedBy.SELF,
        _MAYBE_OOM,
        _ambiguous,
    ),
    Rule(  # a larger machine is the wrong cure
        "outer-oom-kill",
        lambda e: _signal(e) == "SIGKILL" and _outer_oom(e),
        _NZ,
        _says("oom_kill_from_outside_the_limit"),
    ),
    Rule("oom-kill", lambda e: _signal(e) == "SIGKILL" and _helper_oom(e), _OOM, _says("oom_kill")),
    Rule(
        "max-duration",
        lambda e: e.ended_by in ASKED and _ended_as_asked(e),
        _max_duration,
        _timeout_cause,
    ),
    Rule(
        "cancelled",
        lambda e: e.ended_by is EndedBy.CANCEL and _ended_as_asked(e),
        _plain(Code.TASK_RUN_CANCELLED),
        _says("cancelled"),
    ),
    Rule(
        "cleanup",
        lambda e: e.ended_by is EndedBy.CLEANUP and _ended_as_asked(e),
        _plain(Code.TASK_EXECUTION_ABORTED),
        _says("cleanup"),
    ),
    Rule("killed", lambda e: _signal(e) == "SIGKILL", _NZ, _says("killed_sender_unknown")),
    Rule("sigterm", lambda e: _signal(e) == "SIGTERM", _coded(Code.TASK_PROCESS_SIGTERM), _says("sigterm")),
    Rule("sent-segv", lambda e: _signal(e) == "SIGSEGV" and _sent(e), _SEGV, _says("signal_was_sent")),
    Rule("sent-signal", lambda e: _signal(e) in CRASH_CAUSES and _sent(e), _NZ, _says("signal_was_sent")),
    Rule("heap-limit-text", _heap_limit, _MAYBE_OOM, _says("heap_limit_reached")),
    Rule("refused-allocation", _refused_allocation, _MAYBE_OOM, _after_refusal),
    Rule("sigsegv", lambda e: _signal(e) == "SIGSEGV", _SEGV, _segv_cause),
    Rule("crash-signal", lambda e: _signal(e) in CRASH_CAUSES, _NZ, _crash_cause),
    Rule("other-signal", lambda e: _signal(e) is not None, _NZ, _says("signal")),
    Rule(
        "wrapped-oom-kill",
        lambda e: _exit(e) == SHELL_BASE + 9 and _helper_oom(e) and not _outer_oom(e),
        _OOM,
        _says("oom_kill_reported_by_a_wrapper"),
    ),
    Rule("wrapped-signal", lambda e: _exit(e) in WRAPPED, _wrapped_error, _wrapped_cause),
    Rule("exit-status", lambda _: True, _NZ, _exit_cause),
)

RULES: Final[Mapping[Dialect, Sequence[Rule]]] = {
    Dialect.UPSTREAM_4_4: UPSTREAM,
    Dialect.UPSTREAM_4_5: UPSTREAM,
    Dialect.STRICT: STRICT,
    Dialect.UPSTREAM_V1: UPSTREAM,
}


def classify(evidence: Evidence, dialect: Dialect) -> Classification:
    """Apply the dialect's table. Total: the last rule of each table always holds."""
    rule = next(rule for rule in RULES[dialect] if rule.holds(evidence))
    return Classification(rule.error(evidence), rule.name, rule.cause(evidence))
