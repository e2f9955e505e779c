"""A run's whole life as a pure machine: state and input give the next state and what is emitted (upstream §11, §12).

Clock and random are the caller's: they come with the inputs that need them. What may happen when is one table, ACTIONS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UnsetType

from harness.dialects import NEWEST
from harness.dialects.protocol import Dialect  # noqa: TC001 -- msgspec reads the annotations of records
from harness.exceptions import InvalidInputError
from harness.wire.codes import Code, Status
from harness.wire.errors import TaskError, internal
from harness.wire.policy import DEFAULT_PRESET, PRESETS
from harness.wire.request import MAX_ATTEMPTS, Decision, Method, Outcome, Request, RunSettings, Settings
from harness.wire.stored import final_cut, sanitize

SUCCEEDED: Final = "COMPLETED_SUCCESSFULLY"
PENDING: Final = "PENDING"
RUNNING: Final = "EXECUTING"
WARM_START_MS: Final = 30_000
REQUEUE_LIMIT: Final = 12
HEARTBEAT_S: Final = 300.0
STALL_DELAY_MS: Final = 250
MOST_USAGE_MS: Final = 2**31 - 1


class StaleSnapshotError(InvalidInputError):
    """An input names a state that is not the latest, or can't happen in that state; upstream answers 400."""


class Execution(StrEnum):
    """Where the latest snapshot stands. RETRYING_SOON is upstream's EXECUTING between two attempts on one worker."""

    QUEUED = "QUEUED"
    PENDING_EXECUTING = "PENDING_EXECUTING"
    EXECUTING = "EXECUTING"
    EXECUTING_WITH_WAITPOINTS = "EXECUTING_WITH_WAITPOINTS"
    RETRYING_SOON = "RETRYING_SOON"
    PENDING_CANCEL = "PENDING_CANCEL"
    FINISHED = "FINISHED"


class Rules(msgspec.Struct, frozen=True):
    """What does not change during a run: the dialect, and how its engine is set up.

    `warm_start_ms`: delays at least this long go through the queue. None: delays never do. After `requeue_limit`
    requeues the queue gives up; which returns count, the dialect says. A worker that is silent for `heartbeat_s` has
    stalled: the one who watches it gives the input "stall". `stall_is_oom` is upstream's switch. Costs are cents.
    """

    dialect: Dialect = NEWEST
    environment: str = "PRODUCTION"
    warm_start_ms: int | None = WARM_START_MS
    requeue_limit: int = REQUEUE_LIMIT
    heartbeat_s: float = HEARTBEAT_S
    stall_is_oom: bool = False
    cents_per_vcpu_second: float = 0.0
    cents_per_gigabyte_second: float = 0.0
    base_cents: float = 0.0

    def cents(self, machine: str, duration_ms: float) -> float:
        """Price of a time on a machine; development is free."""
        if self.environment == "DEVELOPMENT":
            return 0.0
        size = PRESETS[machine]
        second = size.vcpu * self.cents_per_vcpu_second + size.gigabytes * self.cents_per_gigabyte_second
        return duration_ms * second / 1000


class Task(msgspec.Struct, frozen=True):
    """What a dequeue finds in the task's definition. `retry` is any JSON; `machine` a preset's name or nothing."""

    max_attempts: int | None = None
    retry: Any = None
    machine: str | None = None

    def stored(self) -> Task:
        """Return it as upstream has it, which stores what it gets: a policy of a person's is checked, this is not."""
        return Task(self.max_attempts, self.retry, self.machine)


class Completion(msgspec.Struct, frozen=True):
    """What a worker reports: no error is success. A crash has no retry settings, and no usage."""

    error: TaskError | None = None
    retry: Settings | None = None
    usage_ms: int = 0


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run as the store has it. `snapshot` counts from 1; `attempt` is None before the first.

    `trigger` is what the caller asked for, which outranks the task's; `settings` what the first dequeue fixed, of
    which only the machine changes later. `requeues` is the queue's own counter.
    """

    status: str = PENDING
    execution: Execution = Execution.QUEUED
    snapshot: int = 1
    description: str = "Run was QUEUED"
    attempt: int | None = None
    trigger: Task = Task()
    settings: RunSettings | None = None
    retry_at_ms: float | None = None
    requeues: int = 0
    usage_ms: int = 0
    cents: float = 0.0
    error: TaskError | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen any more."""
        return self.execution is Execution.FINISHED


