"""The attempt loop: runs a task until the dialect says stop. Processes, clock and random are handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence  # noqa: TC003 -- msgspec reads the annotations of Engine
from typing import Final, Protocol

import msgspec

from harness.dialects.protocol import Classification, Dialect
from harness.dialects.retry import worker_settings
from harness.engine.lifecycle import (
    PENDING,
    SUCCEEDED,
    Completion,
    Event,
    Execution,
    Input,
    Rules,
    State,
    Task,
    create,
    step,
    wait_ms,
)
from harness.engine.policy import Policy
from harness.evidence import Evidence  # noqa: TC001 -- msgspec reads the annotations of records
from harness.exceptions import InvalidInputError
from harness.wire.errors import Kind, TaskError, admitted, title_of
from harness.wire.policy import DEFAULT_PRESET
from harness.wire.request import Decision, Request, RunSettings

DID_NOT_FIRE: Final = "DID_NOT_FIRE"
MISTAKE: Final = "mistake"
THROWN: Final = "thrown"


class Life(msgspec.Struct, frozen=True):
    """What an executor answers: the evidence, the host it ran on and what was injected ("forced", "safe", "wild").

    `value` is what a function of the user's returned, any JSON; `thrown` the error that it raised instead; `mistake`
    says what the caller did wrong, which no further attempt can mend.
    """

    evidence: Evidence
    host: str | None = None
    injected: str | None = None
    value: object = None
    thrown: TaskError | None = None
    mistake: str | None = None


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One process life, and everything that was made of it.

    `number` counts from 1, `machine` is a preset's name. `evidence` holds the facts: how the process ended, by whom,
    its fault, memory and output. `error` is what the classifier calls that (None for success), `rule` the row that
    said so and `cause` its reason in a word; `enhanced` is the error that the decision looked at. `decision` says what
    followed: retry, fail or cancel, by which branch and after which delay. `host` and `injected` are a scenario's,
    `value` what a function returned.

        for attempt in run.attempts:
            print(attempt.number, attempt.evidence.termination, attempt.cause, attempt.delay_ms)
    """

    number: int
    machine: str
    evidence: Evidence
    error: TaskError | None
    rule: str
    cause: str
    enhanced: TaskError | None = None
    decision: Decision | None = None
    host: str | None = None
    injected: str | None = None
    value: object = None

    def __str__(self) -> str:
        """How it ended, what it was called, and what followed."""
        seen = f"attempt {self.number} on {self.machine}: {self.evidence}"
        if self.error is None or self.decision is None:
            return seen
        error = self.enhanced or self.error
        then = f"{self.decision.outcome} ({self.decision.branch})"
        wait = f" in {self.delay_ms:g} ms" if self.delay_ms is not None else ""
        return f"{seen}; {self.cause}; {title_of(error)}; {then}{wait}"

    @property
    def delay_ms(self) -> float | None:
        """Milliseconds until the next attempt; None when there is none."""
        settings = self.decision.settings if self.decision else None
        return settings.delay if settings else None


class Run(msgspec.Struct, frozen=True):
    """All attempts of one job, with its final status: what harness.run returns.

    `status` is upstream's word: COMPLETED_SUCCESSFULLY, COMPLETED_WITH_ERRORS, CRASHED, SYSTEM_FAILURE, TIMED_OUT or
    CANCELED; or DID_NOT_FIRE, for a fault of ours that proved nothing. `attempts` are in order, `events` what the
    engine told the world. `error` is what the engine stores of a run that failed or was cancelled: the last attempt's,
    unless the engine itself gave the run up. As text a run is the decision trail, a line an attempt, and the status.

        run = harness.run(["./flaky"], harness.Policy(5))
        assert run.is_flaky, str(run)
    """

    status: str
    attempts: tuple[Attempt, ...]
    events: tuple[Event, ...] = ()
    error: TaskError | None = None

    def __str__(self) -> str:
        """The decision trail, a line an attempt, and the status."""
        return "\n".join([*map(str, self.attempts), ": ".join(filter(None, [self.status, self.given_up]))])

    @property
    def given_up(self) -> str:
        """Code and words of the engine's, where it and not an attempt's own failure ended the run; else empty."""
        last = self.attempts[-1].error if self.attempts else None
        if self.error is None or (last is not None and self.error.code == last.code):
            return ""
        said = (self.error.code, self.error.message or self.error.raw)
        return ": ".join(text for text in said if isinstance(text, str))

    @property
    def value(self) -> object:
        """What the function returned in the end; None for jobs that return nothing, or that failed."""
        return self.attempts[-1].value if self.status == SUCCEEDED else None

    @property
    def mistake(self) -> str | None:
        """What the caller did wrong, which ended the run: the text of an InvalidInputError."""
        last = self.attempts[-1] if self.attempts else None
        return str(last.error.message) if last and last.rule == MISTAKE and last.error else None

    @property
    def is_flaky(self) -> bool:
        """Whether it succeeded after at least one failed attempt."""
        return self.status == SUCCEEDED and len(self.attempts) > 1


