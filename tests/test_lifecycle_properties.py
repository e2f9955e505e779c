"""The engine under random lives, as a state machine; and each property shown to bite, on a mutant of the engine.

    LIFECYCLE_EXAMPLES=10000 python -m pytest tests/test_lifecycle_properties.py

A scripted worker stands for the victims. The properties are checked after every step; MUTANTS has an engine that breaks
each of them, and the machine finds it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from harness import lifecycle, retry
from harness.codes import Code, Dialect
from harness.errors import TaskError, enhance, internal, is_looked_up, is_retriable
from harness.lifecycle import (
    ACTIONS,
    Completion,
    Event,
    Execution,
    Input,
    Rules,
    StaleSnapshotError,
    Task,
    create,
    step,
)
from harness.policy import PRESETS, parse_policy
from harness.retry import Outcome, Request, RunSettings, Settings, decide

EXAMPLES = int(os.environ.get("LIFECYCLE_EXAMPLES", "100"))
FINAL_EVENTS = {"runSucceeded", "runFailed", "runCancelled"}
NON_ZERO = Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE

crashes = st.sampled_from(["SIGSEGV", "SIGBUS", "SIGKILL", "SIGABRT", "SIGTERM"]).map(
    lambda name: internal(NON_ZERO, f"Process exited with code -1 after signal {name}.")
)
coded = st.sampled_from(list(Code)).map(lambda code: internal(code, "text"))
thrown = st.just(TaskError("BUILT_IN_ERROR", name="Error", message="broken", stack_trace=""))
errors = crashes | coded | thrown
stored = st.fixed_dictionaries(
    {"maxAttempts": st.integers(1, 6), "factor": st.sampled_from([1, 2, 3]), "randomize": st.booleans()},
    optional={
        "minTimeoutInMs": st.integers(1, 5000),
        "maxTimeoutInMs": st.integers(5000, 60_000),
        "outOfMemory": st.fixed_dictionaries({"machine": st.sampled_from(list(PRESETS))}),
    },
)
usual = st.builds(Task, st.integers(2, 6), stored, st.sampled_from(list(PRESETS)))
odd = st.builds(Task, st.none() | st.integers(0, 6), st.none() | stored, st.none())
tasks = usual | usual | odd
draws = st.floats(0, 1, exclude_max=True)


class Life(RuleBasedStateMachine):
    """One run; everything that can happen to it, in any order."""

    @initialize(task=tasks, dialect=st.sampled_from(list(Dialect)), crashes_count=st.booleans())
    def begin(self, task: Task, dialect: Dialect, crashes_count: bool) -> None:
        """Put it into the queue."""
        self.task, self.setup = task, Rules(dialect, crashes_count=crashes_count)
        self.state = create()
        self.events: list[Event] = []
        self.started = self.ended = self.cancelled = False
        self.machines: list[str] = []
        self.reported_only_crashes = True

    def take(self, kind: str, **members: Any) -> None:
        """Let it happen, and check what must hold of a step."""
        before = self.state
        given = Input(kind, before.snapshot, **members)
        taken = lifecycle.step(before, given, self.setup)
        assert taken == lifecycle.step(before, given, self.setup), "the same seed gives the same step"
        assert not self.ended, "nothing happens after the end"
        if taken.decision and taken.decision.outcome is Outcome.RETRY:
            self.check_retry(given, taken)
        self.state, self.ended = taken.state, taken.state.is_final
        self.events += taken.events
        if taken.state.settings and taken.state.settings.machine_preset:
            self.machines.append(taken.state.settings.machine_preset)

    def check_retry(self, given: Input, taken: lifecycle.Step) -> None:
        """A looked-up delay is within the policy's bounds; a cancelled run has none."""
        assert not self.cancelled, "cancelled never retries"
        policy = parse_policy(self.task.retry)
        if given.completion.retry is None and given.kind == "complete":
            assert policy is not None, "without a policy there is one attempt"
            settings_ = taken.decision.settings if taken.decision else None
            assert isinstance(settings_, Settings)
            least = self.task.retry.get("minTimeoutInMs", 1000)
            most = self.task.retry.get("maxTimeoutInMs", 60_000)
            assert min(least, most) <= settings_.delay <= most, "delays are within [min, max]"

    @precondition(lambda self: self.state.execution is Execution.QUEUED)
    @rule()
    def dequeue(self) -> None:
        """A worker takes it."""
        self.take("dequeue", task=self.task)

    @precondition(lambda self: self.state.execution in {Execution.PENDING_EXECUTING, Execution.RETRYING_SOON})
    @rule()
    def start(self) -> None:
        """An attempt begins."""
        number = self.state.attempt or 0
        self.take("start")
        assert self.state.is_final or self.state.attempt == number + 1, "attempts count one by one"

    def reach_an_attempt(self) -> bool:
        """Go on to where something can fail, if the run is not over."""
        if self.state.execution is Execution.QUEUED:
            self.dequeue()
        if self.state.execution in {Execution.PENDING_EXECUTING, Execution.RETRYING_SOON}:
            self.start()
        return self.state.execution is Execution.EXECUTING

    @rule(error=errors, random=draws, now=st.integers(0, 10**6))
    def fail(self, error: TaskError, random: float, now: int) -> None:
        """The attempt dies."""
        if self.reach_an_attempt():
            self.take("complete", completion=Completion(error), random=random, now_ms=float(now))

    @rule(random=draws)
    def crash(self, random: float) -> None:
        """The attempt dies of what is retried."""
        self.fail(internal(NON_ZERO, "Process exited with code -1 after signal SIGSEGV."), random, 0)

    @rule(random=draws)
    def run_out_of_memory(self, random: float) -> None:
        """The attempt dies of what moves it."""
        self.fail(internal(Code.TASK_PROCESS_OOM_KILLED), random, 0)

    @precondition(lambda self: self.state.execution is Execution.EXECUTING)
    @rule(delay=st.integers(0, 60_000))
    def throw(self, delay: int) -> None:
        """The attempt throws, and its worker says when to try again."""
        self.reported_only_crashes = False
        error = TaskError("BUILT_IN_ERROR", name="Error", message="broken", stack_trace="")
        self.take("complete", completion=Completion(error, Settings(delay, delay)))

    @precondition(lambda self: self.state.execution in {Execution.EXECUTING, Execution.PENDING_CANCEL})
    @rule()
    def succeed(self) -> None:
        """The attempt comes home."""
        self.take("complete")

    @precondition(lambda self: ACTIONS["stall"][self.state.execution] is not lifecycle._refuse)
    @rule(random=draws)
    def stall(self, random: float) -> None:
        """No heartbeat."""
        self.reported_only_crashes = False
        self.take("stall", random=random)

    @precondition(lambda self: ACTIONS["cancel"][self.state.execution] is not lifecycle._refuse)
    @rule()
    def cancel(self) -> None:
        """Somebody has had enough."""
        self.take("cancel")
        self.cancelled = True

    @rule(kind=st.sampled_from(sorted(ACTIONS)))
    def speak_of_the_past(self, kind: str) -> None:
        """A stale snapshot is refused."""
        with pytest.raises(StaleSnapshotError):
            lifecycle.step(self.state, Input(kind, self.state.snapshot - 1), self.setup)

    @invariant()
    def one_final_status(self) -> None:
        """Exactly one final event, when there is an end; none before."""
        finals = [event for event in self.events if event.name in FINAL_EVENTS]
        assert len(finals) == (1 if self.ended or self.cancelled else 0), "exactly one final status"

    @invariant()
    def bounded_attempts(self) -> None:
        """A run that only crashed has had no more attempts than run and policy allow."""
        policy = parse_policy(self.task.retry)
        configured = self.task.retry.get("maxAttempts", 3) if policy else 1
        moved = len(set(self.machines)) > 1  # an OOM retry does not ask the run's own bound
        if self.reported_only_crashes and self.state.attempt and not moved:
            most = max(1, min(self.task.max_attempts or 1, configured))
            assert self.state.attempt <= most, "crash attempts <= min(run, config)"

    @invariant()
    def one_move(self) -> None:
        """The machine changes once at most, and not back."""
        changes = [b for a, b in zip(self.machines, self.machines[1:], strict=False) if a != b]
        assert len(changes) <= 1, "at most one machine change"