class Event(msgspec.Struct, frozen=True):
    """Something that the engine tells the world."""

    name: str
    attempt: int | None = None
    status: str | None = None
    machine: str | None = None
    retry_at_ms: float | None = None


class Step(NamedTuple):
    """The next state, what was emitted, and the decision where one was made."""

    state: State
    events: tuple[Event, ...] = ()
    decision: Decision | None = None


class Input(msgspec.Struct, frozen=True):
    """One thing that happens. `snapshot` is the state that the caller speaks of; `now_ms` and `random` are theirs."""

    kind: str
    snapshot: int
    task: Task = Task()
    completion: Completion = Completion()
    reason: str = ""
    now_ms: float = 0.0
    random: float | None = None


def create(trigger: Task = Task()) -> State:  # noqa: B008 -- frozen
    """A run that waits in the queue."""
    return State(trigger=trigger)


def step(state: State, given: Input, rules: Rules) -> Step:
    """Apply an input to a state.

    Raises StaleSnapshotError where it can't happen in that state; nothing has changed then.
    """
    if given.snapshot != state.snapshot:
        raise StaleSnapshotError(f"snapshot {given.snapshot} is not the latest, {state.snapshot}")
    return ACTIONS[given.kind][state.execution](state, given, rules)


def _snapshot(state: State, execution: Execution, description: str, **changes: Any) -> State:
    named = {"snapshot": state.snapshot + 1, "execution": execution, "description": description}
    return msgspec.structs.replace(state, **named, **changes)


def _refuse(state: State, given: Input, _: Rules) -> Step:
    raise StaleSnapshotError(f"{given.kind}: the run is {state.execution}")


def _dequeue(state: State, given: Input, _: Rules) -> Step:
    """Hand the run to a worker.

    The first time its settings are fixed: the trigger's, else the task's, else defaults.
    """
    settings = state.settings or RunSettings(
        given.task.max_attempts if state.trigger.max_attempts is None else state.trigger.max_attempts,
        given.task.retry if state.trigger.retry is None else state.trigger.retry,
        state.trigger.machine or given.task.machine or DEFAULT_PRESET,
    )
    return Step(_snapshot(state, Execution.PENDING_EXECUTING, "Run was dequeued for execution", settings=settings))


def _start(state: State, _: Input, rules: Rules) -> Step:
    """Begin the next attempt. An attempt beyond the cap fails the run, whatever the dialect would decide."""
    number = (state.attempt or 0) + 1
    if number > MAX_ATTEMPTS:
        return _failed(state, internal(Code.TASK_RUN_CRASHED, "Max attempts reached."), rules)
    base = rules.base_cents if number == 1 and rules.environment != "DEVELOPMENT" else 0.0
    started = _snapshot(
        state,
        Execution.EXECUTING,
        "Attempt created, starting execution",
        status=RUNNING,
        attempt=number,
        retry_at_ms=None,
        cents=state.cents + base,
    )
    return Step(started, (Event("runAttemptStarted", number),))


def _complete(state: State, given: Input, rules: Rules) -> Step:
    state = _charge(state, given.completion, rules)
    if given.completion.error is not None:
        return _fail_attempt(state, given, rules)
    ended = _snapshot(state, Execution.FINISHED, "Task completed successfully", status=SUCCEEDED)
    return Step(ended, (Event("runSucceeded", state.attempt, SUCCEEDED),))


def _charge(state: State, completion: Completion, rules: Rules) -> State:
    machine = (state.settings and state.settings.machine_preset) or DEFAULT_PRESET
    usage = min(state.usage_ms + completion.usage_ms, MOST_USAGE_MS)
    return msgspec.structs.replace(state, usage_ms=usage, cents=state.cents + rules.cents(machine, completion.usage_ms))


