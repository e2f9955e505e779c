"""Delays, policies and the decision (upstream §8-§10, §12), and the quirks of §16 that concern them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from harness.dialects import BUILT_IN, find
from harness.wire.codes import Code
from harness.wire.errors import Kind, TaskError, UnexpectedError, error_of_exit, internal
from harness.wire.policy import (
    DEFAULTS,
    PRESETS,
    RetryPolicy,
    memory_bytes,
    next_delay_ms,
    parse_options,
    parse_policy,
)
from harness.wire.request import (
    Branch,
    Decision,
    Method,
    Outcome,
    Request,
    RunNotFoundError,
    RunSettings,
    Settings,
)
from harness.wire.schema import Schema

if TYPE_CHECKING:
    from harness.dialects.builtin import BuiltIn

NOW = find("upstream-4.5")
STEADY: dict[str, Any] = {"maxAttempts": 5, "minTimeoutInMs": 100, "factor": 1, "randomize": False}
MOVING: dict[str, Any] = {**STEADY, "outOfMemory": {"machine": "large-1x"}}
SEGV = error_of_exit(None, "SIGSEGV", None)
KILL = error_of_exit(None, "SIGKILL", None)
ABRT = error_of_exit(None, "SIGABRT", None)
OOM = internal(Code.TASK_PROCESS_OOM_KILLED)
MAYBE_OOM = internal(Code.TASK_PROCESS_MAYBE_OOM_KILLED)
THROWN = TaskError(Kind.BUILT_IN, name="Error", message="m", stack_trace="")
WORKERS = Settings(1_500, 500)


def asked(error: TaskError, **changes: Any) -> Request:
    """Make a request about attempt 1 of a run that may have five, of which `changes` names what differs."""
    run_members = {field.name for field in msgspec.structs.fields(RunSettings)}
    run = RunSettings(5, STEADY, "small-1x")
    run = replace(run, **{key: changes.pop(key) for key in run_members & changes.keys()})
    return replace(Request(error, 1, run, now=1_000, random=0.0), **changes)


def branch(error: TaskError, dialect: BuiltIn = NOW, **changes: Any) -> Branch:
    """Return the step that decides."""
    return dialect.decide(asked(error, **changes)).branch


class TestDelay:
    """upstream §8."""

    def test_the_defaults_are_upstreams(self) -> None:
        """Three attempts, doubling from a second, with jitter."""
        assert [next_delay_ms(RetryPolicy(), attempt, 0.25) for attempt in (1, 2, 3)] == [1_250, 2_500, None]
        assert next_delay_ms(RetryPolicy(), 1, 0.5) == next_delay_ms(DEFAULTS, 1, 0.5)

    def test_the_cap_hides_the_jitter(self) -> None:
        """Jitter is applied first, so a capped delay has none."""
        policy = RetryPolicy(max_attempts=99, max_timeout_in_ms=1_000)
        assert {next_delay_ms(policy, 9, random) for random in (0.0, 0.5, 0.9)} == {1_000}

    def test_no_minimum_of_the_two_timeouts_is_kept(self) -> None:
        """A maximum below the minimum wins."""
        assert next_delay_ms(RetryPolicy(min_timeout_in_ms=9, max_timeout_in_ms=1), 1, 0.0) == 1

    @pytest.mark.parametrize(
        ("factor", "minimum", "attempt", "expected"),
        [
            (0.5, 1, 2, 1),
            (0.49999999999999994, 1, 2, 0),
            (-1.5, 1, 2, -1),
            (1, 2**52 + 1, 2, 2**52 + 1),
            (-0.5, 1, 2, 0),
        ],
    )
    def test_halves_go_up_exactly(self, factor: float, minimum: int, attempt: int, expected: int) -> None:
        """As Math.round: not floor(x + 0.5) in floating point, which errs below one half and above 2^52."""
        policy = RetryPolicy(9, factor, minimum, 2**60, False)
        delay = next_delay_ms(policy, attempt, 0.0)
        assert (delay, type(delay)) == (expected, int)

    @pytest.mark.parametrize(
        ("factor", "attempt", "expected"),
        [
            (10, 400, math.inf),
            (-10, 400, -math.inf),
            (-10, 401, math.inf),
            (0, 0, math.inf),
            (-0.0, 0, -math.inf),
        ],
    )
    def test_what_overflows_is_infinite(self, factor: float, attempt: int, expected: float) -> None:
        """Where Python's pow raises, JavaScript's gives an infinity with its sign."""
        policy = RetryPolicy(1_000, factor, 1, UNSET, False)
        assert next_delay_ms(policy, attempt, 0.0) == min(expected, 60_000)

    def test_nan_propagates(self) -> None:
        """Infinity times nothing is no number, whatever the cap."""
        delay = next_delay_ms(RetryPolicy(1_000, 10, 0, UNSET, False), 400, 0.0)
        assert delay is not None
        assert math.isnan(delay)

    @given(st.integers(0, 12), st.floats(0, 1, exclude_max=True), st.integers(0, 10**6), st.integers(0, 10**6))
    def test_a_delay_lies_between_no_jitter_and_twice_that(
        self, attempt: int, random: float, minimum: int, maximum: int
    ) -> None:
        """Jitter stretches by less than two, and never past the cap."""
        policy = RetryPolicy(99, 2, minimum, maximum)
        delay = next_delay_ms(policy, attempt, random)
        least = next_delay_ms(replace(policy, randomize=False), attempt, random)
        assert least is not None
        assert delay is not None
        assert least <= delay <= min(maximum, 2 * least + 1)

    @given(st.integers(-5, 300), st.integers(-5, 300))
    def test_the_number_of_attempts_is_a_total(self, attempt: int, maximum: int) -> None:
        """An attempt is followed by another one if and only if its number is below the maximum."""
        assert (next_delay_ms(RetryPolicy(max_attempts=maximum), attempt, 0.0) is None) is (attempt >= maximum)


class TestPolicy:
    """upstream §9."""

    @pytest.mark.parametrize(
        ("value", "where"),
        [
            (None, "Expected `object`, got `null`"),
            ([], "Expected `object`, got `array`"),
            ({"maxAttempts": 2.5}, "Expected `int`, got `float` - at `$.maxAttempts`"),
            ({"maxAttempts": "3"}, "Expected `int`, got `str` - at `$.maxAttempts`"),
            ({"maxAttempts": True}, "Expected `int`, got `bool` - at `$.maxAttempts`"),
            ({"maxAttempts": math.inf}, "$.maxAttempts"),
            ({"maxAttempts": 10**400}, "$.maxAttempts"),
            ({"factor": None}, "$.factor"),
            ({"factor": math.nan}, "$.factor"),
            ({"outOfMemory": {"machine": "huge"}}, "outOfMemory.machine: expected one of micro, small-1x,"),
        ],
    )
    def test_a_refusal_says_where_and_what(self, value: object, where: str) -> None:
        """One wrong member fails the whole object."""
        with pytest.raises(ValueError, match=r"^retry policy: ") as caught:
            parse_options(value, Schema())
        assert where in str(caught.value)

    def test_nothing_has_bounds(self) -> None:
        """Zero, negatives and a hundred thousand pass."""
        value = {"maxAttempts": 100_000, "factor": -1, "minTimeoutInMs": 0, "maxTimeoutInMs": -5}
        assert parse_options(value, Schema()) == RetryPolicy(100_000, -1, 0, -5)

    def test_unknown_members_are_dropped(self) -> None:
        """On both levels."""
        value = {"unknown": 1, "outOfMemory": {"machine": "micro", "unknown": 1}}
        assert msgspec.to_builtins(parse_options(value, Schema())) == {"outOfMemory": {"machine": "micro"}}

    def test_numbers_are_javascripts(self) -> None:
        """3.0 is an integer, and 2^53 + 1 is 2^53."""
        assert parse_options({"maxAttempts": 3.0, "minTimeoutInMs": 2**53 + 1}, Schema()) == RetryPolicy(
            3, min_timeout_in_ms=2**53
        )

    @pytest.mark.parametrize("value", [None, UNSET])
    def test_null_and_absent_are_no_policy(self, value: object) -> None:
        """The look-up allows them; they are not an empty policy, which is all defaults."""
        assert parse_policy(value, Schema()) is None
        assert parse_policy({}, Schema()) == RetryPolicy()


class TestPresets:
    """upstream §12."""

    def test_the_default_machine_has_half_a_gibibyte(self) -> None:
        """Upstream's gigabytes are gibibytes."""
        assert memory_bytes("small-1x") == 512 * 1024**2

    def test_a_scale_shrinks_every_machine_alike(self) -> None:
        """The order of the presets stays."""
        sizes = [memory_bytes(preset, 1 / 64) for preset in PRESETS]
        assert sizes == sorted(sizes)
        assert sizes[-1] == 256 * 1024**2

    def test_an_unknown_preset_is_refused(self) -> None:
        """The message lists those there are."""
        with pytest.raises(ValueError, match=r"machine preset: expected one of micro, .*, got 'huge'"):
            memory_bytes("huge")