class Clock(Protocol):
    """Milliseconds since some epoch, and how to let them pass."""

    @property
    def now_ms(self) -> float:
        """Milliseconds since the epoch."""

    def wait_ms(self, delay_ms: float) -> None:
        """Let time pass."""


class VirtualClock:
    """Milliseconds that pass only when waited for: delays are computed and recorded, not slept."""

    def __init__(self) -> None:
        self._now_ms = 0.0

    @property
    def now_ms(self) -> float:
        """Milliseconds since the run began."""
        return self._now_ms

    def wait_ms(self, delay_ms: float) -> None:
        """Let time pass."""
        self._now_ms += delay_ms


class Saved(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a run as a journal keeps it: the state after it, what was emitted, and the attempt that ended."""

    state: State
    events: tuple[Event, ...] = ()
    attempt: Attempt | None = None


class Engine(msgspec.Struct, frozen=True):
    """Decides runs under `policy` and `dialect`. `random()` is in [0, 1) and drawn once a decision.

    `policy` is what a person wrote, or a task's definition with whatever upstream would store.
    """

    policy: Task
    dialect: Dialect
    random: Callable[[], float]
    clock: Clock = msgspec.field(default_factory=VirtualClock)
    rules: Rules | None = None

    def __post_init__(self) -> None:
        """Raise InvalidInputError for what a person wrote, and this dialect's upstream would take for no policy."""
        if isinstance(self.policy, Policy):
            self.policy.check_for(self.dialect)

    def run(
        self,
        execute: Callable[[int, str], Life],
        observe: Callable[[Attempt], object] | None = None,
        *,
        save: Callable[[Saved], object] | None = None,
        saved: Iterable[Saved] = (),
        interrupted: bool = False,
    ) -> Run:
        """Execute attempts 1, 2, … until there is a final status.

        `execute(number, machine)` lives one process life; `observe` sees each attempt as it ends. `save` gets each
        step before anything follows from it; given back as `saved`, they let another process go on. An attempt that
        was under way then has ended without a word: to the engine it has stalled. Where the process before was
        `interrupted`, its attempt is taken back instead, and begun anew.
        """
        rules = msgspec.structs.replace(self.rules or Rules(), dialect=self.dialect)
        course = _Course(rules, save, list(saved))
        if interrupted:
            course.take_back()
        course.recover(round(self.clock.now_ms), self.random)
        while not course.state.is_final:
            self.clock.wait_ms(wait_ms(course.state, self.clock.now_ms))
            number, machine = course.start(self.policy.stored())
            if course.state.is_final:  # refused: there were too many
                break
            life = execute(number, machine)
            attempt, completion, random = self._live(life, number, course.settings)
            if life.mistake is None:
                attempt = course.complete(attempt, completion, round(self.clock.now_ms), random)
            else:
                course.withdraw(attempt, life.mistake)
            if observe:
                observe(attempt)
        return course.result()

    def _live(self, life: Life, number: int, settings: RunSettings) -> tuple[Attempt, Completion, float | None]:
        """Classify a life; where it failed, say what its worker reports, and draw for the decision."""
        attempt, thrown = self.classify(life, number, settings.machine_preset or DEFAULT_PRESET)
        if attempt.error is None:
            return attempt, Completion(), None
        random, now = self.random(), round(self.clock.now_ms)
        own = worker_settings(thrown, settings, number, now, random) if thrown else None
        return attempt, Completion(attempt.error, own), random

    def classify(self, life: Life, number: int, machine: str) -> tuple[Attempt, TaskError | None]:
        """Return the attempt without a decision, and the error thrown; the wait status outranks what was said."""
        if life.mistake is not None:
            error = TaskError(Kind.BUILT_IN, name=InvalidInputError.__name__, message=life.mistake, stack_trace="")
            return Attempt(number, machine, life.evidence, error, MISTAKE, "callers_mistake"), None
        found = self.dialect.classify(life.evidence)
        thrown = admitted(life.thrown, self.dialect.schema) if life.thrown and found.error is None else None
        if thrown:
            found = Classification(thrown, THROWN, "exception")
        enhanced = self.dialect.enhance(found.error) if found.error else None
        lived = (life.evidence, found.error, found.rule, found.cause, enhanced)
        return Attempt(number, machine, *lived, host=life.host, injected=life.injected, value=life.value), thrown

    def judge(self, life: Life, number: int, machine: str) -> Attempt:
        """Classify a life, and decide what would follow if it failed: one attempt, outside a run."""
        settings = RunSettings(self.policy.max_attempts, self.policy.retry, machine)
        attempt, completion, random = self._live(life, number, settings)
        if completion.error is None:
            return attempt
        now = round(self.clock.now_ms)
        request = Request(completion.error, number, settings, completion.retry, now=now, random=random)
        return _decided(attempt, self.dialect.decide(request))


def _decided(attempt: Attempt, decision: Decision) -> Attempt:
    """A judge may have looked at another error than our own enhancer gives."""
    return msgspec.structs.replace(attempt, decision=decision, enhanced=decision.enhanced or attempt.enhanced)


def told(saved: Sequence[Saved]) -> Run:
    """Return the run that these steps are, as far as it came.

    One whose fault did not fire has proved nothing, whatever its exit status.
    """
    attempts = tuple(one.attempt for one in saved if one.attempt)
    status, error = (saved[-1].state.status, saved[-1].state.error) if saved else (PENDING, None)
    unfired = bool(attempts) and attempts[-1].rule == "did-not-fire" and status == SUCCEEDED
    events = tuple(event for one in saved for event in one.events)
    return Run(DID_NOT_FIRE if unfired else status, attempts, events, error)


UNDER_WAY: Final = {Execution.EXECUTING, Execution.PENDING_EXECUTING}


class _Course:
    """A run under way: its state, and all that led to it."""

    def __init__(self, rules: Rules, save: Callable[[Saved], object] | None, saved: list[Saved]) -> None:
        self._rules, self._save, self._kept = rules, save, saved

    @property
    def state(self) -> State:
        """The state after the last step."""
        return self._kept[-1].state if self._kept else create()

    def _keep(self, saved: Saved) -> None:
        """Save a step, and only then take it for the state: nothing may follow from a step that could be lost."""
        if self._save:
            self._save(saved)
        self._kept.append(saved)

    def _step(self, given: Input, attempt: Attempt | None = None) -> Attempt | None:
        taken = step(self.state, given, self._rules)
        if attempt and taken.decision:
            attempt = _decided(attempt, taken.decision)
        self._keep(Saved(taken.state, taken.events, attempt))
        return attempt

    def take_back(self) -> None:
        """Undo the attempt that was under way when the process was interrupted, with its dequeue: it does not count."""
        if self.state.execution in UNDER_WAY:
            at_rest = (one.state for one in reversed(self._kept) if one.state.execution not in UNDER_WAY)
            before = next(at_rest, create())
            text = "The supervisor was interrupted; the attempt does not count"
            state = msgspec.structs.replace(before, snapshot=self.state.snapshot + 1, description=text)
            self._keep(Saved(state, (Event("runAttemptTakenBack", self.state.attempt),)))

    def recover(self, now_ms: float, random: Callable[[], float]) -> None:
        """An attempt or a dequeue that was under way when the journal ends has stalled; a cancel was not confirmed."""
        if self.state.execution in {*UNDER_WAY, Execution.PENDING_CANCEL}:
            self._step(Input("stall", self.state.snapshot, now_ms=now_ms, random=random()))

    def start(self, task: Task) -> tuple[int, str]:
        """Dequeue if need be, and begin the next attempt. Returns its number and its machine."""
        if self.state.execution is Execution.QUEUED:
            self._step(Input("dequeue", self.state.snapshot, task=task))
        self._step(Input("start", self.state.snapshot))
        return self.state.attempt or 1, self.settings.machine_preset or DEFAULT_PRESET

    @property
    def settings(self) -> RunSettings:
        """What the first dequeue fixed."""
        return self.state.settings or RunSettings()

    def complete(self, attempt: Attempt, completion: Completion, now_ms: float, random: float | None) -> Attempt:
        """Report an attempt, and keep it with its decision."""
        given = Input("complete", self.state.snapshot, completion=completion, now_ms=now_ms, random=random)
        return self._step(given, attempt) or attempt

    def withdraw(self, attempt: Attempt, reason: str) -> None:
        """Cancel the run with the attempt that showed why: no dialect is asked, so there is no other."""
        self._step(Input("cancel", self.state.snapshot, reason=reason), attempt)
        self._step(Input("complete", self.state.snapshot))

    def result(self) -> Run:
        """Return the run."""
        return told(self._kept)
