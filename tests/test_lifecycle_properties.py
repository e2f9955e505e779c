"""The engine under random lives, as a state machine; and each property shown to bite, on a mutant of the engine.

    LIFECYCLE_EXAMPLES=10000 python -m pytest tests/test_lifecycle_properties.py

A scripted worker stands for the victims. The properties are checked after every step; tests/engine_mutants.py has
engines that break each of them, and the search finds them.
"""

import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from engine_mutants import FINAL_EVENTS, LIVED, SEEDED, TABLED, applied
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from harness.dialects import BUILT_IN, find
from harness.dialects.builtin import BuiltIn
from harness.engine import lifecycle
from harness.engine.lifecycle import (
    ACTIONS,
    Completion,
    Event,
    Execution,
    Input,
    Rules,
    StaleSnapshotError,
    Task,
    create,
)
from harness.engine.loop import Engine, Life, Run
from harness.evidence import Evidence, Exited, Memory, Signaled
from harness.wire.codes import Code
from harness.wire.errors import TaskError, internal
from harness.wire.policy import PRESETS, parse_policy
from harness.wire.request import Outcome, Request, RunSettings, Settings
from harness.wire.schema import Schema

EXAMPLES = int(os.environ.get("LIFECYCLE_EXAMPLES", "100"))
NON_ZERO = Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE
CRASH = internal(NON_ZERO, "Process exited with code -1 after signal SIGSEGV.")
THROWN = TaskError("BUILT_IN_ERROR", name="Error", message="broken", stack_trace="")
OVER = {Execution.PENDING_CANCEL, Execution.FINISHED}
MOST = 7  # one attempt more than any run or policy below allows

crashes = st.sampled_from(["SIGSEGV", "SIGBUS", "SIGKILL", "SIGABRT", "SIGTERM"]).map(
    lambda name: internal(NON_ZERO, f"Process exited with code -1 after signal {name}.")
)
coded = st.sampled_from(list(Code)).map(lambda code: internal(code, "text"))
errors = crashes | coded | st.just(THROWN)
stored = st.fixed_dictionaries(
    {"maxAttempts": st.integers(1, MOST - 1), "factor": st.sampled_from([1, 2, 3]), "randomize": st.booleans()},
    optional={
        "minTimeoutInMs": st.integers(1, 5000),
        "maxTimeoutInMs": st.integers(5000, 60_000),
        "outOfMemory": st.fixed_dictionaries({"machine": st.sampled_from(list(PRESETS))}),
    },
)
usual = st.builds(Task, st.integers(2, MOST - 1), stored, st.sampled_from(list(PRESETS)))
odd = st.builds(Task, st.none() | st.integers(0, MOST - 1), st.none() | stored, st.none())
tasks = usual | usual | odd
setups = st.builds(
    Rules,
    st.sampled_from(
        [msgspec.structs.replace(one, crashes_count=count) for one in BUILT_IN.values() for count in (False, True)]
    ),
    environment=st.sampled_from(["PRODUCTION", "PRODUCTION", "DEVELOPMENT"]),
    warm_start_ms=st.sampled_from([30_000, 30_000, 0, None]),
    stall_is_oom=st.booleans(),
)
draws = st.floats(0, 1, exclude_max=True)


