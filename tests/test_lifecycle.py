"""A run's life, rule by rule (upstream §11, §12), with inputs instead of processes."""

from itertools import pairwise

import msgspec
import pytest

from harness.dialects import BUILT_IN, find
from harness.engine.lifecycle import (
    ACTIONS,
    MOST_USAGE_MS,
    STALL_DELAY_MS,
    Completion,
    Execution,
    Input,
    Rules,
    StaleSnapshotError,
    State,
    Step,
    Task,
    create,
    step,
    wait_ms,
)
from harness.wire.codes import Code
from harness.wire.errors import TaskError, internal
from harness.wire.request import MAX_ATTEMPTS, Settings

SEGV = internal(Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE, "Process exited with code -1 after signal SIGSEGV.")
OOM = internal(Code.TASK_PROCESS_OOM_KILLED)
THROWN = TaskError("BUILT_IN_ERROR", name="Error", message="broken", stack_trace="")
POLICY = {"maxAttempts": 300, "minTimeoutInMs": 1000, "factor": 1, "randomize": False}
MANY = Task(300, POLICY)
RULES = Rules()


def after(state: State, kind: str, rules: Rules = RULES, **members: object) -> Step:
    """Let one thing happen, spoken of the latest snapshot."""
    return step(state, Input(kind, state.snapshot, **members), rules)  # type: ignore[arg-type]


def begun(task: Task = MANY, trigger: Task = Task(), rules: Rules = RULES) -> State:  # noqa: B008 -- frozen
    """A run in its first attempt."""
    return after(after(create(trigger), "dequeue", task=task).state, "start", rules).state


def failed(state: State, error: TaskError = SEGV, rules: Rules = RULES, **completion: object) -> Step:
    """Its attempt failed."""
    return after(state, "complete", rules, completion=Completion(error, **completion), random=0.5)  # type: ignore[arg-type]


def again(state: State, rules: Rules = RULES) -> State:
    """Begin the next attempt, wherever it waits."""
    if state.execution is Execution.QUEUED:
        state = after(state, "dequeue", rules).state
    return after(state, "start", rules).state


def names(taken: Step) -> list[str]:
    """What was emitted."""
    return [event.name for event in taken.events]


def test_no_cell_of_the_table_is_empty() -> None:
    """Each input has an answer in each place, if only a refusal."""
    assert all(set(row) == set(Execution) for row in ACTIONS.values())


def test_every_step_is_a_new_snapshot() -> None:
    """Numbers go up by one, whatever happens."""
    states = [create()]
    for kind in ("dequeue", "start", "wait", "continue", "complete"):
        states.append(after(states[-1], kind, task=MANY).state)
    assert [b.snapshot - a.snapshot for a, b in pairwise(states)] == [1] * 5


LONG_WAY: list[tuple[str, dict[str, object], tuple[str, str, str]]] = [
    ("dequeue", {"task": MANY}, ("PENDING_EXECUTING", "PENDING", "Run was dequeued for execution")),
    ("stall", {}, ("QUEUED", "PENDING", "Run was PENDING_EXECUTING for too long")),
    ("dequeue", {"task": MANY}, ("PENDING_EXECUTING", "PENDING", "Run was dequeued for execution")),
    ("start", {}, ("EXECUTING", "EXECUTING", "Attempt created, starting execution")),
    ("complete", {"completion": Completion(SEGV)}, ("QUEUED", "PENDING", "Requeued the run after a failure")),
    ("dequeue", {}, ("PENDING_EXECUTING", "PENDING", "Run was dequeued for execution")),
    ("start", {}, ("EXECUTING", "EXECUTING", "Attempt created, starting execution")),
    ("wait", {}, ("EXECUTING_WITH_WAITPOINTS", "EXECUTING", "Run is blocked by a waitpoint")),
    ("continue", {}, ("EXECUTING", "EXECUTING", "Run was continued")),
    (
        "complete",
        {"completion": Completion(THROWN, Settings(5, 5))},
        ("RETRYING_SOON", "EXECUTING", "Attempt failed with a short delay, starting a new attempt"),
    ),
    ("start", {}, ("EXECUTING", "EXECUTING", "Attempt created, starting execution")),
]
ENDS: list[tuple[list[tuple[str, dict[str, object]]], tuple[str, str, str]]] = [
    ([("complete", {})], ("FINISHED", "COMPLETED_SUCCESSFULLY", "Task completed successfully")),
    ([("complete", {"completion": Completion(OOM)})], ("FINISHED", "CRASHED", "Run failed")),
    ([("cancel", {})], ("PENDING_CANCEL", "CANCELED", "Run was cancelled")),
    ([("cancel", {}), ("complete", {})], ("FINISHED", "CANCELED", "Run was cancelled, not finished")),
]


