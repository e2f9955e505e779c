"""The dialects beside each other: pages fresh, reasons complete; and the first engine's own rules (upstream §14)."""

from pathlib import Path

import pytest

from harness.dialects import v1 as legacy
from harness.dialects.rules import RULES
from harness.report.cells import OVERRULED, OWN_RULE, because, rules, sweep
from harness.report.dialects import DEATHS, answer, compare, decisions, why_strict
from harness.report.dialects import legacy as legacy_page
from harness.wire.codes import Code, Dialect
from harness.wire.errors import TaskError, internal
from harness.wire.request import Branch, Method, Outcome, Request, RunSettings, Settings

DOCS = Path(__file__).parent.parent / "docs"
POLICY = {"maxAttempts": 3, "randomize": False}
MOVING = POLICY | {"outOfMemory": {"machine": "large-1x"}}
RUN = RunSettings(3, POLICY, "small-1x")
SEGV = internal(Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE, "Process exited with code -1 after signal SIGSEGV.")
OOM = internal(Code.TASK_PROCESS_OOM_KILLED)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "page"), [("why-strict.md", why_strict), ("legacy.md", legacy_page)])
def test_the_page_is_fresh(name: str, page: object) -> None:
    """docs/ has what `make docs` writes."""
    assert callable(page)
    assert (DOCS / name).read_text() == page()


@pytest.mark.slow
def test_every_cell_of_strict_has_its_reason() -> None:
    """Whatever evidence it differs on is argued, and every argument is needed."""
    argued = set()
    for words, evidence in sweep():
        if answer(evidence, Dialect.UPSTREAM_4_5) != answer(evidence, Dialect.STRICT):
            assert any(rule in OVERRULED or rule in OWN_RULE for rule in rules(evidence)), words
            argued.add(because(evidence))
    assert argued == {*OVERRULED.values(), *OWN_RULE.values()}


def test_the_sweep_sees_all_rules() -> None:
    """Every rule of both tables answers somewhere in it, but for those of work done and nothing fired."""
    answered = {rule for _, evidence in sweep() for rule in rules(evidence)}
    named = {rule.name for dialect in (Dialect.UPSTREAM_4_5, Dialect.STRICT) for rule in RULES[dialect]}
    assert named - answered == {"did-not-fire", "completed"}


def test_the_decisions_differ() -> None:
    """A decision that strict answers as upstream does needs no reason."""
    assert all(first != second for _, first, second, _ in decisions())


def test_the_fix_is_one_row() -> None:
    """Between 4.4 and 4.5 a SIGSEGV is retried where it was not; nothing else of what a process dies of has changed."""
    differing = {row.death for row in compare(Dialect.UPSTREAM_4_4, Dialect.UPSTREAM_4_5) if row.differs}
    assert differing == {
        death
        for death in DEATHS
        if death.startswith("SIGSEGV") and "OOMErrorHandler" not in death and "deadline" not in death
    }
    assert str(answer(DEATHS["SIGSEGV at a null address"], Dialect.UPSTREAM_4_5)).endswith("retry (policy)")


def test_a_supervisors_crash_report_is_not_inferred() -> None:
    """The fix named this path, and never reached it."""
    decision = legacy.decide(Request(SEGV, 1, RUN, random=0.5))
    assert (decision.outcome, decision.branch) == (Outcome.FAIL_RUN, Branch.NO_LOOKUP)


def test_a_platforms_report_is() -> None:
    """Through the queue, by the policy."""
    decision = legacy.decide(Request(SEGV, 1, RUN, random=0.5, reported_by_platform=True))
    assert (decision.outcome, decision.method, decision.branch) == (Outcome.RETRY, Method.QUEUE, Branch.POLICY)


def test_the_runs_max_attempts_mean_nothing() -> None:
    """Only the settings count."""
    decision = legacy.decide(Request(SEGV, 2, RunSettings(1, POLICY), Settings(5, 5)))
    assert decision.outcome is Outcome.RETRY