class Lives(RuleBasedStateMachine):
    """One run; everything that can happen to it, in any order."""

    @initialize(task=tasks, setup=setups, random=draws, times=st.integers(0, MOST))
    def begin(self, task: Task, setup: Rules, random: float, times: int) -> None:
        """Put it into the queue; some crash at once, again and again."""
        self.task, self.setup, self.state = task, setup, create()
        self.events: list[Event] = []
        self.machines: list[str] = []
        self.cancelled, self.only_crashed = False, True
        self.crash(random, times)

    def take(self, kind: str, **members: Any) -> None:
        """Let it happen, and check what must hold of a step."""
        before = self.state
        given = Input(kind, before.snapshot, **members)
        taken = lifecycle.step(before, given, self.setup)
        assert taken == lifecycle.step(before, given, self.setup), "the same seed gives the same step"
        told_again = kind == "cancel" and before.execution is Execution.PENDING_CANCEL
        assert taken.state.snapshot == before.snapshot + (not told_again), "each step is a new snapshot"
        self.cancelled = self.cancelled or kind == "cancel"
        assert not self.cancelled or taken.state.execution in OVER, "cancelled never retries"
        if taken.decision and taken.decision.outcome is Outcome.RETRY:
            self.check_retry(given, taken.decision.settings)
        self.state = taken.state
        self.events += taken.events
        if taken.state.settings and taken.state.settings.machine_preset:
            self.machines.append(taken.state.settings.machine_preset)

    def check_retry(self, given: Input, found: object) -> None:
        """A looked-up delay is within the policy's bounds."""
        if given.completion.retry is not None or given.kind != "complete":
            return
        assert parse_policy(self.task.retry, Schema()) is not None, "without a policy there is one attempt"
        assert isinstance(found, Settings)
        least, most = self.task.retry.get("minTimeoutInMs", 1000), self.task.retry.get("maxTimeoutInMs", 60_000)
        assert min(least, most) <= found.delay <= most, "delays are within [min, max]"

    @precondition(lambda self: self.state.execution is Execution.QUEUED)
    @rule(other=tasks)
    def dequeue(self, other: Task) -> None:
        """A worker takes it; by the second time, its task has been deployed anew."""
        again = self.state.settings is not None
        self.take("dequeue", task=other if again else self.task)
        fixed = self.state.settings or RunSettings()
        wanted = (self.task.max_attempts, self.task.retry)
        assert (fixed.max_attempts, fixed.locked_retry_config) == wanted, "the policy is fixed at the first dequeue"

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
            self.dequeue(Task(9, {"maxAttempts": 9}, "micro"))
        if self.state.execution in {Execution.PENDING_EXECUTING, Execution.RETRYING_SOON}:
            self.start()
        return self.state.execution in {Execution.EXECUTING, Execution.EXECUTING_WITH_WAITPOINTS}

    @rule(error=errors, random=draws, now=st.integers(0, 10**6))
    def fail(self, error: TaskError, random: float, now: int) -> None:
        """The attempt dies."""
        if self.reach_an_attempt():
            self.take("complete", completion=Completion(error), random=random, now_ms=float(now))

    def crash(self, random: float, times: int) -> None:
        """One attempt after the other dies of what is retried."""
        for _ in range(times):
            self.fail(CRASH, random, 0)
            self.bounded_attempts()

    @rule(random=draws)
    def crash_once(self, random: float) -> None:
        """The attempt dies of what is retried."""
        self.crash(random, 1)

    @rule(random=draws)
    def run_out_of_memory(self, random: float) -> None:
        """The attempt dies of what moves it."""
        self.fail(internal(Code.TASK_PROCESS_OOM_KILLED), random, 0)

    @rule(delay=st.integers(0, 60_000))
    def throw(self, delay: int) -> None:
        """The attempt throws, and its worker says when to try again."""
        if self.reach_an_attempt():
            self.only_crashed = False
            self.take("complete", completion=Completion(THROWN, Settings(delay, delay)))

    @precondition(lambda self: ACTIONS["complete"][self.state.execution] is not lifecycle._refuse)
    @rule()
    def succeed(self) -> None:
        """The attempt comes home."""
        self.take("complete")

    @precondition(lambda self: ACTIONS["stall"][self.state.execution] is not lifecycle._refuse)
    @rule(random=draws)
    def stall(self, random: float) -> None:
        """No heartbeat; of a worker that never began, none is needed."""
        self.only_crashed = self.only_crashed and self.state.execution is Execution.PENDING_EXECUTING
        self.take("stall", random=random)

    @precondition(lambda self: self.state.execution is Execution.EXECUTING)
    @rule()
    def wait(self) -> None:
        """A waitpoint blocks it."""
        self.take("wait")

    @precondition(lambda self: self.state.execution is Execution.EXECUTING_WITH_WAITPOINTS)
    @rule()
    def go_on(self) -> None:
        """The waitpoint is done."""
        self.take("continue")

    @precondition(lambda self: ACTIONS["cancel"][self.state.execution] is not lifecycle._refuse)
    @rule()
    def cancel(self) -> None:
        """Somebody has had enough, perhaps for the second time."""
        self.take("cancel")

    def must_refuse(self, given: Input, claim: str) -> None:
        """Let it not happen."""
        try:
            lifecycle.step(self.state, given, self.setup)
        except StaleSnapshotError:
            return
        raise AssertionError(claim)

    @invariant()
    def nothing_of_the_past(self) -> None:
        """Whoever speaks of an older snapshot."""
        for kind in ACTIONS:
            self.must_refuse(Input(kind, self.state.snapshot - 1), "a stale snapshot is refused")

    @invariant()
    def nothing_after_the_end(self) -> None:
        """Whatever is tried with a finished run."""
        if self.state.is_final:
            for kind in ACTIONS:
                self.must_refuse(Input(kind, self.state.snapshot), "nothing happens after the end")

    @invariant()
    def one_final_status(self) -> None:
        """Exactly one final event, when there is an end; none before."""
        finals = [event for event in self.events if event.name in FINAL_EVENTS]
        assert len(finals) == self.state.is_final, "exactly one final status"
        assert all(event.status == self.state.status for event in finals), "exactly one final status"

    @invariant()
    def bounded_attempts(self) -> None:
        """A run that only crashed has had no more attempts than run and policy allow."""
        policy = parse_policy(self.task.retry, Schema())
        configured = self.task.retry.get("maxAttempts", 3) if policy else 1
        moved = len(set(self.machines)) > 1  # an OOM retry does not ask the run's own bound
        if self.only_crashed and self.state.attempt and not moved:
            most = max(1, min(self.task.max_attempts or 1, configured))
            assert self.state.attempt <= most, "crash attempts <= min(run, config)"

    @invariant()
    def one_move(self) -> None:
        """The machine changes once at most, and not back."""
        changes = [b for a, b in zip(self.machines, self.machines[1:], strict=False) if a != b]
        assert len(changes) <= 1, "at most one machine change"