@pytest.mark.parametrize(("inputs", "expected"), ENDS)
def test_each_snapshot_says_what_happened(
    inputs: list[tuple[str, dict[str, object]]], expected: tuple[str, str, str]
) -> None:
    """Execution status, run status and description, all the long way and at each end of it."""
    state = create()
    for kind, members, seen in LONG_WAY:
        state = after(state, kind, RULES, **members).state
        assert (state.execution, state.status, state.description) == seen
    for kind, members in inputs:
        state = after(state, kind, RULES, **members).state
    assert (state.execution, state.status, state.description) == expected


def test_the_defaults_are_upstreams() -> None:
    """30 s for a warm start, 12 requeues, 250 ms after a stall, usage in 31 bits, and nothing has a price."""
    assert (RULES.warm_start_ms, RULES.requeue_limit, STALL_DELAY_MS, MOST_USAGE_MS) == (30_000, 12, 250, 2_147_483_647)
    assert (RULES.cents("large-2x", 1e9), RULES.base_cents) == (0, 0)
    assert not RULES.stall_is_oom


def test_what_is_kept_of_a_final_error_is_bounded() -> None:
    """A built-in error's name at 1,024 units and its stack at 16,384, behind the usual cuts; others by those."""
    huge = TaskError("BUILT_IN_ERROR", msgspec.UNSET, "N" * 2000, "m" * 2000, "\n".join(["x" * 1000] * 40))
    kept = failed(begun(), huge).state.error
    assert kept is not None
    assert (kept.name, kept.message) == ("N" * 1024, "m" * 1000 + "...[truncated]")
    assert kept.stack_trace == str(huge.stack_trace)[:16_384]
    text = failed(begun(), TaskError("STRING_ERROR", raw="r" * 2000)).state.error
    assert text == TaskError("STRING_ERROR", raw="r" * 1000 + "...[truncated]")


def test_a_time_to_retry_is_there_while_the_run_waits() -> None:
    """In the queue or with its worker; gone when the attempt starts, and when the run ends otherwise."""
    for waiting in (failed(begun()).state, failed(begun(), THROWN, retry=Settings(5, 5)).state):
        assert waiting.retry_at_ms
        assert again(waiting).retry_at_ms is None
        assert after(waiting, "cancel").state.retry_at_ms is None
    last = after(failed(begun(Task(9, POLICY))).state, "dequeue").state
    assert last.retry_at_ms
    assert (
        step(msgspec.structs.replace(last, attempt=250), Input("start", last.snapshot), RULES).state.retry_at_ms is None
    )


@pytest.mark.parametrize(("at", "wait"), [(None, 0), (float("nan"), 0), (900, 0), (1000, 0), (1500, 500)])
def test_the_wait_until_a_retry(at: float | None, wait: float) -> None:
    """At 1,000 ms: what is left of it, and never less than nothing."""
    assert wait_ms(State(retry_at_ms=at), 1000) == wait


def test_the_first_engine_says_that_it_waits() -> None:
    """RETRYING_AFTER_FAILURE, in the queue and with the worker; a run that has not failed is PENDING."""
    rules = Rules(find("upstream-v1"))
    near, far = (failed(begun(), THROWN, rules, retry=Settings(delay, delay)).state for delay in (5, 30_000))
    assert (near.execution, far.execution) == (Execution.RETRYING_SOON, Execution.QUEUED)
    assert near.status == far.status == "RETRYING_AFTER_FAILURE"
    assert after(after(create(), "dequeue", task=MANY).state, "stall", rules).state.status == "PENDING"


