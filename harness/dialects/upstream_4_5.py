"""Upstream 4.5.0 to 4.5.12: the first releases in which a SIGSEGV follows the policy. The root of all other dialects.

Its table of rules is that of every upstream dialect: what changed between the releases is what follows from a code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.dialects.builtin import BuiltIn
from harness.dialects.rules import ASKED, ENDS, SHELL_BASE, Rule, max_duration, plain, says, signal_of, status_of
from harness.evidence import EndedBy, Evidence
from harness.wire.codes import Code
from harness.wire.errors import TaskError, enhance, error_of_exit

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN_CAUSES: Final[Mapping[str, str]] = {
    Code.TASK_PROCESS_SIGSEGV: "segmentation_fault",
    Code.TASK_PROCESS_MAYBE_OOM_KILLED: "maybe_oom",
    Code.TASK_PROCESS_SIGTERM: "sigterm",
}


def _unexpected_exit(evidence: Evidence) -> TaskError:
    return error_of_exit(status_of(evidence), signal_of(evidence), evidence.stderr or None)


def _shown_cause(evidence: Evidence) -> str:
    """What upstream will show the user for an unexpected exit."""
    code = enhance(_unexpected_exit(evidence), oom_by_text=True).code
    return SHOWN_CAUSES.get(code, "unexpected_exit") if isinstance(code, str) else "unexpected_exit"


RULES: Final = (  # upstream §3 then §4, in their order
    *ENDS,
    Rule("max-duration", lambda e: e.ended_by in ASKED, max_duration, says("timeout")),
    Rule(
        "cancelled",
        lambda e: e.ended_by is EndedBy.CANCEL,
        plain(Code.TASK_RUN_CANCELLED),
        says("cancelled"),
    ),
    Rule(
        "cleanup",
        lambda e: e.ended_by is EndedBy.CLEANUP,
        plain(Code.TASK_EXECUTION_ABORTED),
        says("cleanup"),
    ),
    Rule("exit-137", lambda e: status_of(e) == SHELL_BASE + 9, _unexpected_exit, says("oom")),
    Rule("stderr-oom-handler", lambda e: "OOMErrorHandler" in e.stderr, _unexpected_exit, says("oom")),
    Rule("sigterm", lambda e: signal_of(e) == "SIGTERM", _unexpected_exit, says("sigterm")),
    Rule("unexpected-exit", lambda _: True, _unexpected_exit, _shown_cause),
)

DIALECT: Final = BuiltIn(
    name="upstream-4.5",
    stands_for="trigger.dev 4.5.0 to 4.5.12",
    like=None,
    published="4.5.0",
    rules=RULES,
    crashes_count=True,
)
