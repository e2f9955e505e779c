"""The internal error codes and what is known about each: retriable, looked up, final status, canned text."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

if TYPE_CHECKING:
    from collections.abc import Mapping


class Status(StrEnum):
    """What a run that is not retried any more ends as (upstream §2)."""

    CANCELED = "CANCELED"
    COMPLETED_WITH_ERRORS = "COMPLETED_WITH_ERRORS"
    CRASHED = "CRASHED"
    SYSTEM_FAILURE = "SYSTEM_FAILURE"
    TIMED_OUT = "TIMED_OUT"


class Code(StrEnum):
    """The 38 codes of an internal error, in upstream's order (upstream §2)."""

    COULD_NOT_FIND_EXECUTOR = "COULD_NOT_FIND_EXECUTOR"
    COULD_NOT_FIND_TASK = "COULD_NOT_FIND_TASK"
    COULD_NOT_IMPORT_TASK = "COULD_NOT_IMPORT_TASK"
    CONFIGURED_INCORRECTLY = "CONFIGURED_INCORRECTLY"
    TASK_ALREADY_RUNNING = "TASK_ALREADY_RUNNING"
    TASK_EXECUTION_FAILED = "TASK_EXECUTION_FAILED"
    TASK_EXECUTION_ABORTED = "TASK_EXECUTION_ABORTED"
    TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE = "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE"
    TASK_PROCESS_SIGKILL_TIMEOUT = "TASK_PROCESS_SIGKILL_TIMEOUT"
    TASK_PROCESS_SIGSEGV = "TASK_PROCESS_SIGSEGV"
    TASK_PROCESS_SIGTERM = "TASK_PROCESS_SIGTERM"
    TASK_PROCESS_OOM_KILLED = "TASK_PROCESS_OOM_KILLED"
    TASK_PROCESS_MAYBE_OOM_KILLED = "TASK_PROCESS_MAYBE_OOM_KILLED"
    TASK_RUN_CANCELLED = "TASK_RUN_CANCELLED"
    TASK_INPUT_ERROR = "TASK_INPUT_ERROR"
    TASK_OUTPUT_ERROR = "TASK_OUTPUT_ERROR"
    TASK_MIDDLEWARE_ERROR = "TASK_MIDDLEWARE_ERROR"
    HANDLE_ERROR_ERROR = "HANDLE_ERROR_ERROR"
    GRACEFUL_EXIT_TIMEOUT = "GRACEFUL_EXIT_TIMEOUT"
    TASK_RUN_HEARTBEAT_TIMEOUT = "TASK_RUN_HEARTBEAT_TIMEOUT"
    TASK_RUN_CRASHED = "TASK_RUN_CRASHED"
    TASK_RUN_UNCAUGHT_EXCEPTION = "TASK_RUN_UNCAUGHT_EXCEPTION"
    MAX_DURATION_EXCEEDED = "MAX_DURATION_EXCEEDED"
    DISK_SPACE_EXCEEDED = "DISK_SPACE_EXCEEDED"
    POD_EVICTED = "POD_EVICTED"
    POD_UNKNOWN_ERROR = "POD_UNKNOWN_ERROR"
    TASK_HAS_N0_EXECUTION_SNAPSHOT = "TASK_HAS_N0_EXECUTION_SNAPSHOT"  # N-zero, as upstream spells it
    TASK_DEQUEUED_INVALID_STATE = "TASK_DEQUEUED_INVALID_STATE"
    TASK_DEQUEUED_QUEUE_NOT_FOUND = "TASK_DEQUEUED_QUEUE_NOT_FOUND"
    TASK_RUN_DEQUEUED_MAX_RETRIES = "TASK_RUN_DEQUEUED_MAX_RETRIES"
    TASK_RUN_STALLED_EXECUTING = "TASK_RUN_STALLED_EXECUTING"
    TASK_RUN_STALLED_EXECUTING_WITH_WAITPOINTS = "TASK_RUN_STALLED_EXECUTING_WITH_WAITPOINTS"
    OUTDATED_SDK_VERSION = "OUTDATED_SDK_VERSION"
    TASK_DID_CONCURRENT_WAIT = "TASK_DID_CONCURRENT_WAIT"
    RECURSIVE_WAIT_DEADLOCK = "RECURSIVE_WAIT_DEADLOCK"
    BATCH_ITEM_COULD_NOT_TRIGGER = "BATCH_ITEM_COULD_NOT_TRIGGER"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSPECIFIED_ERROR = "UNSPECIFIED_ERROR"