def test_a_stale_snapshot_is_refused() -> None:
    """Who speaks of an older state is told so, and nothing happens."""
    state = begun()
    with pytest.raises(StaleSnapshotError, match="not the latest"):
        step(state, Input("complete", state.snapshot - 1), RULES)


@pytest.mark.parametrize("kind", sorted(ACTIONS))
def test_nothing_happens_to_a_finished_run(kind: str) -> None:
    """Every input is refused after the end."""
    ended = after(begun(), "complete").state
    with pytest.raises(StaleSnapshotError, match="FINISHED"):
        after(ended, kind)


def test_success_is_told_once() -> None:
    """runAttemptStarted, runSucceeded; the status is upstream's word."""
    started = after(after(create(), "dequeue", task=MANY).state, "start")
    ended = after(started.state, "complete")
    assert (names(started), names(ended), ended.state.status) == (
        ["runAttemptStarted"],
        ["runSucceeded"],
        "COMPLETED_SUCCESSFULLY",
    )


def test_attempts_count_when_they_start() -> None:
    """None before the first, then 1; the retry is scheduled as attempt 2."""
    assert create().attempt is None
    assert begun().attempt == 1
    taken = failed(begun())
    assert taken.state.attempt == 1
    assert [event.attempt for event in taken.events] == [2]


def test_settings_are_fixed_at_the_first_dequeue() -> None:
    """A second dequeue with another task changes nothing; the trigger outranks the task."""
    state = begun(Task(5, POLICY, "small-2x"), trigger=Task(3))
    assert state.settings is not None
    assert (state.settings.max_attempts, state.settings.machine_preset) == (3, "small-2x")
    requeued = after(failed(state).state, "dequeue", task=Task(99, {}, "micro")).state
    assert requeued.settings == state.settings


def test_a_machine_has_a_default() -> None:
    """small-1x, where neither trigger nor task names one."""
    settings = begun(Task()).settings
    assert settings is not None
    assert settings.machine_preset == "small-1x"


def test_a_crash_goes_back_to_the_queue() -> None:
    """Look-up always takes the queue, however short the delay; nothing but the schedule is told."""
    taken = failed(begun())
    assert (taken.state.execution, taken.state.status, names(taken)) == (
        Execution.QUEUED,
        "PENDING",
        ["runRetryScheduled"],
    )
    assert taken.state.description == "Requeued the run after a failure"
    assert taken.state.retry_at_ms == 1000


@pytest.mark.parametrize(
    ("delay", "warm_start_ms", "place"),
    [
        (0, 30_000, Execution.RETRYING_SOON),
        (29_999, 30_000, Execution.RETRYING_SOON),
        (30_000, 30_000, Execution.QUEUED),
        (10**9, None, Execution.RETRYING_SOON),
    ],
)
def test_a_workers_own_retry_is_immediate_below_the_threshold(
    delay: int, warm_start_ms: int | None, place: Execution
) -> None:
    """30,000 ms, inclusive; without a threshold never through the queue."""
    rules = Rules(warm_start_ms=warm_start_ms)
    taken = failed(begun(), THROWN, rules, retry=Settings(delay, delay))
    assert taken.state.execution is place
    assert again(taken.state).attempt == 2


def test_attempt_251_is_refused() -> None:
    """It fails the run as CRASHED, "Max attempts reached.", though the code is retriable."""
    rules, state = Rules(requeue_limit=10**6), begun()
    for _ in range(MAX_ATTEMPTS - 1):
        state = again(failed(state, rules=rules).state, rules)
    assert state.attempt == MAX_ATTEMPTS
    queued = failed(state, rules=rules).state
    refused = after(after(queued, "dequeue").state, "start")
    assert (refused.state.status, refused.state.attempt, names(refused)) == ("CRASHED", MAX_ATTEMPTS, ["runFailed"])
    assert refused.state.error is not None
    assert refused.state.error.message == "Max attempts reached."