class TestSteps:
    """upstream §10, one step after the other."""

    def test_a_cancelled_run_is_cancelled(self) -> None:
        """Before everything else, with the error's message for a reason."""
        request = asked(internal(Code.TASK_RUN_CANCELLED, "by hand"), run=None, retry_settings=WORKERS)
        assert NOW.decide(request) == Decision(outcome=Outcome.CANCEL_RUN, reason="by hand", branch=Branch.CANCELLED)

    def test_a_segfault_follows_the_policy(self) -> None:
        """The fix of 4.5.0: through the queue, after the policy's delay."""
        assert NOW.decide(asked(SEGV)) == Decision(
            outcome=Outcome.RETRY,
            method=Method.QUEUE,
            settings=Settings(1_100, 100),
            enhanced=NOW.enhance(SEGV),
            branch=Branch.POLICY,
        )

    def test_a_segfault_failed_at_once_before(self) -> None:
        """The known-bad control: in 4.4 a SIGSEGV is never retried."""
        assert branch(SEGV, find("upstream-4.4")) is Branch.NOT_RETRIABLE

    @pytest.mark.parametrize("dialect", [find("upstream-4.4"), NOW])
    def test_the_same_defect_behind_a_shell_is_retried(self, dialect: BuiltIn) -> None:
        """Quirk 2: exit 139 and 134 follow the policy in all versions, a SIGABRT in none."""
        shown = [branch(error_of_exit(status, None, None), dialect) for status in (139, 134)]
        assert [*shown, branch(ABRT, dialect)] == [Branch.POLICY, Branch.POLICY, Branch.NOT_RETRIABLE]

    def test_an_abort_is_neither_retried_nor_moved(self) -> None:
        """Quirk 1: shown as out of memory, yet no out-of-memory to the step that would move it."""
        decision = NOW.decide(asked(ABRT, locked_retry_config=MOVING))
        assert (decision.branch, decision.was_oom_error) == (Branch.NOT_RETRIABLE, UNSET)

    @pytest.mark.parametrize(
        ("attempt", "expected"),
        [(250, Branch.POLICY), (251, Branch.ATTEMPT_CAP), (None, Branch.POLICY)],
    )
    def test_no_attempt_after_250_follows_a_policy(self, attempt: int | None, expected: Branch) -> None:
        """Attempt 250 may be retried, 251 not; an unknown number skips the cap."""
        policy = {**STEADY, "maxAttempts": 1_000}
        assert branch(SEGV, attempt=attempt, max_attempts=1_000, locked_retry_config=policy) is expected

    def test_a_missing_run_is_an_error(self) -> None:
        """It is needed from this step on, and not before."""
        with pytest.raises(RunNotFoundError):
            NOW.decide(asked(SEGV, run=None))
        assert branch(ABRT, run=None) is Branch.NOT_RETRIABLE
        assert branch(SEGV, run=None, attempt=251) is Branch.ATTEMPT_CAP

    @pytest.mark.parametrize("maximum", [None, 0])
    @pytest.mark.parametrize("settings", [None, WORKERS])
    def test_a_run_without_a_maximum_is_not_retried(self, maximum: int | None, settings: Settings | None) -> None:
        """Quirk 14: null and 0 block every retry but that for memory."""
        assert branch(SEGV, max_attempts=maximum, retry_settings=settings) is Branch.RUN_MAX_ATTEMPTS
        assert branch(KILL, max_attempts=maximum, locked_retry_config=MOVING) is Branch.OOM_MOVED

    @pytest.mark.parametrize(
        ("attempt", "expected"),
        [
            (1, Branch.POLICY),
            (2, Branch.RUN_MAX_ATTEMPTS),
            (3, Branch.RUN_MAX_ATTEMPTS),
            (None, Branch.POLICY),
        ],
    )
    def test_the_runs_own_maximum_can_lower_the_policys(self, attempt: int | None, expected: Branch) -> None:
        """The maximum counts attempts, the first included; an unknown number skips it."""
        assert branch(SEGV, attempt=attempt, max_attempts=2) is expected

    @pytest.mark.parametrize("policy", [{}, {"maxAttempts": 3}])
    def test_the_runs_own_maximum_never_raises_it(self, policy: dict[str, Any]) -> None:
        """A crash has the lower of the two, and 3 where the policy is silent."""
        steps = [branch(SEGV, attempt=n, max_attempts=9, locked_retry_config=policy) for n in (1, 2, 3)]
        assert steps == [Branch.POLICY, Branch.POLICY, Branch.POLICY_EXHAUSTED]

    @pytest.mark.parametrize(
        "code",
        [Code.TASK_EXECUTION_FAILED, Code.TASK_EXECUTION_ABORTED, Code.HANDLE_ERROR_ERROR],
    )
    def test_retriable_codes_without_look_up_fail(self, code: Code) -> None:
        """Quirk 11: unless the completion brings settings, which a supervisor's never does."""
        assert branch(internal(code)) is Branch.NO_LOOKUP
        assert branch(internal(code), retry_settings=WORKERS) is Branch.WORKER_SETTINGS

    @pytest.mark.parametrize("policy", [None, 0, "", False, [], "x", {"maxAttempts": 2.5}])
    def test_an_invalid_policy_is_none(self, policy: Any) -> None:
        """Whatever the stored JSON holds; a run without a policy fails at once."""
        assert branch(SEGV, locked_retry_config=policy) is Branch.NO_POLICY

    @pytest.mark.parametrize("silent", [{"minTimeoutInMs": 0}, {"maxTimeoutInMs": 0}, {"factor": 0.001}])
    def test_a_delay_of_zero_means_no_retry(self, silent: dict[str, Any]) -> None:
        """Quirk 7: such policies disable the retries of crashes and of memory."""
        policy, attempt = {**MOVING, **silent}, 3
        assert branch(SEGV, attempt=attempt, locked_retry_config=policy) is Branch.POLICY_EXHAUSTED
        assert branch(KILL, attempt=attempt, locked_retry_config=policy) is Branch.OOM_NO_DELAY

    def test_a_delay_that_is_no_number_means_no_retry(self) -> None:
        """NaN is as false as 0."""
        policy = {**STEADY, "maxAttempts": 400, "factor": 1e308, "minTimeoutInMs": 0}
        assert branch(SEGV, attempt=3, locked_retry_config=policy) is Branch.POLICY_EXHAUSTED

    @pytest.mark.parametrize("attempt", [1, None])
    def test_an_unknown_attempt_counts_as_the_first(self, attempt: int | None) -> None:
        """Quirk 14, second half: the delay is that after attempt 1."""
        policy = {**STEADY, "factor": 10}
        decision = NOW.decide(asked(SEGV, attempt=attempt, locked_retry_config=policy))
        assert decision.settings == Settings(1_100, 100)

    @pytest.mark.parametrize(("forced", "method"), [(True, Method.QUEUE), (False, Method.IMMEDIATE)])
    @pytest.mark.parametrize("delay", [500, 0, -1])
    def test_the_workers_settings_are_taken_as_they_are(self, forced: bool, method: Method, delay: int) -> None:
        """Quirk 16: any delay is a retry, and neither policy nor look-up is asked."""
        settings = Settings(1_000 + delay, delay)
        request = asked(THROWN, locked_retry_config=None, retry_settings=settings, force_requeue=forced)
        decision = NOW.decide(request)
        assert (decision.method, decision.settings) == (method, settings)

    @pytest.mark.parametrize("error", [internal("NOPE"), TaskError("NOPE")])
    def test_an_unknown_error_raises(self, error: TaskError) -> None:
        """Quirk 15: it does not fail the run."""
        with pytest.raises(UnexpectedError):
            NOW.decide(asked(error))

    def test_without_a_draw_the_jitter_is_in_the_middle(self) -> None:
        """A request may leave out the random number."""
        decision = NOW.decide(asked(SEGV, random=None, locked_retry_config={}))
        assert decision.settings == Settings(2_500, 1_500)


