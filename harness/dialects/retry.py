"""The decision after a failed attempt: retry, fail the run, or cancel it. Pure: no clock, process or file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import UNSET

from harness.wire.codes import Code
from harness.wire.errors import Kind, TaskError
from harness.wire.policy import RetryPolicy, next_delay_ms, parse_policy
from harness.wire.request import (
    MAX_ATTEMPTS,
    Branch,
    Decision,
    Method,
    Outcome,
    Request,
    RunNotFoundError,
    RunSettings,
    Settings,
    settings_after,
)
from harness.wire.schema import Schema

if TYPE_CHECKING:
    from harness.dialects.builtin import BuiltIn

MIDDLE = 0.5


class _Case(NamedTuple):
    request: Request
    dialect: BuiltIn
    enhanced: TaskError
    oom: bool
    policy: RetryPolicy | None


def decide(request: Request, dialect: BuiltIn) -> Decision:
    """Answer a request: the first step with an answer gives it (upstream §10).

    Raises UnexpectedError for an error of unknown type or code, RunNotFoundError if
    the run is needed and absent.
    """
    error, policy = request.error, stored_policy(request.run, dialect.schema)
    case = _Case(request, dialect, dialect.enhance(error), dialect.is_oom(error), policy)
    return (
        _cancel(case)
        or _answer_oom(case)
        or _refuse_code(case)
        or _cap_attempts(case)
        or _cap_run(case)
        or _obey_worker(case)
        or _follow_policy(case)
    )


FINAL_NAMES = frozenset({"AbortTaskRunError", "TaskPayloadParsedError"})
"""Errors that a task throws in order not to be retried (upstream §13)."""


def worker_settings(error: TaskError, run: RunSettings, attempt: int, now: float, random: float) -> Settings | None:
    """Say when to retry a thrown error, as the worker does before it reports: None is not at all (upstream §13).

    The run's max attempts overwrite the policy's. A crash has no worker left to say anything. A worker has the policy
    from its own code, so that no version's schema stands in between.
    """
    policy = stored_policy(run, Schema())
    if policy is None or error.name in FINAL_NAMES:
        return None
    if run.max_attempts:
        policy = msgspec.structs.replace(policy, max_attempts=run.max_attempts)
    delay = next_delay_ms(policy, attempt, random)
    return None if delay is None else settings_after(now, delay)


def _cancel(case: _Case) -> Decision | None:
    error = case.request.error
    if error.type != Kind.INTERNAL or error.code != Code.TASK_RUN_CANCELLED:
        return None
    return Decision(outcome=Outcome.CANCEL_RUN, reason=error.message, branch=Branch.CANCELLED)


def _answer_oom(case: _Case) -> Decision | None:
    if not case.oom:
        return None
    here, there = _machines(case)
    if not here or not there:
        return _stay_after_oom(case, Branch.OOM_NO_MACHINE)
    if here == there:
        return _stay_after_oom(case, Branch.OOM_SAME_MACHINE)
    settings = policy_settings(case.request, case.policy)
    if settings is None:
        return _fail_oom(Branch.OOM_NO_DELAY)
    return Decision(
        outcome=Outcome.RETRY,
        method=Method.QUEUE,
        settings=settings,
        machine=there,
        was_oom_error=True,
        branch=Branch.OOM_MOVED,
    )


def _machines(case: _Case) -> tuple[str | None, str | None]:
    """Where the run is, and where its policy wants it after it ran out of memory."""
    run, policy = case.request.run, case.policy
    out_of_memory = policy.out_of_memory if policy else UNSET
    return run.machine_preset if run else None, (out_of_memory.machine or None) if out_of_memory else None


def _stay_after_oom(case: _Case, branch: Branch) -> Decision | None:
    if case.dialect.oom_may_stay and case.dialect.is_retriable(case.enhanced):
        return None
    return _fail_oom(branch)


def _fail_oom(branch: Branch) -> Decision:
    return Decision(outcome=Outcome.FAIL_RUN, was_oom_error=True, branch=branch)


def _refuse_code(case: _Case) -> Decision | None:
    return None if case.dialect.is_retriable(case.enhanced) else _fail(case, Branch.NOT_RETRIABLE)


def _cap_attempts(case: _Case) -> Decision | None:
    attempt = case.request.attempt
    return _fail(case, Branch.ATTEMPT_CAP) if attempt is not None and attempt > MAX_ATTEMPTS else None


def _cap_run(case: _Case) -> Decision | None:
    run, attempt = case.request.run, case.request.attempt
    if run is None:
        raise RunNotFoundError("Run not found")
    if not run.max_attempts or (attempt is not None and attempt >= run.max_attempts):
        return _fail(case, Branch.RUN_MAX_ATTEMPTS)
    return None


def _obey_worker(case: _Case) -> Decision | None:
    """Take the worker's own settings as they are: even a delay of 0 or less is a retry (upstream §10.7)."""
    settings = case.request.retry_settings
    if settings is None:
        return None
    method = Method.QUEUE if case.request.force_requeue else Method.IMMEDIATE
    return _retry(case, Branch.WORKER_SETTINGS, method, settings)


def _follow_policy(case: _Case) -> Decision:
    if not case.dialect.is_looked_up(case.enhanced):
        return _fail(case, Branch.NO_LOOKUP)
    if case.policy is None:
        return _fail(case, Branch.NO_POLICY)
    settings = policy_settings(case.request, case.policy)
    if settings is None:
        return _fail(case, Branch.POLICY_EXHAUSTED)
    return _retry(case, Branch.POLICY, Method.QUEUE, settings)


def policy_settings(request: Request, policy: RetryPolicy | None, unnumbered: int = 1) -> Settings | None:
    """Apply the policy to this attempt; a delay of 0 or NaN means that no retry is left (upstream §8).

    `unnumbered` is the number of an attempt that has none.
    """
    if policy is None:
        return None
    attempt = unnumbered if request.attempt is None else request.attempt
    delay = next_delay_ms(policy, attempt, MIDDLE if request.random is None else request.random)
    return settings_after(request.now, delay) if delay and not math.isnan(delay) else None


def stored_policy(run: RunSettings | None, schema: Schema) -> RetryPolicy | None:
    """Return the policy that a run was stored with."""
    try:
        return parse_policy(run.locked_retry_config, schema) if run else None
    except ValueError:  # the look-up takes an invalid policy for a missing one
        return None


def _retry(case: _Case, branch: Branch, method: Method, settings: Settings) -> Decision:
    return Decision(
        outcome=Outcome.RETRY,
        method=method,
        settings=settings,
        was_oom_error=case.oom or UNSET,
        enhanced=case.enhanced,
        branch=branch,
    )


def _fail(case: _Case, branch: Branch) -> Decision:
    return Decision(
        outcome=Outcome.FAIL_RUN,
        was_oom_error=case.oom or UNSET,
        enhanced=case.enhanced,
        branch=branch,
    )
