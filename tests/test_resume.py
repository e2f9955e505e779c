"""Runs killed at every step and taken up again, in one process: the journal is a list, the kill an exception."""

import math
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from harness.dialects import NEWEST, find
from harness.engine.durable import Durable
from harness.engine.durable import steps as saved_steps
from harness.engine.lifecycle import REQUEUE_LIMIT, Execution
from harness.engine.loop import Engine, Life, Run, Saved, told
from harness.engine.policy import Policy
from harness.evidence import EndedBy, Evidence, Exited, Memory, Signaled
from harness.exceptions import InfraError, InvalidInputError
from harness.journal import History, Kind, read
from harness.wire.errors import TaskError

SEGV, DONE = Life(Evidence(Signaled("SIGSEGV"))), Life(Evidence(Exited(0)))
OOM = Life(Evidence(Signaled("SIGKILL"), memory=Memory(oom_kills=1)))
THROWN = Life(DONE.evidence, thrown=TaskError("BUILT_IN_ERROR", name="Error", message="broken", stack_trace=""))
RETRY = {"maxAttempts": 3, "randomize": False}
THREE = Policy(3, RETRY)
MOVING = Policy(3, RETRY | {"outOfMemory": {"machine": "large-1x"}})
FINAL = {"runSucceeded", "runFailed"}
AT_REST = {Execution.QUEUED, Execution.RETRYING_SOON, Execution.FINISHED}  # nothing was under way


class Killed(BaseException):
    """SIGKILL."""


class Kill(NamedTuple):
    """At save number `save` of a process, before it is committed or after. Number 0 is never."""

    save: int
    committed: bool


NEVER = Kill(0, committed=False)


class World(NamedTuple):
    """What survives a kill: the journal, and what has been lived where."""

    journal: list[bytes]
    lived: list[tuple[int, str]]


class Script(NamedTuple):
    """A policy, and how attempt 1, 2, … ends; the last end is for ever."""

    policy: Policy
    ends: tuple[Life, ...]


SCRIPTS = {
    "succeeds": Script(THREE, (DONE,)),
    "crashes": Script(THREE, (SEGV,)),
    "flaky": Script(THREE, (SEGV, SEGV, DONE)),
    "moves": Script(MOVING, (OOM, SEGV, DONE)),
    "moves in vain": Script(MOVING, (SEGV, OOM)),
    "throws": Script(THREE, (THROWN, SEGV, THROWN)),
    "has no policy": Script(Policy(), (SEGV,)),
}


def go_on(script: Script, world: World, kill: Kill = NEVER, *, interrupted: bool = False) -> Run:
    """Let a process take the run up, and die as planned. Raises Killed."""
    saves = 0

    def execute(number: int, machine: str) -> Life:
        world.lived.append((number, machine))
        return script.ends[min(number, len(script.ends)) - 1]

    def save(saved: Saved) -> None:
        nonlocal saves
        saves += 1
        if saves == kill.save and not kill.committed:
            raise Killed
        world.journal.append(msgspec.json.encode(saved))
        if saves == kill.save:
            raise Killed

    engine = Engine(script.policy, NEWEST, lambda: 0.5)
    return engine.run(execute, save=save, saved=steps(world), interrupted=interrupted)


def steps(world: World) -> list[Saved]:
    """What the journal has."""
    return [msgspec.json.decode(line, type=Saved) for line in world.journal]


def killed(script: Script, kills: tuple[Kill, ...]) -> tuple[Run, World, bool]:
    """Die as often as planned, then live to the end; whether each of the kills struck."""
    world, struck = World([], []), 0
    for kill in kills:
        try:
            go_on(script, world, kill)
        except Killed:
            struck += 1
    return go_on(script, world), world, struck == len(kills)


def whole(script: Script) -> tuple[Run, World]:
    """The run that nobody kills."""
    run, world, _ = killed(script, ())
    return run, world


def kills(script: Script) -> Iterator[Kill]:
    """Every step of the run, before its commit and after."""
    return (Kill(number + 1, commit) for number, commit in product(range(len(whole(script)[1].journal)), (False, True)))