def play(examples: int, *phases: Phase) -> None:
    """Run the machine."""
    chosen = settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        database=None,
        derandomize=True,
        phases=phases or tuple(Phase),
    )
    run_state_machine_as_test(Life, settings=chosen)


@pytest.mark.slow
def test_the_engine_under_random_lives() -> None:
    """All properties hold in every state that a random life reaches."""
    play(EXAMPLES)


@pytest.mark.parametrize("dialect", [Dialect.UPSTREAM_4_5, Dialect.STRICT])
def test_look_up_implies_retriable(dialect: Dialect) -> None:
    """From 4.5 on there is no code whose policy is looked up in vain."""
    wrong = [
        code for code in Code if is_looked_up(internal(code), dialect) and not is_retriable(internal(code), dialect)
    ]
    assert wrong == []


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_a_segfault_and_139_get_one_decision(attempt: int) -> None:
    """From 4.5 on the same defect has the same fate, whoever reports it; before, it had not."""

    def outcome(text: str, dialect: Dialect) -> Outcome:
        run = RunSettings(3, {"maxAttempts": 3}, "small-1x")
        return decide(Request(internal(NON_ZERO, text), attempt, run, random=0.5), dialect).outcome

    segv, shell = "Process exited with code -1 after signal SIGSEGV.", "Process exited with code 139 after signal null."
    for dialect in (Dialect.UPSTREAM_4_5, Dialect.STRICT):
        assert outcome(segv, dialect) == outcome(shell, dialect)
    if attempt < 3:
        assert outcome(segv, Dialect.UPSTREAM_4_4) != outcome(shell, Dialect.UPSTREAM_4_4)