def test_the_stored_error_is_the_raw_one() -> None:
    """A crash that is never retried is stored as the exit that it was reported as, not as SIGSEGV."""
    ended = failed(begun(Task(1, POLICY))).state
    assert ended.error is not None
    assert (ended.error.code, ended.status) == (Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE, "CRASHED")


def test_an_oom_moves_once_and_stays() -> None:
    """RunAttemptFailed and runRetryScheduled with the next machine; a second OOM there is final."""
    task = Task(5, POLICY | {"outOfMemory": {"machine": "large-1x"}})
    moved = failed(begun(task), OOM)
    assert names(moved) == ["runAttemptFailed", "runRetryScheduled"]
    assert moved.events[1].machine == "large-1x"
    second = again(moved.state)
    crashed = failed(second)
    assert crashed.state.settings is not None
    assert crashed.state.settings.machine_preset == "large-1x"
    assert failed(again(crashed.state), OOM).state.status == "CRASHED"


@pytest.mark.parametrize(("crashes_count", "executions"), [(True, 12), (False, 40)])
def test_the_queues_budget(crashes_count: bool, executions: int) -> None:
    """Before upstream's fix crashes counted, and 12 executions were all; since then the reports of a worker do not."""
    dialect = msgspec.structs.replace(find("upstream-4.5"), crashes_count=crashes_count)
    rules, state, lived = Rules(dialect), begun(), 1
    while lived < 40:
        taken = failed(state, rules=rules)
        if taken.state.is_final:
            break
        state, lived = again(taken.state, rules), lived + 1
    assert lived == executions
    if crashes_count:
        assert taken.state.status == "SYSTEM_FAILURE"
        assert taken.state.error is not None
        assert taken.state.error.code == Code.TASK_RUN_DEQUEUED_MAX_RETRIES
        assert "12" in str(taken.state.error.message), "how often it came back"


def test_a_reported_failure_sets_the_budget_back() -> None:
    """Stalls count, and a crash between them begins anew."""
    state = begun()
    for _ in range(11):
        state = again(after(state, "stall", random=0.5).state)
    assert state.requeues == 11
    state = again(failed(state).state)
    assert state.requeues == 0
    assert not after(state, "stall", random=0.5).state.is_final


def test_the_twelfth_stall_is_the_last() -> None:
    """Forced requeues use up the queue's budget in both behaviours."""
    state = begun()
    for _ in range(11):
        state = again(after(state, "stall", random=0.5).state)
    last = after(state, "stall", random=0.5)
    assert (last.state.status, last.events[-1].name) == ("SYSTEM_FAILURE", "runFailed")


def test_a_stalled_attempt_is_failed_and_requeued() -> None:
    """A fixed 250 ms, through the queue; runAttemptFailed comes before the decision."""
    taken = after(begun(), "stall", now_ms=5000.0)
    assert names(taken) == ["runAttemptFailed", "runRetryScheduled"]
    assert (taken.state.retry_at_ms, taken.state.execution) == (5250, Execution.QUEUED)


def test_a_stall_in_development_is_the_end() -> None:
    """No retry there, and the status is CANCELED."""
    taken = after(begun(), "stall", Rules(environment="DEVELOPMENT"))
    assert (taken.state.status, names(taken)) == ("CANCELED", ["runAttemptFailed", "runFailed"])


@pytest.mark.parametrize("environment", ["PRODUCTION", "STAGING", "PREVIEW"])
def test_a_stall_can_stand_for_an_oom(environment: str) -> None:
    """By upstream's switch, but not in development: the OOM path decides, and the 250 ms mean nothing."""
    rules = Rules(stall_is_oom=True, environment=environment)
    moving = Task(5, POLICY | {"outOfMemory": {"machine": "large-1x"}})
    moved = after(begun(moving), "stall", rules, random=0.5).state
    assert moved.settings is not None
    assert (moved.settings.machine_preset, moved.retry_at_ms) == ("large-1x", 1000)
    told = names(after(begun(moving), "stall", rules, random=0.5))
    assert told == ["runAttemptFailed", "runAttemptFailed", "runRetryScheduled"], "once as forced, once as OOM"
    assert after(begun(), "stall", rules).state.status == "CRASHED"
    here = after(begun(moving), "stall", Rules(stall_is_oom=True, environment="DEVELOPMENT")).state
    assert (here.status, here.error and here.error.code) == ("CANCELED", Code.TASK_RUN_STALLED_EXECUTING)


