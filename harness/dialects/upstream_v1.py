"""The decision of upstream's first engine, gone since 4.5.4: the other path that the fix names (upstream §14).

It asks neither the run's max attempts nor whether a code's policy may be looked up. It infers a policy only where the
platform reports the failure, so a crash that the supervisor reports is not retried, before the fix or after it. Read in
upstream's source, not run. What the errors are called is as in 4.5, in docker mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from harness.dialects import upstream_4_5
from harness.dialects.builtin import BuiltIn
from harness.dialects.retry import policy_settings, stored_policy
from harness.wire.codes import Code, Status
from harness.wire.errors import Kind, TaskError
from harness.wire.request import Branch, Decision, Method, Outcome, Request, Settings

if TYPE_CHECKING:
    from harness.wire.policy import RetryPolicy

MAX_ATTEMPTS: Final = 250
"""This attempt itself is not followed by another; in the second engine it is."""

QUEUE_FROM_MS: Final = 30_000


def decide(request: Request, dialect: BuiltIn) -> Decision:
    """Answer a request as the first engine did, by a dialect's table of codes.

    Raises UnexpectedError for an error of unknown type or code.
    """
    error, enhanced = request.error, dialect.enhance(request.error)
    if error.type == Kind.INTERNAL and error.code == Code.TASK_RUN_CANCELLED:
        return Decision(outcome=Outcome.CANCEL_RUN, reason=error.message, branch=Branch.CANCELLED)
    policy = stored_policy(request.run, dialect.schema)
    if dialect.is_oom(error) and (moved := _larger_machine(request, policy)):
        return _move(request, moved, _inferred(request, policy))
    settings = request.retry_settings
    if settings is None and request.reported_by_platform:
        settings = _inferred(request, policy)
    branch = _refusal(request, enhanced, settings, dialect)
    if branch or settings is None:
        return Decision(outcome=Outcome.FAIL_RUN, enhanced=enhanced, branch=branch or Branch.NO_LOOKUP)
    inferred = request.retry_settings is None
    method = Method.QUEUE if inferred or settings.delay >= QUEUE_FROM_MS else Method.IMMEDIATE
    found = Branch.POLICY if inferred else Branch.WORKER_SETTINGS
    return Decision(outcome=Outcome.RETRY, method=method, settings=settings, enhanced=enhanced, branch=found)


def _refusal(request: Request, enhanced: TaskError, settings: Settings | None, dialect: BuiltIn) -> Branch | None:
    if not dialect.is_retriable(enhanced):
        return Branch.NOT_RETRIABLE
    if (request.attempt or 0) >= MAX_ATTEMPTS:
        return Branch.ATTEMPT_CAP
    if settings is not None:
        return None
    if not request.reported_by_platform:
        return Branch.NO_LOOKUP
    return Branch.NO_POLICY if stored_policy(request.run, dialect.schema) is None else Branch.POLICY_EXHAUSTED


def _move(request: Request, machine: str, settings: Settings | None) -> Decision:
    """Change the machine, even when no retry is left: such a run is recorded as failed on the larger machine.

    The settings are the policy's: the worker's own are overwritten here, unlike anywhere else.
    """
    if settings is None or (request.attempt or 0) >= MAX_ATTEMPTS:
        return Decision(outcome=Outcome.FAIL_RUN, machine=machine, was_oom_error=True, branch=Branch.OOM_NO_DELAY)
    return Decision(
        outcome=Outcome.RETRY,
        method=Method.QUEUE,
        settings=settings,
        machine=machine,
        was_oom_error=True,
        branch=Branch.OOM_MOVED,
    )


def _larger_machine(request: Request, policy: RetryPolicy | None) -> str | None:
    """Return the policy's machine, if it is another one; a run that knows none of its own is moved too."""
    wanted = policy.out_of_memory if policy else msgspec.UNSET
    machine = (wanted.machine or None) if wanted else None
    return machine if request.run and machine != request.run.machine_preset else None


def _inferred(request: Request, policy: RetryPolicy | None) -> Settings | None:
    """Return what the policy gives; a failure before the first attempt counts from attempt 0."""
    return policy_settings(request, policy, unnumbered=0)


def final_status(error: TaskError) -> Status:
    """Give the status of a run that failed with this raw error: any internal one is a crash, but for its time."""
    if error.type != Kind.INTERNAL:
        return Status.COMPLETED_WITH_ERRORS
    if error.code == Code.MAX_DURATION_EXCEEDED:
        return Status.TIMED_OUT
    if error.code == Code.TASK_RUN_CANCELLED:
        return Status.CANCELED
    return Status.CRASHED


class FirstEngine(BuiltIn, frozen=True, kw_only=True):
    """Classifies as 4.5 does, and decides and ends runs by the steps above."""

    def decide(self, request: Request) -> Decision:
        """Answer a request as the first engine did."""
        return decide(request, self)

    def final_status(self, error: TaskError, environment: str) -> Status:  # noqa: ARG002 -- the same in all
        """Give the status that the first engine gave."""
        return final_status(error)


DIALECT: Final = FirstEngine(
    name="upstream-v1",
    stands_for="trigger.dev's first engine, gone since 4.5.4",
    like=None,
    may_be_left_out=True,
    rules=upstream_4_5.RULES,
    waiting="RETRYING_AFTER_FAILURE",
)