def _fail_attempt(state: State, given: Input, rules: Rules, *, forced: bool = False) -> Step:
    """Decide on a failed attempt, and act on it.

    A forced requeue and an OOM's retry also emit that the attempt failed.
    """
    error = given.completion.error
    if error is None:
        raise InvalidInputError("a failed attempt has an error")
    request = Request(error, state.attempt, state.settings, given.completion.retry, forced, given.now_ms, given.random)
    decision = rules.dialect.decide(request)
    told = (Event("runAttemptFailed", state.attempt),) * (forced + _is_retried_oom(decision))
    if decision.outcome is Outcome.CANCEL_RUN:
        ended = _cancelled(state, _reason(decision.reason))
    elif decision.outcome is Outcome.FAIL_RUN:
        ended = _failed(state, error, rules)
    else:
        ended = _retried(state, decision, rules, forced=forced)
    return Step(ended.state, told + ended.events, decision)


def _is_retried_oom(decision: Decision) -> bool:
    return decision.outcome is Outcome.RETRY and decision.was_oom_error is True


def _failed(state: State, error: TaskError, rules: Rules) -> Step:
    """End the run: its status follows from the raw error, which is also what is stored, cut to size."""
    status = rules.dialect.final_status(error, rules.environment)
    kept = final_cut(sanitize(error, rules.dialect.schema))
    ended = _snapshot(state, Execution.FINISHED, "Run failed", status=str(status), error=kept, retry_at_ms=None)
    return Step(ended, (Event("runFailed", state.attempt, str(status)),))


def _retried(state: State, decision: Decision, rules: Rules, *, forced: bool) -> Step:
    settings = decision.settings
    if not isinstance(settings, Settings) or state.settings is None:
        raise InvalidInputError("a retry has a time, and a run that was dequeued")
    machine = decision.machine if isinstance(decision.machine, str) else None
    if machine:
        state = msgspec.structs.replace(state, settings=msgspec.structs.replace(state.settings, machine_preset=machine))
    scheduled = Event("runRetryScheduled", (state.attempt or 0) + 1, None, machine, settings.timestamp)
    long = rules.warm_start_ms is not None and settings.delay >= rules.warm_start_ms
    if not (forced or decision.method is Method.QUEUE or long):
        text = "Attempt failed with a short delay, starting a new attempt"
        soon = {"status": _waiting(state, rules, RUNNING), "retry_at_ms": settings.timestamp}
        return Step(_snapshot(state, Execution.RETRYING_SOON, text, **soon), (scheduled,))
    queued = _requeue(state, "Requeued the run after a failure", rules, counts=forced or rules.dialect.crashes_count)
    return Step(_due(queued.state, settings.timestamp), (scheduled, *queued.events))


def _waiting(state: State, rules: Rules, status: str) -> str:
    """The first engine has a status of its own for a run that waits for another attempt (upstream §14e)."""
    return rules.dialect.waiting or status if state.attempt else status


def _due(state: State, retry_at_ms: float) -> State:
    return state if state.is_final else msgspec.structs.replace(state, retry_at_ms=retry_at_ms)


def _requeue(state: State, description: str, rules: Rules, *, counts: bool) -> Step:
    """The queue counts the returns of a run. One that does not count sets the counter back."""
    requeues = state.requeues + 1 if counts else 0
    if counts and requeues >= rules.requeue_limit:
        said = f"Returns to the queue: {requeues}, which is as many as it takes."
        return _failed(state, internal(Code.TASK_RUN_DEQUEUED_MAX_RETRIES, said), rules)
    named = {"status": _waiting(state, rules, PENDING), "requeues": requeues}
    return Step(_snapshot(state, Execution.QUEUED, description, **named))


def _stall(state: State, given: Input, rules: Rules) -> Step:
    """Take an attempt without a heartbeat for failed, and put it back into the queue; in development, end the run."""
    waiting = state.execution is Execution.EXECUTING_WITH_WAITPOINTS
    code = Code.TASK_RUN_STALLED_EXECUTING_WITH_WAITPOINTS if waiting else Code.TASK_RUN_STALLED_EXECUTING
    if rules.stall_is_oom and rules.environment != "DEVELOPMENT":
        code = Code.TASK_PROCESS_OOM_KILLED
    again = None if rules.environment == "DEVELOPMENT" else Settings(given.now_ms + STALL_DELAY_MS, STALL_DELAY_MS)
    error = internal(code, f"Nothing was heard of the attempt for {rules.heartbeat_s:g} s.")
    lost = msgspec.structs.replace(given, completion=Completion(error, again))
    return _fail_attempt(state, lost, rules, forced=True)