@pytest.mark.parametrize(("attempt", "outcome"), [(249, Outcome.RETRY), (250, Outcome.FAIL_RUN)])
def test_attempt_250_is_the_last(attempt: int, outcome: Outcome) -> None:
    """One fewer than in the second engine."""
    assert legacy.decide(Request(SEGV, attempt, RUN, Settings(5, 5))).outcome is outcome


@pytest.mark.parametrize(("delay", "method"), [(29_999, Method.IMMEDIATE), (30_000, Method.QUEUE)])
def test_long_delays_take_the_queue(delay: int, method: Method) -> None:
    """30,000 ms, inclusive."""
    assert legacy.decide(Request(SEGV, 1, RUN, Settings(delay, delay))).method is method


def test_an_oom_moves_even_without_a_delay() -> None:
    """The run fails, on paper on the larger machine; and a run without a machine of its own is moved too."""
    spent = legacy.decide(Request(OOM, 3, RunSettings(3, MOVING, "small-1x"), random=0.5))
    assert (spent.outcome, spent.machine) == (Outcome.FAIL_RUN, "large-1x")
    unknown = legacy.decide(Request(OOM, 1, RunSettings(3, MOVING), random=0.5))
    assert (unknown.outcome, unknown.machine, unknown.method) == (Outcome.RETRY, "large-1x", Method.QUEUE)


def test_an_oom_overwrites_the_workers_settings() -> None:
    """By the policy's delay, or by none: then it fails although the worker wanted another attempt."""
    moved = legacy.decide(Request(OOM, 1, RunSettings(3, MOVING, "small-1x"), Settings(7, 7), random=0.5))
    spent = legacy.decide(Request(OOM, 3, RunSettings(3, MOVING, "small-1x"), Settings(7, 7), random=0.5))
    assert (moved.settings, spent.outcome) == (Settings(1000, 1000), Outcome.FAIL_RUN)


def test_a_failure_before_the_first_attempt_counts_from_0() -> None:
    """One attempt more than in the second engine, with half the delay."""
    decision = legacy.decide(Request(SEGV, None, RUN, random=0.5, reported_by_platform=True))
    assert isinstance(decision.settings, Settings)
    assert decision.settings.delay == 500


@pytest.mark.parametrize(
    ("error", "platform", "status"),
    [
        (SEGV, False, "CRASHED"),
        (SEGV, True, "SYSTEM_FAILURE"),
        (internal(Code.COULD_NOT_FIND_TASK), False, "CRASHED"),
        (internal(Code.MAX_DURATION_EXCEEDED), False, "TIMED_OUT"),
        (internal(Code.TASK_RUN_CANCELLED), False, "CANCELED"),
        (TaskError("STRING_ERROR", raw="x"), False, "COMPLETED_WITH_ERRORS"),
        (TaskError("STRING_ERROR", raw="x"), True, "SYSTEM_FAILURE"),
    ],
)
def test_statuses(error: TaskError, platform: bool, status: str) -> None:
    """Any internal error is a crash, but for the time and the flag."""
    assert legacy.final_status(error, reported_by_platform=platform) == status


def test_what_is_not_retriable_is_not_retried() -> None:
    """Settings of its own or not."""
    decision = legacy.decide(Request(internal(Code.MAX_DURATION_EXCEEDED), 1, RUN, Settings(5, 5)))
    assert decision.branch is Branch.NOT_RETRIABLE
    assert legacy.decide(Request(internal(Code.TASK_RUN_CANCELLED, "x"))).outcome is Outcome.CANCEL_RUN


def test_a_platforms_report_without_a_policy_is_final() -> None:
    """No policy, or none left."""
    none = legacy.decide(Request(SEGV, 1, RunSettings(3), reported_by_platform=True))
    spent = legacy.decide(Request(SEGV, 3, RUN, reported_by_platform=True))
    assert (none.branch, spent.branch) == (Branch.NO_POLICY, Branch.POLICY_EXHAUSTED)
