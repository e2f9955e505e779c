"""Expectation against observation: values in, verdict out."""

import msgspec
import pytest

from harness.dialects import BUILT_IN, find
from harness.engine.loop import Engine, Life, Run
from harness.engine.policy import Policy
from harness.evidence import Evidence, Exited, Signaled, Witness
from harness.scenarios.schema import Expectation, ExpectedAttempt
from harness.scenarios.verdict import Verdict, exit_code, judge
from harness.wire.codes import Code
from harness.wire.request import Branch

CRASH = ExpectedAttempt("SIGSEGV", Code.TASK_PROCESS_SIGSEGV)
DONE = ExpectedAttempt("exited 0")


def lived(*lives: Evidence) -> Run:
    """A run of these lives, as many as the policy lets it have."""
    policy = Policy(5, {"maxAttempts": 5})
    return Engine(policy, find("upstream-4.5"), lambda: 0.5).run(lambda number, _: Life(lives[number - 1]))


FLAKY = lived(Evidence(Signaled("SIGSEGV")), Evidence(Exited(0)))


def expecting(*attempts: ExpectedAttempt, status: str | None = "COMPLETED_SUCCESSFULLY") -> Expectation:
    """An expectation for every dialect."""
    return Expectation(tuple(BUILT_IN), attempts, status)


def test_what_was_expected_passes() -> None:
    """Same attempts, same status, no reasons."""
    judgement = judge(expecting(CRASH, DONE), FLAKY, exact=True)
    assert (judgement.verdict, judgement.reasons) == (Verdict.PASS, ())


@pytest.mark.parametrize(
    ("expectation", "reason"),
    [
        (expecting(CRASH), "attempts: expected 1, observed 2"),
        (expecting(CRASH, CRASH, DONE), "attempts: expected 3, observed 2"),
        (
            expecting(CRASH, DONE, status="CRASHED"),
            "status: expected CRASHED, observed COMPLETED_SUCCESSFULLY",
        ),
        (
            expecting(ExpectedAttempt("SIGBUS", CRASH.code), DONE),
            "attempt 1: ended: expected SIGBUS, observed SIGSEGV",
        ),
        (
            expecting(ExpectedAttempt("SIGSEGV"), DONE),
            "attempt 1: code: expected none, observed TASK_PROCESS_SIGSEGV",
        ),
        (
            expecting(ExpectedAttempt("SIGSEGV", CRASH.code, branch=Branch.NO_POLICY), DONE),
            "attempt 1: branch: expected no-policy, observed policy",
        ),
        (
            expecting(ExpectedAttempt("SIGSEGV", CRASH.code, cause="x"), DONE),
            "attempt 1: cause: expected x, observed segmentation_fault",
        ),
        (
            expecting(ExpectedAttempt("SIGSEGV", CRASH.code, machine="micro"), DONE),
            "attempt 1: machine: expected micro, observed small-1x",
        ),
        (
            expecting(ExpectedAttempt("SIGSEGV", CRASH.code, host="a"), DONE),
            "attempt 1: host: expected a, observed none",
        ),
    ],
)
def test_each_difference_fails_with_its_reason(expectation: Expectation, reason: str) -> None:
    """Every member that is stated is judged."""
    judgement = judge(expectation, FLAKY, exact=True)
    assert judgement.verdict is Verdict.FAIL
    assert reason in judgement.reasons


def test_a_wild_run_is_judged_attempt_by_attempt() -> None:
    """How many crash is not judged; an attempt that is none of those listed is."""
    assert judge(expecting(DONE, CRASH, status=None), FLAKY, exact=False).verdict is Verdict.PASS
    judgement = judge(expecting(DONE, status=None), FLAKY, exact=False)
    assert judgement.reasons == ("attempt 1: SIGSEGV is none of those expected",)


def test_of_a_wild_run_what_depends_on_one_life_is_judged() -> None:
    """Its cause is; branch, machine and host are not, since they depend on the attempts before."""
    other = {"branch": Branch.NO_POLICY, "machine": "micro", "host": "a"}
    assert judge(expecting(DONE, msgspec.structs.replace(CRASH, **other)), FLAKY, exact=False).verdict is Verdict.PASS
    judgement = judge(expecting(DONE, msgspec.structs.replace(CRASH, cause="x")), FLAKY, exact=False)
    assert judgement.reasons == ("attempt 1: SIGSEGV is none of those expected",)


def test_a_fault_that_did_not_fire_proves_nothing() -> None:
    """It is INFRA, exact or not, unless that is what was expected."""
    unfired = lived(Evidence(Exited(0), witness=Witness.DID_NOT_FIRE))
    for exact in (True, False):
        assert judge(expecting(DONE), unfired, exact=exact).verdict is Verdict.INFRA
    expected = expecting(ExpectedAttempt("did not fire"), status="DID_NOT_FIRE")
    assert judge(expected, unfired, exact=True).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 0),
        ([Verdict.PASS, Verdict.SKIP], 0),
        ([Verdict.PASS, Verdict.FAIL, Verdict.INFRA, Verdict.UNKNOWN], 1),
        ([Verdict.INFRA, Verdict.UNKNOWN], 3),
        ([Verdict.PASS, Verdict.UNKNOWN], 4),
    ],
)
def test_exit_codes(verdicts: list[Verdict], code: int) -> None:
    """FAIL outranks INFRA outranks UNKNOWN outranks PASS."""
    assert exit_code(verdicts) == code