class TestMemory:
    """upstream §10.2: the way to a larger machine."""

    def test_a_run_moves_to_the_machine_its_policy_names(self) -> None:
        """Through the queue; the error is not enhanced on this way."""
        assert NOW.decide(asked(KILL, locked_retry_config=MOVING)) == Decision(
            outcome=Outcome.RETRY,
            method=Method.QUEUE,
            settings=Settings(1_100, 100),
            machine="large-1x",
            was_oom_error=True,
            branch=Branch.OOM_MOVED,
        )

    @pytest.mark.parametrize("error", [KILL, OOM, MAYBE_OOM, error_of_exit(137, None, None)])
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, Branch.OOM_NO_MACHINE),
            ({"locked_retry_config": None}, Branch.OOM_NO_MACHINE),
            ({"locked_retry_config": {"outOfMemory": {"machine": "huge"}}}, Branch.OOM_NO_MACHINE),
            ({"locked_retry_config": {"outOfMemory": {}}}, Branch.OOM_NO_MACHINE),
            ({"locked_retry_config": MOVING, "machine_preset": None}, Branch.OOM_NO_MACHINE),
            ({"locked_retry_config": MOVING, "run": None}, Branch.OOM_NO_MACHINE),
            ({"locked_retry_config": MOVING, "machine_preset": "large-1x"}, Branch.OOM_SAME_MACHINE),
            ({"locked_retry_config": MOVING, "attempt": 5}, Branch.OOM_NO_DELAY),
        ],
    )
    def test_one_that_cannot_move_fails_at_once(
        self, error: TaskError, changes: dict[str, Any], expected: Branch
    ) -> None:
        """Quirk 5: any SIGKILL and any exit 137, whatever maximum and settings allow."""
        decision = NOW.decide(asked(error, retry_settings=WORKERS, **changes))
        assert decision == Decision(outcome=Outcome.FAIL_RUN, was_oom_error=True, branch=expected)

    def test_the_runs_own_maximum_does_not_matter(self) -> None:
        """Quirk 8: one attempt by the run, five by the policy: it moves. One by the policy: never."""
        single = {**MOVING, "maxAttempts": 1}
        assert branch(KILL, max_attempts=1, locked_retry_config=MOVING) is Branch.OOM_MOVED
        assert branch(KILL, max_attempts=9, locked_retry_config=single) is Branch.OOM_NO_DELAY

    def test_250_attempts_do_not_matter(self) -> None:
        """Nor does the cap."""
        policy = {**MOVING, "maxAttempts": 1_000}
        assert branch(KILL, attempt=300, locked_retry_config=policy) is Branch.OOM_MOVED

    def test_the_larger_machine_may_be_smaller(self) -> None:
        """Quirk 9: only the names are compared."""
        decision = NOW.decide(asked(KILL, locked_retry_config=MOVING, machine_preset="large-2x"))
        assert decision.machine == "large-1x"

    def test_a_segfault_near_the_limit_stays_where_it_is(self) -> None:
        """Quirk 10: it follows the policy on the same machine."""
        decision = NOW.decide(asked(SEGV, locked_retry_config=MOVING))
        assert (decision.branch, decision.machine) == (Branch.POLICY, UNSET)

    def test_a_marker_in_stderr_moves_a_segfault(self) -> None:
        """Quirk 6: text decides."""
        error = error_of_exit(None, "SIGSEGV", "node::OOMErrorHandler")
        assert branch(error, locked_retry_config=MOVING) is Branch.OOM_MOVED


