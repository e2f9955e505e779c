"""The wire errors, and what upstream does to one error."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from harness.exceptions import InvalidInputError
from harness.wire.codes import (
    CANNED,
    CODES,
    DEADLOCK_LINK,
    Code,
    CodeRow,
    Link,
    Status,
    find_code,
)
from harness.wire.truncation import first_units

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.wire.schema import Schema

FFMPEG_KILLED = "ffmpeg was killed with signal SIGKILL"
MANUAL_OOM = "MANUAL_OOM_KILL_ERROR"
SIGNAL_SEARCH_UNITS = 100

_OOM_CODES = frozenset({Code.TASK_PROCESS_OOM_KILLED, Code.TASK_PROCESS_MAYBE_OOM_KILLED})
_STALL_CODES = frozenset({Code.TASK_RUN_STALLED_EXECUTING, Code.TASK_RUN_STALLED_EXECUTING_WITH_WAITPOINTS})
_NON_ZERO = Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE
UNKNOWN_TYPE = "[object Object]"  # what JavaScript shows of an error it can't name
_DEADLOCK_NAME = "Concurrency Deadlock Error"
_HEAP_TEXTS = ("JavaScript heap out of memory", "Reached heap limit")

# In the order of the search, which is not that of their positions in the text (§6).
_SIGNAL_CODES: Mapping[str, Code] = {
    "SIGTERM": Code.TASK_PROCESS_SIGTERM,
    "SIGSEGV": Code.TASK_PROCESS_SIGSEGV,
    "SIGKILL": Code.TASK_PROCESS_MAYBE_OOM_KILLED,
    "SIGABRT": Code.TASK_PROCESS_MAYBE_OOM_KILLED,
}


class UnexpectedError(InvalidInputError, ValueError):
    """An unvalidated error of unknown type or code; upstream throws with the same words (upstream §1)."""

    def __init__(self, value: str | UnsetType) -> None:
        super().__init__(f"Unexpected object: {'undefined' if value is UNSET else value}")


class Kind(StrEnum):
    """The four types of the error union (upstream §1)."""

    BUILT_IN = "BUILT_IN_ERROR"
    CUSTOM = "CUSTOM_ERROR"
    STRING = "STRING_ERROR"
    INTERNAL = "INTERNAL_ERROR"


class Cause(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One error that led to another (upstream §1)."""

    message: str
    name: str | UnsetType = UNSET
    stack_trace: str | UnsetType = UNSET