def _stall_pending(state: State, _: Input, rules: Rules) -> Step:
    """Put a run back into the queue whose worker took it and never began; no attempt is used."""
    return _requeue(state, "Run was PENDING_EXECUTING for too long", rules, counts=True)


def _cancel(state: State, given: Input, _: Rules) -> Step:
    """Cancel a run of which nothing executes: it is over at once."""
    return _cancelled(state, _reason(given.reason))


def _cancel_execution(state: State, given: Input, _: Rules) -> Step:
    """Cancel a run that executes: CANCELED at once, and over when its worker confirms or has no heartbeat any more."""
    named = {"status": str(Status.CANCELED), "error": _reason(given.reason), "retry_at_ms": None}
    return Step(_snapshot(state, Execution.PENDING_CANCEL, "Run was cancelled", **named))


def _cancel_again(state: State, _: Input, __: Rules) -> Step:
    """Tell the worker once more; the run stays as it is."""
    return Step(state)


def _reason(said: str | UnsetType) -> TaskError:
    """Return the error that is stored for a cancelled run, whoever cancelled it (upstream §11)."""
    return TaskError("STRING_ERROR", raw=said or "Canceled by user")


def _cancelled(state: State, error: TaskError | None) -> Step:
    """End a cancelled run. Its children and listeners hear of it now, and not when the worker was asked to stop."""
    named = {"status": str(Status.CANCELED), "error": error, "retry_at_ms": None}
    ended = _snapshot(state, Execution.FINISHED, "Run was cancelled, not finished", **named)
    return Step(ended, (Event("runCancelled", state.attempt, str(Status.CANCELED)),))


def _confirm(state: State, _: Input, __: Rules) -> Step:
    """Keep a run cancelled, whatever its worker reports, or if it reports nothing."""
    return _cancelled(state, state.error)


def _wait(state: State, _: Input, __: Rules) -> Step:
    return Step(_snapshot(state, Execution.EXECUTING_WITH_WAITPOINTS, "Run is blocked by a waitpoint"))


def _go_on(state: State, _: Input, __: Rules) -> Step:
    return Step(_snapshot(state, Execution.EXECUTING, "Run was continued"))


Action = Callable[[State, Input, Rules], Step]
_NEVER: Final[dict[Execution, Action]] = dict.fromkeys(Execution, _refuse)

ACTIONS: Final[dict[str, dict[Execution, Action]]] = {
    "dequeue": _NEVER | {Execution.QUEUED: _dequeue},
    "start": _NEVER | {Execution.PENDING_EXECUTING: _start, Execution.RETRYING_SOON: _start},
    "wait": _NEVER | {Execution.EXECUTING: _wait},
    "continue": _NEVER | {Execution.EXECUTING_WITH_WAITPOINTS: _go_on},
    "complete": _NEVER
    | {
        Execution.EXECUTING: _complete,
        Execution.EXECUTING_WITH_WAITPOINTS: _complete,  # what blocked it is cleared first
        Execution.PENDING_CANCEL: _confirm,
    },
    "stall": _NEVER
    | {
        Execution.PENDING_EXECUTING: _stall_pending,
        Execution.EXECUTING: _stall,
        Execution.EXECUTING_WITH_WAITPOINTS: _stall,
        Execution.RETRYING_SOON: _stall,
        Execution.PENDING_CANCEL: _confirm,
    },
    "cancel": _NEVER
    | {
        Execution.QUEUED: _cancel,
        Execution.PENDING_EXECUTING: _cancel_execution,
        Execution.EXECUTING: _cancel_execution,
        Execution.EXECUTING_WITH_WAITPOINTS: _cancel_execution,
        Execution.RETRYING_SOON: _cancel_execution,  # upstream's EXECUTING: its worker sleeps
        Execution.PENDING_CANCEL: _cancel_again,
    },
}
"""What each input does in each place; no cell is empty."""


def wait_ms(state: State, now_ms: float) -> float:
    """Milliseconds until the next attempt is due."""
    return 0.0 if state.retry_at_ms is None or math.isnan(state.retry_at_ms) else max(0.0, state.retry_at_ms - now_ms)