class TestStrict:
    """What the evidence supports: a code says memory, a signal's name does not."""

    @pytest.mark.parametrize("error", [SEGV, ABRT, KILL])
    def test_a_signal_without_memory_evidence_follows_the_policy(self, error: TaskError) -> None:
        """SIGABRT and SIGKILL are retried like SIGSEGV, on the same machine."""
        assert branch(error, find("strict"), locked_retry_config=MOVING) is Branch.POLICY

    @pytest.mark.parametrize("error", [OOM, MAYBE_OOM])
    def test_memory_evidence_moves_the_run(self, error: TaskError) -> None:
        """Both codes take the larger machine if there is one."""
        assert branch(error, find("strict"), locked_retry_config=MOVING) is Branch.OOM_MOVED

    @pytest.mark.parametrize("changes", [{}, {"locked_retry_config": MOVING, "machine_preset": "large-1x"}])
    def test_a_maybe_that_cannot_move_follows_the_policy(self, changes: dict[str, Any]) -> None:
        """It stays marked as memory's, and 4.5 fails it."""
        request = asked(MAYBE_OOM, **changes)
        decision = find("strict").decide(request)
        assert (decision.branch, decision.was_oom_error, decision.machine) == (Branch.POLICY, True, UNSET)
        assert NOW.decide(request).outcome is Outcome.FAIL_RUN

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, Branch.OOM_NO_MACHINE),
            ({"locked_retry_config": MOVING, "machine_preset": "large-1x"}, Branch.OOM_SAME_MACHINE),
        ],
    )
    def test_proven_memory_that_cannot_move_fails(self, changes: dict[str, Any], expected: Branch) -> None:
        """The same machine would kill it again."""
        assert branch(OOM, find("strict"), **changes) is expected

    def test_a_maybe_without_a_policy_fails(self) -> None:
        """It goes on through all the later steps."""
        assert branch(MAYBE_OOM, find("strict"), locked_retry_config=None) is Branch.NO_POLICY
        assert branch(MAYBE_OOM, find("strict"), max_attempts=1) is Branch.RUN_MAX_ATTEMPTS

    def test_a_spent_policy_does_not_go_on(self) -> None:
        """A machine is there, attempts are not."""
        policy = {**MOVING, "maxAttempts": 1}
        assert branch(MAYBE_OOM, find("strict"), locked_retry_config=policy) is Branch.OOM_NO_DELAY