@pytest.mark.parametrize("dialect", Dialect)
def test_every_code_has_a_decision(dialect: Dialect) -> None:
    """And an error that can be shown."""
    run = RunSettings(3, {"maxAttempts": 3}, "small-1x")
    for code in Code:
        error = internal(code, "text")
        assert decide(Request(error, 1, run, random=0.5), dialect).outcome in Outcome
        assert enhance(error, dialect).type


# --- mutants: an engine that breaks each property ---


def _deciding(change: Callable[[Request], Request]) -> Callable[[Request, Dialect], Any]:
    return lambda request, dialect: decide(change(request), dialect)


def _policy(request: Request) -> Request:
    run = request.run or RunSettings()
    return msgspec.structs.replace(request, run=msgspec.structs.replace(run, locked_retry_config={"maxAttempts": 9}))


def _more(request: Request) -> Request:
    run = request.run or RunSettings()
    more = None if run.max_attempts is None else run.max_attempts + 1
    return msgspec.structs.replace(request, run=msgspec.structs.replace(run, max_attempts=more))


def _stretched(request: Request, dialect: Dialect) -> Any:
    made = decide(request, dialect)
    if made.outcome is not Outcome.RETRY or not isinstance(made.settings, Settings):
        return made
    longer = Settings(made.settings.timestamp, made.settings.delay + 60_000)
    return msgspec.structs.replace(made, settings=longer)


def _other_machine(request: Request, dialect: Dialect) -> Any:
    made = decide(request, dialect)
    names = list(PRESETS)
    here = request.run.machine_preset if request.run else None
    if made.outcome is not Outcome.RETRY or here is None:
        return made
    return msgspec.structs.replace(made, machine=names[(names.index(here) + 1) % len(names)])


_coin = iter(range(10**9))


def _moody(state: Any, given: Input, rules: Rules) -> Any:
    taken = step(state, given, rules)
    return taken._replace(events=taken.events * (1 + next(_coin) % 2)) if taken.decision else taken


def _twice(state: Any, given: Input, rules: Rules) -> Any:
    taken = step(state, given, rules)
    return taken._replace(events=taken.events + tuple(e for e in taken.events if e.name in FINAL_EVENTS))


def _undead(state: Any, given: Input, rules: Rules) -> Any:
    taken = step(state, given, rules)
    if given.kind == "complete" and state.execution is Execution.PENDING_CANCEL:
        return taken._replace(state=msgspec.structs.replace(taken.state, execution=Execution.QUEUED))
    return taken


def _skipping(state: Any, given: Input, rules: Rules) -> Any:
    taken = step(state, given, rules)
    if given.kind == "start" and taken.state.attempt == 2:
        return taken._replace(state=msgspec.structs.replace(taken.state, attempt=3))
    return taken


def _deaf(state: Any, given: Input, rules: Rules) -> Any:
    return step(state, msgspec.structs.replace(given, snapshot=state.snapshot), rules)


def _forgets_the_end(state: Any, given: Input, rules: Rules) -> Any:
    taken = step(state, given, rules)
    return taken._replace(events=tuple(e for e in taken.events if e.name != "runFailed"))


MUTANTS: dict[str, tuple[str, Any, str]] = {
    "retries without a policy": (
        "decide",
        _deciding(_policy),
        "without a policy there is one attempt|crash attempts <= min",
    ),
    "one attempt more than the run allows": ("decide", _deciding(_more), "crash attempts <= min(run, config)"),
    "a delay beyond the policy's": ("decide", _stretched, "delays are within [min, max]"),
    "a new machine at each retry": ("decide", _other_machine, "at most one machine change"),
    "events that differ from time to time": ("step", _moody, "the same seed gives the same step"),
    "an end that is told twice": ("step", _twice, "exactly one final status"),
    "an end that is not told": ("step", _forgets_the_end, "exactly one final status"),
    "a cancelled run that goes on": ("step", _undead, "exactly one final status|cancelled never retries"),
    "an attempt that is skipped": ("step", _skipping, "attempts count one by one"),
    "a stale snapshot that is obeyed": ("step", _deaf, "DID NOT RAISE"),
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """Put a mutant in the engine's place."""
    where, mutant, _ = MUTANTS[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifecycle, where, mutant)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_each_property_kills_its_mutant(name: str) -> None:
    """The machine finds the broken engine, and names the property that it breaks."""
    with mutated(name), pytest.raises((AssertionError, StaleSnapshotError, pytest.fail.Exception)) as found:
        play(1000, Phase.generate)
    words = [word in f"{found.value}{getattr(found.value, '__notes__', '')}" for word in MUTANTS[name][2].split("|")]
    assert any(words), found.value


def test_a_decision_that_is_not_retriable_is_never_looked_up() -> None:
    """The mutant of the table: 4.4 itself breaks "look-up implies retriable", at SIGSEGV and there only."""
    wrong = [
        code
        for code in Code
        if is_looked_up(internal(code), Dialect.UPSTREAM_4_4) and not is_retriable(internal(code), Dialect.UPSTREAM_4_4)
    ]
    assert wrong == [Code.TASK_PROCESS_SIGSEGV]
    assert retry.MAX_ATTEMPTS == 250