def chosen(examples: int, *phases: Phase) -> settings:
    """As many lives, the same ones each time."""
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=phases or tuple(Phase),
    )


def live(examples: int, *phases: Phase) -> None:
    """Run the machine."""
    run_state_machine_as_test(Lives, settings=chosen(examples, *phases))


# --- whole runs, twice each ---

ENDS = [
    Evidence(Exited(0)),
    Evidence(Exited(1)),
    Evidence(Signaled("SIGSEGV")),
    Evidence(Signaled("SIGKILL"), memory=Memory(oom_kills=1)),
]


def lived(ends: list[Evidence], task: Task, dialect: BuiltIn, seed: int) -> Run:
    """A run of scripted victims, its jitter from a seed."""
    source = random.Random(seed)
    return Engine(task, dialect, source.random).run(lambda number, _: Life(ends[(number - 1) % len(ends)]))


def repeat(examples: int, *phases: Phase) -> None:
    """Live runs twice, and look whether they are the same, delays and events and all."""

    @chosen(examples, *phases)
    @given(
        st.lists(st.sampled_from(ENDS), min_size=1, max_size=4),
        tasks,
        st.sampled_from(list(BUILT_IN.values())),
        st.integers(0, 99),
    )
    def check(ends: list[Evidence], task: Task, dialect: BuiltIn, seed: int) -> None:
        assert lived(ends, task, dialect, seed) == lived(ends, task, dialect, seed), "the same seed, the same run"

    check()


# --- every code ---

FIXED = ("upstream-4.5", "strict")
THREE = RunSettings(3, {"maxAttempts": 3}, "small-1x")