class TestWire:
    """One JSON line in, one out."""

    def test_a_line_is_read_as_it_is_documented(self) -> None:
        """Members are in camel case; all but the error may be absent."""
        line = {
            "error": {"type": "INTERNAL_ERROR", "code": "TASK_RUN_CANCELLED"},
            "attempt": None,
            "run": {"maxAttempts": 3, "lockedRetryConfig": {"maxAttempts": 3.0}, "machinePreset": None},
            "retrySettings": {"timestamp": 5, "delay": 2.5},
            "forceRequeue": True,
            "now": 0,
            "random": 0.5,
        }
        expected = Request(
            internal(Code.TASK_RUN_CANCELLED),
            run=RunSettings(3, {"maxAttempts": 3}),
            retry_settings=Settings(5, 2.5),
            force_requeue=True,
            random=0.5,
        )
        assert msgspec.json.decode(json.dumps(line), type=Request) == expected
        bare = json.dumps({"error": line["error"]})
        assert msgspec.json.decode(bare, type=Request) == Request(internal(Code.TASK_RUN_CANCELLED))

    def test_a_decision_is_written_as_upstream_spells_it(self) -> None:
        """Absent members are left out, and wasOOMError keeps its capitals."""
        line = json.loads(msgspec.json.encode(NOW.decide(asked(KILL, locked_retry_config=MOVING))))
        assert line == {
            "outcome": "retry",
            "method": "queue",
            "settings": {"timestamp": 1_100, "delay": 100},
            "machine": "large-1x",
            "wasOOMError": True,
            "branch": "oom-moved",
        }

    def test_integers_stay_integers(self) -> None:
        """The text of the delay has no fraction."""
        text = msgspec.json.encode(NOW.decide(asked(SEGV)))
        assert b'"settings":{"timestamp":1100,"delay":100}' in text