def check(script: Script, run: Run, world: World, times: int) -> None:
    """What holds however often it was killed."""
    numbers = [number for number, _ in world.lived]
    assert len(set(numbers)) == len(numbers), "no attempt twice"
    assert len(numbers) <= (script.policy.max_attempts or 1), "no more than the maximum"
    started = [event.attempt for event in run.events if event.name == "runAttemptStarted"]
    assert started == list(range(1, len(started) + 1)), "none left out"
    assert len(started) <= (script.policy.max_attempts or 1), "no more than the maximum"
    finished = [attempt.number for attempt in run.attempts]
    assert set(finished) <= set(numbers) <= set(started), "none lost"
    assert len(started) - len(finished) <= times, "a kill costs one attempt at most"
    assert sum(event.name in FINAL for event in run.events) == 1, "one end"
    assert [one.state.snapshot for one in steps(world)] == list(range(2, len(world.journal) + 2)), "every step, once"
    changes = [one for one, (_, machine) in enumerate(world.lived[1:]) if machine != world.lived[one][1]]
    assert len(changes) <= 1, "one move, for good"


@pytest.mark.parametrize("name", SCRIPTS)
def test_killed_at_each_step(name: str) -> None:
    """One kill at every step, before and after its commit; a run that was at rest goes on as if nothing had been."""
    script = SCRIPTS[name]
    expected, _ = whole(script)
    for kill in kills(script):
        run, world, struck = killed(script, (kill,))
        assert struck
        check(script, run, world, 1)
        committed = steps(world)[: kill.save if kill.committed else kill.save - 1]
        if not committed or committed[-1].state.execution in AT_REST:
            assert run == expected


@pytest.mark.parametrize("name", SCRIPTS)
def test_killed_at_each_two_steps(name: str) -> None:
    """A second kill at every step of what was left by the first."""
    script = SCRIPTS[name]
    for first, second in product(kills(script), kills(script)):
        run, world, _ = killed(script, (first, second))
        check(script, run, world, 2)


def test_a_machine_outlives_a_kill() -> None:
    """An OOM moved the run; what takes it up lives on the larger machine, crash or no crash."""
    script = SCRIPTS["moves"]
    for kill in kills(script):
        _, world, _ = killed(script, (kill,))
        if any(event.machine for one in steps(world) for event in one.events):
            assert {machine for number, machine in world.lived if number > 1} == {"large-1x"}


@pytest.mark.parametrize("other", [Policy(9, {"maxAttempts": 9}), Policy()], ids=["more", "none"])
@pytest.mark.parametrize("end", [SEGV, THROWN], ids=["crash", "throw"])
def test_a_policy_outlives_a_kill(end: Life, other: Policy) -> None:
    """What the first dequeue fixed rules the run, whatever the process that takes it up was told."""
    world, script = World([], []), Script(THREE, (end,))
    with pytest.raises(Killed):
        go_on(script, world, Kill(3, committed=True))
    run = go_on(Script(other, (end,)), world)
    assert [attempt.number for attempt in run.attempts] == [1, 2, 3]


def test_a_run_that_ended_is_read_and_not_lived() -> None:
    """Nothing is saved, nothing executed."""
    run, world = whole(SCRIPTS["flaky"])
    before = World(list(world.journal), list(world.lived))
    assert (go_on(SCRIPTS["flaky"], world), world) == (run, before)


def test_a_dequeue_that_was_under_way_goes_back_to_the_queue() -> None:
    """A worker that took the run and never began used no attempt; the queue counts it, and gives up at its limit."""
    script, world = SCRIPTS["flaky"], World([], [])
    for times in range(1, REQUEUE_LIMIT):
        with pytest.raises(Killed):
            go_on(script, world, Kill(1 if times == 1 else 2, committed=True))  # the last save is of a dequeue
        assert steps(world)[-1].state.execution is Execution.PENDING_EXECUTING
        assert (steps(world)[-1].state.requeues, world.lived) == (times - 1, [])
    patient = World(list(world.journal), [])
    run = go_on(script, patient)
    assert [attempt.number for attempt in run.attempts] == [1, 2, 3]
    with pytest.raises(Killed):
        go_on(script, world, Kill(2, committed=True))
    run = go_on(script, world)
    assert (run.status, world.lived, run.attempts) == ("SYSTEM_FAILURE", [], ())


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_an_interruption_ended_does_not_count(name: str) -> None:
    """Ctrl-C at every step: taken up again, the run is as if nobody had touched it, but for attempts begun anew."""
    script = SCRIPTS[name]
    expected, _ = whole(script)
    for kill in kills(script):
        world = World([], [])
        with pytest.raises(Killed):
            go_on(script, world, kill)
        run = go_on(script, world, interrupted=True)
        assert (run.status, run.attempts) == (expected.status, expected.attempts)
        assert [one.state.snapshot for one in steps(world)] == list(range(2, len(world.journal) + 2))