_BY_NAME: Mapping[object, Code] = {code.value: code for code in Code}


def find_code(name: object) -> Code | None:
    """Give the code of that name, or None if upstream knows none."""
    return _BY_NAME.get(name)


class CodeRow(NamedTuple):
    """What upstream does with one code (upstream §2).

    `retriable`: a retry is allowed at all. `lookup`: the stored policy is read when the completion brings no
    retry settings of its own. `status`: of the failed run, in PRODUCTION.
    """

    retriable: bool
    lookup: bool
    status: Status


_R = _L = True
_NO = False

CODES: Mapping[Code, CodeRow] = MappingProxyType(
    {
        Code.COULD_NOT_FIND_EXECUTOR: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.COULD_NOT_FIND_TASK: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.COULD_NOT_IMPORT_TASK: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.CONFIGURED_INCORRECTLY: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.TASK_ALREADY_RUNNING: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.TASK_EXECUTION_FAILED: CodeRow(_R, _NO, Status.SYSTEM_FAILURE),
        Code.TASK_EXECUTION_ABORTED: CodeRow(_R, _NO, Status.SYSTEM_FAILURE),
        Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE: CodeRow(_R, _L, Status.CRASHED),
        Code.TASK_PROCESS_SIGKILL_TIMEOUT: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.TASK_PROCESS_SIGSEGV: CodeRow(_R, _L, Status.CRASHED),
        Code.TASK_PROCESS_SIGTERM: CodeRow(_R, _L, Status.SYSTEM_FAILURE),
        Code.TASK_PROCESS_OOM_KILLED: CodeRow(_NO, _NO, Status.CRASHED),
        Code.TASK_PROCESS_MAYBE_OOM_KILLED: CodeRow(_NO, _NO, Status.CRASHED),
        Code.TASK_RUN_CANCELLED: CodeRow(_NO, _NO, Status.CANCELED),
        Code.TASK_INPUT_ERROR: CodeRow(_R, _NO, Status.COMPLETED_WITH_ERRORS),
        Code.TASK_OUTPUT_ERROR: CodeRow(_R, _NO, Status.COMPLETED_WITH_ERRORS),
        Code.TASK_MIDDLEWARE_ERROR: CodeRow(_R, _L, Status.COMPLETED_WITH_ERRORS),
        Code.HANDLE_ERROR_ERROR: CodeRow(_R, _NO, Status.CRASHED),
        Code.GRACEFUL_EXIT_TIMEOUT: CodeRow(_R, _NO, Status.SYSTEM_FAILURE),
        Code.TASK_RUN_HEARTBEAT_TIMEOUT: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.TASK_RUN_CRASHED: CodeRow(_R, _NO, Status.CRASHED),
        Code.TASK_RUN_UNCAUGHT_EXCEPTION: CodeRow(_R, _L, Status.COMPLETED_WITH_ERRORS),
        Code.MAX_DURATION_EXCEEDED: CodeRow(_NO, _NO, Status.TIMED_OUT),
        Code.DISK_SPACE_EXCEEDED: CodeRow(_NO, _NO, Status.CRASHED),
        Code.POD_EVICTED: CodeRow(_R, _NO, Status.SYSTEM_FAILURE),
        Code.POD_UNKNOWN_ERROR: CodeRow(_R, _NO, Status.SYSTEM_FAILURE),
        Code.TASK_HAS_N0_EXECUTION_SNAPSHOT: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.TASK_DEQUEUED_INVALID_STATE: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.TASK_DEQUEUED_QUEUE_NOT_FOUND: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.TASK_RUN_DEQUEUED_MAX_RETRIES: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.TASK_RUN_STALLED_EXECUTING: CodeRow(_R, _NO, Status.COMPLETED_WITH_ERRORS),
        Code.TASK_RUN_STALLED_EXECUTING_WITH_WAITPOINTS: CodeRow(_R, _NO, Status.COMPLETED_WITH_ERRORS),
        Code.OUTDATED_SDK_VERSION: CodeRow(_NO, _NO, Status.CRASHED),
        Code.TASK_DID_CONCURRENT_WAIT: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.RECURSIVE_WAIT_DEADLOCK: CodeRow(_NO, _NO, Status.COMPLETED_WITH_ERRORS),
        Code.BATCH_ITEM_COULD_NOT_TRIGGER: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.PAYLOAD_TOO_LARGE: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
        Code.UNSPECIFIED_ERROR: CodeRow(_NO, _NO, Status.SYSTEM_FAILURE),
    },
)
"""The table of upstream 4.5.0, the first release with the fix. A dialect that differs has rows of its own."""


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the reader of an error finds more."""

    name: str
    href: str
    magic: str | UnsetType = UNSET


class Canned(NamedTuple):
    """What the enhancer adds: a link, and mostly a message that replaces the original (upstream §6)."""

    link: Link
    message: str | UnsetType = UNSET


_CONTACT = Link("Contact us", "https://trigger.dev/contact", "CONTACT_FORM")
_MEMORY_LIMIT = Canned(
    Link("Machines", "https://trigger.dev/docs/v3/machines"),
    "Your run was terminated due to exceeding the machine's memory limit. Try increasing the machine preset"
    " in your task options or replay using a larger machine.",
)

CANNED: Mapping[Code, Canned] = MappingProxyType(
    {
        Code.TASK_PROCESS_SIGSEGV: Canned(
            _CONTACT,
            "Your task crashed with a segmentation fault (SIGSEGV). Most likely there's a bug in a package or"
            " binary you're using. If this keeps happening and you're unsure why, please get in touch.",
        ),
        Code.TASK_PROCESS_SIGTERM: Canned(
            _CONTACT,
            "Your task exited after receiving SIGTERM but we don't know why. If this keeps happening,"
            " please get in touch so we can investigate.",
        ),
        Code.TASK_PROCESS_OOM_KILLED: _MEMORY_LIMIT,
        Code.TASK_PROCESS_MAYBE_OOM_KILLED: _MEMORY_LIMIT,
        Code.TASK_RUN_UNCAUGHT_EXCEPTION: Canned(
            Link(
                "Read our troubleshooting guide",
                "https://trigger.dev/docs/troubleshooting#uncaught-exceptions",
            ),
        ),
        Code.TASK_RUN_STALLED_EXECUTING: Canned(
            Link(
                "Read our troubleshooting guide",
                "https://trigger.dev/docs/troubleshooting#task-run-stalled-executing",
            ),
        ),
        Code.OUTDATED_SDK_VERSION: Canned(
            Link("Beta upgrade guide", "https://trigger.dev/docs/upgrading-beta"),
            "Your task is using an outdated version of the SDK. Please upgrade to the latest version.",
        ),
        Code.TASK_DID_CONCURRENT_WAIT: Canned(
            Link(
                "Read the docs for solutions",
                "https://trigger.dev/docs/troubleshooting#parallel-waits-are-not-supported",
            ),
            "Parallel waits are not supported, e.g. using Promise.all() around our wait functions.",
        ),
        Code.RECURSIVE_WAIT_DEADLOCK: Canned(
            Link(
                "See docs for help",
                "https://trigger.dev/docs/queue-concurrency#waiting-for-a-subtask-on-the-same-queue",
            ),
            "This run will never execute because it was triggered recursively and the task has no remaining"
            " concurrency available.",
        ),
    },
)
"""Upstream's own words, for the codes that have any; data taken from the golden tables."""

DEADLOCK_LINK = Link("Read the docs", "https://trigger.dev/docs/queue-concurrency#deadlock")