ANY_ERROR = st.one_of(
    st.sampled_from([internal(code) for code in Code]),
    st.sampled_from([SEGV, ABRT, KILL, THROWN]),
)
ANY_POLICY = st.sampled_from([None, {}, STEADY, MOVING, {"maxAttempts": 1}, "x"])
ANY_NUMBER = st.one_of(st.none(), st.integers(0, 300))
ANY_RUN = st.builds(RunSettings, ANY_NUMBER, ANY_POLICY, st.sampled_from([None, *PRESETS]))
ANY_REQUEST = st.builds(Request, ANY_ERROR, ANY_NUMBER, ANY_RUN, st.sampled_from([None, WORKERS]))


@given(ANY_REQUEST, st.sampled_from(list(BUILT_IN.values())))
def test_only_a_retry_says_when_and_how(request_: Request, dialect: BuiltIn) -> None:
    """For any request: method and settings come with a retry only, a machine with a move for memory only.

    The first engine moves a run to the larger machine also when no delay is left (upstream §14c).
    """
    decision = dialect.decide(request_)
    retries = decision.outcome is Outcome.RETRY
    assert (decision.method is not UNSET) is retries
    assert (decision.settings is not UNSET) is retries
    moved_in_vain = dialect is find("upstream-v1") and decision.branch is Branch.OOM_NO_DELAY
    assert (decision.machine is not UNSET) is (decision.branch is Branch.OOM_MOVED or moved_in_vain)
    assert retries is (decision.branch in {Branch.POLICY, Branch.OOM_MOVED, Branch.WORKER_SETTINGS})


@given(ANY_REQUEST)
def test_the_fix_only_adds_retries(request_: Request) -> None:
    """For any request: 4.4 and 4.5 decide alike, but that 4.5 retries SIGSEGV and TASK_MIDDLEWARE_ERROR."""
    old, new = (dialect.decide(request_) for dialect in (find("upstream-4.4"), NOW))
    changed = {Code.TASK_PROCESS_SIGSEGV, Code.TASK_MIDDLEWARE_ERROR}
    assert old == new or NOW.enhance(request_.error).code in changed
    assert old.outcome is not Outcome.RETRY or new.outcome is Outcome.RETRY
