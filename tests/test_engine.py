"""The attempt loop, with scripted lives instead of processes."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.dialects import BUILT_IN, DEFAULT, NEWEST, find
from harness.dialects.protocol import Derived
from harness.engine.lifecycle import Task
from harness.engine.loop import Attempt, Engine, Life, Run, VirtualClock
from harness.engine.policy import Policy
from harness.evidence import EndedBy, Evidence, Exited, Memory, Signaled, Witness
from harness.exceptions import InvalidInputError
from harness.wire.codes import Code
from harness.wire.request import Branch, Decision, Outcome, Request, Settings

SEGV = Evidence(Signaled("SIGSEGV"))
DONE = Evidence(Exited(0))
NZ = Evidence(Exited(3))
OOM = Evidence(Signaled("SIGKILL"), memory=Memory(oom_kills=1))
THREE = Policy(3, {"maxAttempts": 3})
MOVING = Policy(3, {"maxAttempts": 3, "outOfMemory": {"machine": "large-1x"}})


def scripted(lives: Sequence[Evidence]) -> Callable[[int, str], Life]:
    """Attempt n lives the nth life, and the last one for ever after."""
    return lambda number, _: Life(lives[min(number, len(lives)) - 1])


def lived(lives: Sequence[Evidence], policy: Task, dialect: str = DEFAULT) -> Run:
    """A run of scripted lives, with the middle draw."""
    return Engine(policy, find(dialect), lambda: 0.5).run(scripted(lives))


def branches(run: Run) -> list[str]:
    """The step that decided each failed attempt."""
    return [str(attempt.decision.branch) for attempt in run.attempts if attempt.decision]


def test_a_flaky_crash_is_retried_to_success() -> None:
    """Crash, crash, success: flaky, and completed."""
    run = lived([SEGV, SEGV, DONE], THREE)
    assert (run.status, len(run.attempts), run.is_flaky) == ("COMPLETED_SUCCESSFULLY", 3, True)


def test_the_version_before_the_fix_fails_at_once() -> None:
    """In 4.4 a SIGSEGV was never retried."""
    run = lived([SEGV, DONE], THREE, "upstream-4.4")
    assert (run.status, branches(run)) == ("CRASHED", ["not-retriable"])


def test_no_policy_is_one_attempt() -> None:
    """Without a policy the first crash is final, in every dialect."""
    for dialect in BUILT_IN:
        assert len(lived([SEGV], Policy(), dialect).attempts) == 1
        assert len(lived([SEGV], Policy(9, retry=None), dialect).attempts) == 1


@pytest.mark.parametrize("dialect", [DEFAULT, "strict"])
def test_attempt_251_is_refused(dialect: str) -> None:
    """A policy of a thousand ends after 250 attempts: the run has crashed, and nothing is executed for the refusal."""
    run = lived([SEGV], Policy(1000, {"maxAttempts": 1000, "factor": 1}), dialect)
    assert (run.status, len(run.attempts), run.events[-1].name) == ("CRASHED", 250, "runFailed")


@pytest.mark.parametrize(("dialect", "attempts"), [("upstream-4.4", 12), ("upstream-4.5", 12), ("upstream-4.8", 15)])
def test_a_long_policy_ends_where_the_queue_gives_up(dialect: str, attempts: int) -> None:
    """Before 4.5.13 the queue counted every return: the twelfth crash of fifteen was the last, and the run says why."""
    run = lived([NZ], Policy(15), dialect)
    assert len(run.attempts) == attempts
    if attempts == 15:
        assert (run.status, run.given_up) == ("CRASHED", "")
        return
    assert run.error is not None
    assert (run.status, run.error.code) == ("SYSTEM_FAILURE", Code.TASK_RUN_DEQUEUED_MAX_RETRIES)
    assert str(run).endswith(
        f"SYSTEM_FAILURE: {run.error.code}: Returns to the queue: 12, which is as many as it takes."
    )


@pytest.mark.parametrize(
    "retry", [{"minTimeoutInMs": 2**53}, {"maxAttempts": 2**60}, {"factor": float("inf")}], ids=str
)
def test_a_policy_that_is_none_to_upstream_is_refused(retry: dict[str, float]) -> None:
    """What a person writes and 4.6 and later take for no policy is a slip; before, it was a policy."""
    assert lived([NZ], Policy(2, retry), "upstream-4.5").status == "CRASHED"
    for dialect in ("upstream-4.8", "strict"):
        with pytest.raises(InvalidInputError, match=rf"policy.retry.{next(iter(retry))}: .* under {dialect}"):
            lived([NZ], Policy(2, retry), dialect)
    stored = Task(2, {"maxAttempts": 2, **retry}, "small-1x")
    assert len(lived([NZ], stored).attempts) == 1, "what upstream has stored means what it means there"


class Stubborn(Derived):
    """Always says retry, at once."""

    def decide(self, request: Request) -> Decision:
        """Whatever was asked."""
        assert request.error
        return Decision(outcome=Outcome.RETRY, settings=Settings(0, 0), branch=Branch.POLICY)


def test_a_judge_that_never_stops_is_stopped() -> None:
    """After attempt 250 nobody is asked."""
    engine = Engine(THREE, Stubborn("stubborn", NEWEST), lambda: 0.5)
    assert len(engine.run(scripted([SEGV])).attempts) == 250


def test_oom_moves_once_and_stays() -> None:
    """The machine changes by name, later attempts stay there, and a second OOM ends the run."""
    run = lived([OOM, SEGV, OOM], MOVING)
    assert [attempt.machine for attempt in run.attempts] == ["small-1x", "large-1x", "large-1x"]
    assert branches(run) == ["oom-moved", "policy", "oom-same-machine"]


def test_strict_tries_the_policy_when_it_can_not_move() -> None:
    """A crash after a refused allocation takes the larger machine if there is one, else the policy."""
    near = Evidence(Signaled("SIGSEGV"), memory=Memory(allocation_failures=1))
    assert branches(lived([near, DONE], MOVING, "strict")) == ["oom-moved"]
    assert branches(lived([near, DONE], THREE, "strict")) == ["policy"]


def test_delays_are_computed_and_recorded() -> None:
    """Backoff with the middle of the jitter; the virtual clock shows that they passed."""
    clock = VirtualClock()
    run = Engine(THREE, NEWEST, lambda: 0.5, clock).run(scripted([SEGV]))
    assert [attempt.delay_ms for attempt in run.attempts] == [1500, 3000, None]
    assert clock.now_ms == 4500


def test_a_cancelled_run_is_not_retried() -> None:
    """A cancel is final whatever the policy says."""
    run = lived([Evidence(Signaled("SIGTERM"), ended_by=EndedBy.CANCEL)], THREE)
    assert (run.status, branches(run)) == ("CANCELED", ["cancelled"])


def test_an_unfired_fault_ends_the_run_with_its_own_status() -> None:
    """Nothing was proved, and nothing is retried."""
    run = lived([Evidence(Exited(0), witness=Witness.DID_NOT_FIRE)], THREE)
    assert (run.status, len(run.attempts)) == ("DID_NOT_FIRE", 1)


def test_attempts_are_observed_as_they_end() -> None:
    """The observer sees each attempt, whole, in order."""
    seen: list[Attempt] = []
    run = Engine(THREE, NEWEST, lambda: 0.5).run(scripted([SEGV, DONE]), seen.append)
    assert tuple(seen) == run.attempts


@given(
    st.lists(st.sampled_from([SEGV, DONE, OOM]), min_size=1, max_size=6),
    st.none() | st.integers(-1, 6),
    st.none() | st.integers(-1, 6),
    st.sampled_from(list(BUILT_IN)),
)
def test_attempts_are_bounded(lives: list[Evidence], run_max: int | None, config_max: int | None, dialect: str) -> None:
    """Crash attempts never exceed the smaller bound, and an OOM move adds at most one."""
    config = None if config_max is None else {"maxAttempts": config_max, "outOfMemory": {"machine": "large-1x"}}
    run = lived(lives, Task(run_max, config, "small-1x"), dialect)
    moves = branches(run).count("oom-moved")
    assert moves <= 1
    assert len(run.attempts) <= max(1, min(run_max or 0, config_max or 0)) + moves
    assert all(attempt.decision and attempt.decision.outcome == "retry" for attempt in run.attempts[:-1])