def test_however_often_it_is_interrupted_it_has_all_its_attempts() -> None:
    """Ctrl-C in attempt 1, more often than the queue has patience; then it ends as it would have."""
    script, world = SCRIPTS["crashes"], World([], [])
    for times in range(2 * REQUEUE_LIMIT):
        with pytest.raises(Killed):
            go_on(script, world, Kill(3 if times else 2, committed=True), interrupted=True)
        assert steps(world)[-1].state.execution is Execution.EXECUTING
    run = go_on(script, world, interrupted=True)
    assert [one.state.requeues for one in steps(world)] == [0] * len(world.journal)
    assert (run.status, [attempt.number for attempt in run.attempts]) == ("CRASHED", [1, 2, 3])
    assert {number for number, _ in world.lived} == {1, 2, 3}


def test_two_processes_do_not_live_one_run(tmp_path: Path) -> None:
    """Whoever comes second is refused before anything is executed, in another thread of the process too."""
    with History(tmp_path / "h") as book:
        book.write(Kind.STARTED, "run", 1)
        with pytest.raises(InvalidInputError, match=f"process {os.getpid()}, since .* is writing it"):
            History(tmp_path / "h")


def test_a_step_is_saved_once(tmp_path: Path) -> None:
    """Where the lock does not hold, as on some network's disk, the file refuses the second step of a number."""
    engine, lived = Engine(THREE, NEWEST, lambda: 0.5), []

    def execute(number: int, _: str) -> Life:
        lived.append(number)
        return SEGV

    with History(tmp_path / "h") as book:
        engine.run(execute, save=Durable(book, "run").save)
        with pytest.raises(InfraError, match="UNIQUE"):
            engine.run(execute, save=Durable(book, "run").save)
    assert lived == [1, 2, 3]


def test_a_run_is_read_back_as_it_was_lived(tmp_path: Path) -> None:
    """Attempts, events and status, to the last member."""
    engine = Engine(MOVING, NEWEST, lambda: 0.5)
    with History(tmp_path / "h") as book:
        run = engine.run(lambda number, _: OOM if number == 1 else THROWN, save=Durable(book, "run").save)
    with read(tmp_path / "h") as reading:
        assert told(list(saved_steps(reading, "run"))) == run
        assert reading.standing().how == "ended"


def test_a_cancel_of_ours_is_not_the_end_of_the_run(tmp_path: Path) -> None:
    """A supervisor that is told to stop cancels the attempt; the run is CANCELED for now, and goes on later."""
    cancelled = Life(Evidence(Signaled("SIGTERM"), ended_by=EndedBy.CANCEL))
    engine = Engine(THREE, NEWEST, lambda: 0.5)
    for _ in range(5):
        with History(tmp_path / "h") as book:
            kept = Durable(book, "run")
            run = engine.run(lambda _, __: cancelled, **kept.options())
            assert (run.status, book.undecided()) == ("CANCELED", [])
    with History(tmp_path / "h") as book:
        run = engine.run(lambda number, _: (SEGV, SEGV, DONE)[number - 1], **Durable(book, "run").options())
    assert (run.status, [attempt.number for attempt in run.attempts]) == ("COMPLETED_SUCCESSFULLY", [1, 2, 3])


def test_a_first_attempt_that_succeeds_is_not_flaky() -> None:
    """It takes a failed one before it."""
    assert (whole(SCRIPTS["succeeds"])[0].is_flaky, whole(SCRIPTS["flaky"])[0].is_flaky) == (False, True)
    assert not whole(SCRIPTS["crashes"])[0].is_flaky


def test_an_infinite_factor_outlives_a_kill(tmp_path: Path) -> None:
    """JSON has no infinity; a policy that lost its factor would be none, and the next failure the last."""
    policy = Policy(4, {"maxAttempts": 4, "factor": math.inf, "randomize": False})
    engine = Engine(policy, find("upstream-4.5"), lambda: 0.5)
    delays = {attempt.number: attempt.delay_ms for attempt in engine.run(lambda *_: SEGV).attempts}

    def die(number: int, _: str) -> Life:
        if number == 2:
            raise Killed
        return SEGV

    with pytest.raises(Killed), History(tmp_path / "h") as book:
        engine.run(die, save=Durable(book, "run").save)
    with History(tmp_path / "h") as book:
        run = engine.run(lambda *_: SEGV, **Durable(book, "run").options())
    seen = {attempt.number: attempt.delay_ms for attempt in run.attempts}
    assert seen == {number: delay for number, delay in delays.items() if number in seen}
    assert list(seen) == [1, 3, 4]