def look_up_implies_retriable() -> None:
    """From 4.5 on there is no code whose policy is looked up in vain."""
    for dialect in map(find, FIXED):
        looked_up = [code for code in Code if dialect.is_looked_up(internal(code))]
        assert all(dialect.is_retriable(internal(code)) for code in looked_up), "a code that is looked up is retriable"


def outcomes(text: str, dialect: BuiltIn) -> list[Outcome]:
    """What becomes of the first, second and third attempt that reports such an exit."""
    asked = [Request(internal(NON_ZERO, text), attempt, THREE, random=0.5) for attempt in (1, 2, 3)]
    return [dialect.decide(request).outcome for request in asked]


SEGV, SHELL = "Process exited with code -1 after signal SIGSEGV.", "Process exited with code 139 after signal null."


def one_decision_for_one_defect() -> None:
    """From 4.5 on the same defect has the same fate, whoever reports it."""
    for dialect in map(find, FIXED):
        assert outcomes(SEGV, dialect) == outcomes(SHELL, dialect), "a segfault and 139 get one decision"


def every_code_is_decided() -> None:
    """In every dialect, with a policy and without, and the error can be shown."""
    for dialect in BUILT_IN.values():
        for code in Code:
            for run in (THREE, RunSettings()):
                made = dialect.decide(Request(internal(code, "text"), 1, run, random=0.5))
                assert made is not None, "every code has a decision"
                assert made.outcome in Outcome, "every code has a decision"
            assert dialect.enhance(internal(code, "text")).type, "every code has a decision"


CODES = [look_up_implies_retriable, one_decision_for_one_defect, every_code_is_decided]


def ask_all_codes() -> None:
    """Check what can be checked code by code."""
    for check in CODES:
        check()


# --- the properties hold, and each of them bites ---


@pytest.mark.long
@pytest.mark.slow
def test_the_engine_under_random_lives() -> None:
    """All properties hold in every state that a random life reaches."""
    live(EXAMPLES)


@pytest.mark.slow
def test_a_seed_replays_a_run() -> None:
    """Attempts, delays, events and status."""
    repeat(EXAMPLES)


@pytest.mark.parametrize("check", CODES, ids=lambda check: str(check.__name__))
def test_every_code(check: Callable[[], None]) -> None:
    """No code is an exception."""
    check()


def test_before_the_fix_there_were_two_exceptions() -> None:
    """4.4 looks SIGSEGV up in vain, and has another decision for 139: the properties are those of the fix."""
    wrong = [
        code
        for code in Code
        if find("upstream-4.4").is_looked_up(internal(code)) and not find("upstream-4.4").is_retriable(internal(code))
    ]
    assert wrong == [Code.TASK_PROCESS_SIGSEGV]
    assert outcomes(SEGV, find("upstream-4.4")) != outcomes(SHELL, find("upstream-4.4"))


SEARCHES: list[tuple[str, Callable[[], None]]] = [
    *((name, lambda: live(2000, Phase.generate)) for name in LIVED),
    *((name, lambda: repeat(200, Phase.generate)) for name in SEEDED),
    *((name, ask_all_codes) for name in TABLED),
]
MUTANTS = [*LIVED.values(), *SEEDED.values(), *TABLED.values()]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutant", "search"),
    [(mutant, search) for mutant, (_, search) in zip(MUTANTS, SEARCHES, strict=True)],
    ids=[name for name, _ in SEARCHES],
)
def test_each_property_kills_its_mutants(mutant: Any, search: Callable[[], None]) -> None:
    """The broken engine is found, and what it breaks is named."""
    with applied(mutant), pytest.raises(AssertionError) as found:
        search()
    assert mutant.property in str(found.value)


def test_no_property_is_without_a_mutant() -> None:
    """Each claim that an assertion above makes is one that a mutant breaks, and the other way round."""
    found = re.findall(r'^ +(?:assert |self\.must_refuse\().*, "([^"]+)"', Path(__file__).read_text(), re.MULTILINE)
    assert set(found) == {mutant.property for mutant in MUTANTS}