class TaskError(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One error as it travels, of whichever type; `parse_error` knows which members belong to which.

    `type` and `code` are plain strings: unknown ones must pass through, as they do upstream. `causes`, the nearest
    first, are there since upstream 4.6.3; see `without_causes`.
    """

    type: str
    code: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    stack_trace: str | UnsetType = UNSET
    raw: str | UnsetType = UNSET
    link: Link | UnsetType = UNSET
    causes: tuple[Cause, ...] | UnsetType = UNSET


def internal(
    code: str,
    message: str | UnsetType | None = None,
    stack_trace: str | UnsetType | None = None,
    link: Link | UnsetType = UNSET,
) -> TaskError:
    """Make an INTERNAL_ERROR; a text that is None is absent."""
    return TaskError(
        Kind.INTERNAL,
        code,
        message=UNSET if message is None else message,
        stack_trace=UNSET if stack_trace is None else stack_trace,
        link=link,
    )


# The schema (§1).


class _BuiltIn(msgspec.Struct, tag_field="type", tag=Kind.BUILT_IN.value, rename="camel"):
    name: str
    message: str
    stack_trace: str
    causes: tuple[Cause, ...] | UnsetType = UNSET


class _Custom(msgspec.Struct, tag_field="type", tag=Kind.CUSTOM.value):
    raw: str


class _String(msgspec.Struct, tag_field="type", tag=Kind.STRING.value):
    raw: str


class _Internal(msgspec.Struct, tag_field="type", tag=Kind.INTERNAL.value, rename="camel"):
    code: Code
    message: str | UnsetType = UNSET
    stack_trace: str | UnsetType = UNSET


def parse_error(value: object, schema: Schema) -> TaskError:
    """Validate a decoded JSON value against the error union and drop unknown members (upstream §1).

    Raises ValueError that says which member is wrong and what was expected there.
    """
    try:
        error = msgspec.convert(without_causes(value, schema), _BuiltIn | _Custom | _String | _Internal)
    except msgspec.ValidationError as reason:
        raise ValueError(f"task error: {reason}") from reason
    return msgspec.convert(msgspec.to_builtins(error), TaskError)


def without_causes(value: object, schema: Schema) -> object:
    """Return a decoded JSON error as it was, or without its causes where the schema, or its type, has none."""
    if not isinstance(value, dict) or (schema.causes and value.get("type") == Kind.BUILT_IN):
        return value
    return {key: member for key, member in value.items() if key != "causes"}


def admitted(error: TaskError, schema: Schema) -> TaskError:
    """Return the error as a version of the schema lets it through: without its causes where that has none."""
    return error if schema.causes or not error.causes else msgspec.structs.replace(error, causes=UNSET)


def title_of(error: TaskError) -> str:
    """Call an error by its code, or by what was thrown and what caused that."""
    if isinstance(error.code, str):
        return error.code
    if isinstance(error.raw, str):
        return error.raw
    causes = [f"caused by {one.name or 'an error'}: {one.message}" for one in error.causes or ()]
    return ", ".join([f"{error.name}: {error.message}", *causes])


# The table (§2).


def is_retriable(error: TaskError, rows: Mapping[Code, CodeRow]) -> bool:
    """Say whether a retry of this enhanced error is allowed at all by a dialect's table (upstream §2).

    Raises UnexpectedError for an unknown code as for an unknown type.
    """
    if error.type == Kind.INTERNAL:
        row = _find_row(error, rows)
        if row is None:
            raise UnexpectedError(error.code)
        return row.retriable
    _refuse_unknown_type(error)
    return True


def is_looked_up(error: TaskError, rows: Mapping[Code, CodeRow]) -> bool:
    """Say whether the stored policy is read for this enhanced error by a dialect's table (upstream §2).

    Raises UnexpectedError for an unknown type; an unknown code is merely not looked up.
    """
    if error.type == Kind.INTERNAL:
        row = _find_row(error, rows)
        return row is not None and row.lookup
    _refuse_unknown_type(error)
    return False


def final_status(error: TaskError, environment: str = "PRODUCTION") -> Status:
    """Give the status of a run that failed with this raw, not enhanced, error (upstream §2).

    Raises UnexpectedError for an unknown code.
    """
    if error.type != Kind.INTERNAL:
        return Status.COMPLETED_WITH_ERRORS
    if error.code in _STALL_CODES and environment == "DEVELOPMENT":
        return Status.CANCELED
    row = _find_row(error, CODES)
    if row is None:
        raise UnexpectedError(error.code)
    return row.status


def _find_row(error: TaskError, rows: Mapping[Code, CodeRow]) -> CodeRow | None:
    code = find_code(error.code)
    return None if code is None else rows[code]


def _refuse_unknown_type(error: TaskError) -> None:
    if error.type not in {*Kind}:
        raise UnexpectedError(UNKNOWN_TYPE)


# An exit, and whether memory ended it (§4, §5).


def error_of_exit(
    code: int | None,
    signal: str | None,
    stderr: str | None,
    docker_mode: bool = True,
) -> TaskError:
    """Turn the end of a process into upstream's internal error (upstream §4).

    `code` is the exit status, or None for a death by signal; `signal` its POSIX name, or None; `stderr` what
    was kept of it, or None.
    """
    shown = -1 if code is None else code
    message = f"Process exited with code {shown} after signal {signal or 'null'}."
    return internal(_code_of_exit(shown, signal, stderr or "", docker_mode), message, stderr)


def _code_of_exit(code: int, signal: str | None, stderr: str, docker_mode: bool) -> Code:
    if code == 137:  # noqa: PLR2004 -- what a shell and Docker make of SIGKILL
        return Code.TASK_PROCESS_OOM_KILLED if docker_mode else Code.TASK_PROCESS_MAYBE_OOM_KILLED
    if "OOMErrorHandler" in stderr:
        return Code.TASK_PROCESS_OOM_KILLED
    if signal == "SIGTERM":
        return Code.TASK_PROCESS_SIGTERM
    return _NON_ZERO


def is_oom(error: TaskError, *, by_text: bool) -> bool:
    """Say whether this raw, not enhanced, error takes the way to a larger machine (upstream §5).

    `by_text`: the message of a non-zero exit is searched for signals too, as upstream does. Otherwise only its code
    counts.
    """
    message = error.message or ""
    if error.type == Kind.BUILT_IN:
        return FFMPEG_KILLED in message or message == MANUAL_OOM
    if error.type != Kind.INTERNAL:
        return False
    if error.code == _NON_ZERO and by_text:
        return "-1" in message and _names_memory(message, error.stack_trace or "")
    return error.code in _OOM_CODES


def _names_memory(message: str, stack: str) -> bool:
    return "SIGKILL" in message or ("SIGABRT" in message and any(text in stack for text in _HEAP_TEXTS))


# The enhancer (§6).


def enhance(error: TaskError, *, oom_by_text: bool) -> TaskError:
    """Give the error that retry tables and people see (upstream §6). The raw error is what is stored.

    `oom_by_text`: SIGKILL and SIGABRT in a text make it an error about memory, as upstream has it. Otherwise they
    change nothing.
    """
    if error.type == Kind.BUILT_IN:
        return _enhance_built_in(error, oom_by_text)
    if error.type != Kind.INTERNAL:
        return error
    if error.code == _NON_ZERO:
        return _enhance_exit(error.message, error.stack_trace, error.message, oom_by_text)
    code = find_code(error.code)
    canned = CANNED.get(code) if code else None
    if canned is None:
        return error
    message = error.message if canned.message is UNSET else canned.message
    return msgspec.structs.replace(error, message=message, link=canned.link)


def _enhance_built_in(error: TaskError, oom_by_text: bool) -> TaskError:
    message = error.message or ""
    if error.name == "UnexpectedExitError" and message.startswith("Unexpected exit with code -1"):
        return _enhance_exit(error.message, error.stack_trace, error.stack_trace, oom_by_text)
    if message == MANUAL_OOM or (error.name == "Error" and message == FFMPEG_KILLED):
        return _canned(Code.TASK_PROCESS_OOM_KILLED)
    if error.name == "TriggerApiError" and message.startswith("Deadlock detected:"):
        causes = error.causes or UNSET  # an empty list of them goes here, and nowhere else
        return msgspec.structs.replace(error, name=_DEADLOCK_NAME, stack_trace="", link=DEADLOCK_LINK, causes=causes)
    return error


def _enhance_exit(
    message: str | UnsetType,
    stack_trace: str | UnsetType,
    searched: str | UnsetType,
    oom_by_text: bool,
) -> TaskError:
    code = _code_of_signal(searched or "")
    if code is None or (code in _OOM_CODES and not oom_by_text):
        return internal(_NON_ZERO, message, stack_trace)
    return _canned(code)


def _code_of_signal(text: str) -> Code | None:
    start = first_units(text, SIGNAL_SEARCH_UNITS)
    return next((code for signal, code in _SIGNAL_CODES.items() if signal in start), None)


def _canned(code: Code) -> TaskError:
    return internal(code, CANNED[code].message, link=CANNED[code].link)