def test_a_stall_while_waiting_has_a_code_of_its_own() -> None:
    """TASK_RUN_STALLED_EXECUTING_WITH_WAITPOINTS, when the attempts are used up."""
    waiting = after(begun(Task(1, POLICY)), "wait").state
    ended = after(waiting, "stall", Rules(heartbeat_s=60)).state
    said = "Nothing was heard of the attempt for 60 s."
    assert ended.error == internal(Code.TASK_RUN_STALLED_EXECUTING_WITH_WAITPOINTS, said)


def test_an_attempt_can_end_while_it_is_blocked() -> None:
    """What blocks it is cleared first, and the failure decided as any other."""
    taken = failed(after(begun(), "wait").state)
    assert (taken.state.execution, names(taken)) == (Execution.QUEUED, ["runRetryScheduled"])


def test_a_worker_can_die_in_its_sleep() -> None:
    """Between two attempts the heartbeat counts too: the attempt that failed has failed again, and is requeued."""
    asleep = failed(begun(), THROWN, retry=Settings(5, 5)).state
    taken = after(asleep, "stall", now_ms=1000.0)
    assert names(taken) == ["runAttemptFailed", "runRetryScheduled"]
    assert (taken.state.execution, taken.state.attempt, taken.state.retry_at_ms) == (Execution.QUEUED, 1, 1250)


def test_a_worker_that_never_begins_uses_no_attempt() -> None:
    """Back to the queue, and the next one starts attempt 1."""
    taken = after(create(), "dequeue", task=MANY)
    requeued = after(taken.state, "stall")
    assert (requeued.state.execution, requeued.state.attempt, requeued.state.requeues) == (Execution.QUEUED, None, 1)
    assert again(requeued.state).attempt == 1


@pytest.mark.parametrize("place", ["new", "requeued"])
def test_cancel_in_the_queue_is_final(place: str) -> None:
    """At once, with the reason."""
    state = create() if place == "new" else failed(begun()).state
    taken = after(state, "cancel", reason="enough")
    assert (taken.state.status, taken.state.is_final, names(taken)) == ("CANCELED", True, ["runCancelled"])
    assert taken.state.error == TaskError("STRING_ERROR", raw="enough")
    assert taken.state.retry_at_ms is None


def places() -> dict[str, State]:
    """Where a worker has the run."""
    return {
        "taken": after(create(), "dequeue", task=MANY).state,
        "executing": begun(),
        "blocked": after(begun(), "wait").state,
        "between two attempts": failed(begun(), THROWN, retry=Settings(5, 5)).state,
    }


@pytest.mark.parametrize("report", [Completion(), Completion(SEGV), None])
@pytest.mark.parametrize("place", places())
def test_cancel_where_a_worker_has_it_must_be_confirmed(place: str, report: Completion | None) -> None:
    """CANCELED at once, told when it is over; whatever the worker reports, or that its heartbeat ends: no retry."""
    taken = after(places()[place], "cancel")
    assert (taken.state.status, taken.state.execution, names(taken)) == ("CANCELED", Execution.PENDING_CANCEL, [])
    assert taken.state.error == TaskError("STRING_ERROR", raw="Canceled by user")
    ended = after(taken.state, "complete", completion=report) if report else after(taken.state, "stall")
    assert (ended.state.status, ended.state.is_final, names(ended)) == ("CANCELED", True, ["runCancelled"])
    assert ended.state.error == taken.state.error


def test_a_second_cancel_changes_nothing() -> None:
    """Its worker is told again; reason and snapshot are the first one's."""
    pending = after(begun(), "cancel", reason="first").state
    assert after(pending, "cancel", reason="second") == Step(pending)


@pytest.mark.parametrize("dialect", BUILT_IN)
@pytest.mark.parametrize(("said", "stored"), [("by the user", "by the user"), (None, "Canceled by user")])
def test_a_worker_that_says_cancelled_cancels(dialect: str, said: str | None, stored: str) -> None:
    """TASK_RUN_CANCELLED in a completion; what is stored is the reason alone, as for any other cancellation."""
    taken = failed(begun(), internal(Code.TASK_RUN_CANCELLED, said), Rules(find(dialect)))
    assert (taken.state.status, names(taken)) == ("CANCELED", ["runCancelled"])
    assert taken.state.error == TaskError("STRING_ERROR", raw=stored)


@pytest.mark.parametrize(
    ("code", "status", "retried"),
    [
        (Code.MAX_DURATION_EXCEEDED, "TIMED_OUT", False),
        (Code.TASK_EXECUTION_ABORTED, "SYSTEM_FAILURE", False),
        (Code.TASK_RUN_UNCAUGHT_EXCEPTION, "PENDING", True),
    ],
)
def test_ends_that_are_no_crash(code: Code, status: str, retried: bool) -> None:
    """Max duration times out; cleanup is retriable but never looked up; an uncaught exception follows the policy."""
    taken = failed(begun(), internal(code, "x"))
    assert (taken.state.status, taken.state.is_final) == (status, not retried)


def test_usage_adds_up_and_a_crash_costs_nothing() -> None:
    """Milliseconds by the machine's price, and the base once; upstream's crash reports carry no usage."""
    rules = Rules(cents_per_vcpu_second=2.0, cents_per_gigabyte_second=1.0, base_cents=0.25)
    state = begun(rules=rules)
    crashed = failed(state, rules=rules).state
    assert (crashed.usage_ms, crashed.cents) == (0, 0.25)
    thrown = failed(again(crashed, rules), THROWN, rules, retry=Settings(5, 5), usage_ms=1000).state
    assert thrown.cents == pytest.approx(0.25 + 0.5 * 2.0 + 0.5 * 1.0)
    done = after(again(thrown, rules), "complete", rules, completion=Completion(usage_ms=MOST_USAGE_MS)).state
    assert done.usage_ms == MOST_USAGE_MS


def test_development_is_free() -> None:
    """Usage is counted, and costs nothing."""
    rules = Rules(environment="DEVELOPMENT", cents_per_vcpu_second=2.0, base_cents=1.0)
    ended = after(begun(rules=rules), "complete", rules, completion=Completion(usage_ms=500)).state
    assert (ended.usage_ms, ended.cents) == (500, 0.0)


def test_an_oom_ignores_the_runs_max_attempts() -> None:
    """A run with one attempt and a policy of three does get its retry on the larger machine."""
    moving = Task(1, {"maxAttempts": 3, "outOfMemory": {"machine": "large-1x"}})
    assert failed(begun(moving), OOM).state.execution is Execution.QUEUED
    once = Task(1, {"maxAttempts": 1, "outOfMemory": {"machine": "large-1x"}})
    assert failed(begun(once), OOM).state.is_final


def test_an_attempt_that_failed_is_told_of_only_where_upstream_does() -> None:
    """Not for a plain retry, not where the run fails; yes for an OOM that is retried, in place or elsewhere."""
    near = internal(Code.TASK_PROCESS_MAYBE_OOM_KILLED)
    assert names(failed(begun())) == ["runRetryScheduled"]
    assert names(failed(begun(), OOM)) == ["runFailed"]
    in_place = failed(begun(), near, Rules(find("strict")))
    assert (in_place.state.execution, in_place.events[1].machine) == (Execution.QUEUED, None)
    assert names(in_place) == ["runAttemptFailed", "runRetryScheduled"]


def test_before_the_fix_a_segfault_was_final() -> None:
    """4.4 against 4.5, in the machine."""
    rules = Rules(find("upstream-4.4"))
    assert failed(begun(), rules=rules).state.is_final
    assert not failed(begun()).state.is_final


def test_a_state_survives_json() -> None:
    """What is saved is what is read."""
    moved = failed(begun(Task(5, POLICY | {"outOfMemory": {"machine": "large-1x"}})), OOM).state
    assert msgspec.json.decode(msgspec.json.encode(moved), type=State) == moved
