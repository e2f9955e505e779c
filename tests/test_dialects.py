"""The registry; dialects beside each other, pages fresh, reasons complete; the first engine's rules (upstream §14)."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from harness.cli.program import program, run
from harness.dialects import BUILT_IN, DEFAULT, NEWEST, RELEASES, find, lineage, parted, spelled
from harness.dialects import upstream_v1 as legacy
from harness.dialects.compare import DEATHS, argued, compare, compare_requests, rules_that_answer, sweep, treat, why
from harness.dialects.rules import Rule, says
from harness.evidence import Evidence, Signaled
from harness.exceptions import InvalidInputError
from harness.report.dialects import legacy as legacy_page
from harness.report.dialects import why_strict
from harness.scenarios.campaign import Campaign
from harness.scenarios.schema import Case, load, shipped
from harness.scenarios.verdict import Verdict
from harness.wire.codes import Code
from harness.wire.errors import TaskError, internal
from harness.wire.request import Branch, Method, Outcome, Request, RunSettings, Settings

DOCS = Path(__file__).parent.parent / "docs"
POLICY = {"maxAttempts": 3, "randomize": False}
MOVING = POLICY | {"outOfMemory": {"machine": "large-1x"}}
RUN = RunSettings(3, POLICY, "small-1x")
SEGV = internal(Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE, "Process exited with code -1 after signal SIGSEGV.")
OOM = internal(Code.TASK_PROCESS_OOM_KILLED)
STRICT, FIRST_ENGINE = find("strict"), find("upstream-v1")


# --- the registry ---


def test_parents_are_dialects_and_lead_to_a_root() -> None:
    """A newer upstream is like the one before it, strict like the newest; 4.4 and the first engine are like none."""
    assert {name: list(lineage(name))[1:] for name in BUILT_IN if name in {"upstream-4.4", "upstream-v1"}} == {
        "upstream-4.4": [],
        "upstream-v1": [],
    }
    assert [find(name).like for name in ("strict", "upstream-4.5")] == [NEWEST.name, None]
    for older, newest in pairwise(RELEASES[1:]):
        assert newest.like == older.name


def test_a_name_says_whose_judge_and_what_it_is_like() -> None:
    """One text stands for a built-in dialect, or for a user's judge with its parent."""
    assert parted("strict") == (None, "strict")
    assert parted("mine:judge") == ("mine:judge", DEFAULT)
    assert parted("cmd:node like it.js like strict") == ("cmd:node like it.js", "strict")
    assert parted(spelled("mine:judge", "strict")) == ("mine:judge", "strict")
    assert next(lineage("mine:judge like upstream-4.4")) == "upstream-4.4"


@pytest.mark.parametrize(("name", "meant"), [("strikt", "strict"), ("upstream-45", "upstream-4.5")])
def test_a_slip_is_named(name: str, meant: str) -> None:
    """What was written, what there is, and what was meant."""
    with pytest.raises(InvalidInputError, match=f"dialect: expected one of .*, not '{name}'; did you mean '{meant}'"):
        find(name)


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> str:
    """A release of upstream that no scenario file knows of."""
    name = "upstream-99"
    monkeypatch.setitem(BUILT_IN, name, msgspec.structs.replace(NEWEST, name=name, like=NEWEST.name))
    return name


@pytest.mark.slow
def test_a_file_written_today_stays_valid_when_a_dialect_is_added(newer: str) -> None:
    """Every shipped file loads, and a case passes by what is expected of the parent."""
    scenarios = [load(path) for path in sorted(shipped().glob("*.toml"))]
    assert all(_expectations_agree(case, newer) for scenario in scenarios for case in scenario.case)
    (scenario,) = [one for one in scenarios if one.name == "abort"]
    result = Campaign(find(newer)).live(scenario, scenario.case[0])
    assert (result.judgement.verdict, result.dialect) == (Verdict.PASS, newer)


def _expectations_agree(case: Case, newer: str) -> bool:
    return case.expectation(newer) is case.expectation(NEWEST.name)


@pytest.mark.usefixtures("newer")
def test_an_added_dialect_is_listed_and_can_be_named() -> None:
    """On the command line, without another edit."""
    listed = CliRunner().invoke(program, ["dialects"]).output
    assert "upstream-99" in listed
    told = CliRunner().invoke(program, ["decide", "--dialect", "upstream-99"], input="{}").output
    assert "error" in told


# --- reasons ---


@pytest.mark.slow
@pytest.mark.parametrize(("name", "page"), [("why-strict.md", why_strict), ("legacy.md", legacy_page)])
def test_the_page_is_fresh(name: str, page: object) -> None:
    """docs/ has what `make docs` writes."""
    assert callable(page)
    assert (DOCS / name).read_text() == page()


def differing() -> Iterator[tuple[str, Evidence]]:
    """Evidence that strict treats otherwise than the newest upstream."""
    for words, evidence in sweep(NEWEST, STRICT):
        if treat(evidence, NEWEST) != treat(evidence, STRICT):
            yield words, evidence


@pytest.mark.slow
def test_every_cell_of_strict_has_its_reason() -> None:
    """Whatever evidence it differs on is argued, and every argument is needed."""
    found = {words: why(evidence, NEWEST, STRICT) for words, evidence in differing()}
    assert [words for words, row in found.items() if row is None] == []
    assert {row.name for row in found.values() if row} == {row.name for row in argued(STRICT)}


def test_reasons_are_told_on_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal a rule's reason begins a line, and no control character is spelt out before it."""
    assert run(["dialects", "strict"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if line.startswith("oom-kill: ")]
    assert not [line for line in told if line.startswith("\\n")]


def test_the_sweep_sees_all_rules() -> None:
    """Every rule of both tables answers somewhere in it, but for those of work done and nothing fired."""
    answered = {rule for _, evidence in sweep(NEWEST, STRICT) for rule in rules_that_answer(evidence, NEWEST, STRICT)}
    named = {rule.name for dialect in (NEWEST, STRICT) for rule in dialect.rules}
    assert named - answered == {"did-not-fire", "completed"}


def test_a_rule_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """One added row of strict, with an example that the sweep has not, is in its table and on its page."""
    row = Rule(
        "survivors",
        lambda evidence: evidence.survivors > 0,
        lambda _: internal(Code.TASK_EXECUTION_ABORTED),
        says("left_processes_behind"),
        reason="What leaves processes behind was not finished.",
        needs="the count of survivors",
        example=("exit 1, processes left behind", Evidence(Signaled("SIGSEGV"), survivors=2)),
    )
    rules = (*STRICT.rules[:2], row, *STRICT.rules[2:])
    monkeypatch.setitem(BUILT_IN, "strict", msgspec.structs.replace(STRICT, rules=rules))
    told = CliRunner().invoke(program, ["dialects", "strict", "--json"]).output
    page = why_strict()
    for text in ("What leaves processes behind was not finished.", "exit 1, processes left behind"):
        assert text in told
        assert text in page


def test_the_decisions_differ() -> None:
    """A decision that strict answers as upstream does needs no reason."""
    asked = {one.what: one.request for one in STRICT.departures}
    assert all(first != second for _, first, second in compare_requests(asked, NEWEST, STRICT))


def test_the_fix_is_one_row() -> None:
    """Between 4.4 and 4.5 a SIGSEGV is retried where it was not; nothing else of what a process dies of has changed."""
    changed = {row.death for row in compare(find("upstream-4.4"), find("upstream-4.5")) if row.differs}
    assert changed == {
        death
        for death in DEATHS
        if death.startswith("SIGSEGV") and "OOMErrorHandler" not in death and "deadline" not in death
    }
    assert str(treat(DEATHS["SIGSEGV at a null address"], find("upstream-4.5"))).endswith("retry (policy)")


# --- the first engine ---


def test_a_supervisors_crash_report_is_not_inferred() -> None:
    """The fix named this path, and never reached it."""
    decision = FIRST_ENGINE.decide(Request(SEGV, 1, RUN, random=0.5))
    assert (decision.outcome, decision.branch) == (Outcome.FAIL_RUN, Branch.NO_LOOKUP)


def test_a_platforms_report_is() -> None:
    """Through the queue, by the policy."""
    decision = FIRST_ENGINE.decide(Request(SEGV, 1, RUN, random=0.5, reported_by_platform=True))
    assert (decision.outcome, decision.method, decision.branch) == (Outcome.RETRY, Method.QUEUE, Branch.POLICY)


def test_the_runs_max_attempts_mean_nothing() -> None:
    """Only the settings count."""
    decision = FIRST_ENGINE.decide(Request(SEGV, 2, RunSettings(1, POLICY), Settings(5, 5)))
    assert decision.outcome is Outcome.RETRY


@pytest.mark.parametrize(("attempt", "outcome"), [(249, Outcome.RETRY), (250, Outcome.FAIL_RUN)])
def test_attempt_250_is_the_last(attempt: int, outcome: Outcome) -> None:
    """One fewer than in the second engine."""
    assert FIRST_ENGINE.decide(Request(SEGV, attempt, RUN, Settings(5, 5))).outcome is outcome


@pytest.mark.parametrize(("delay", "method"), [(29_999, Method.IMMEDIATE), (30_000, Method.QUEUE)])
def test_long_delays_take_the_queue(delay: int, method: Method) -> None:
    """30,000 ms, inclusive."""
    assert FIRST_ENGINE.decide(Request(SEGV, 1, RUN, Settings(delay, delay))).method is method


def test_an_oom_moves_even_without_a_delay() -> None:
    """The run fails, on paper on the larger machine; and a run without a machine of its own is moved too."""
    spent = FIRST_ENGINE.decide(Request(OOM, 3, RunSettings(3, MOVING, "small-1x"), random=0.5))
    assert (spent.outcome, spent.machine) == (Outcome.FAIL_RUN, "large-1x")
    unknown = FIRST_ENGINE.decide(Request(OOM, 1, RunSettings(3, MOVING), random=0.5))
    assert (unknown.outcome, unknown.machine, unknown.method) == (Outcome.RETRY, "large-1x", Method.QUEUE)


def test_an_oom_overwrites_the_workers_settings() -> None:
    """By the policy's delay, or by none: then it fails although the worker wanted another attempt."""
    moved = FIRST_ENGINE.decide(Request(OOM, 1, RunSettings(3, MOVING, "small-1x"), Settings(7, 7), random=0.5))
    spent = FIRST_ENGINE.decide(Request(OOM, 3, RunSettings(3, MOVING, "small-1x"), Settings(7, 7), random=0.5))
    assert (moved.settings, spent.outcome) == (Settings(1000, 1000), Outcome.FAIL_RUN)


def test_a_failure_before_the_first_attempt_counts_from_0() -> None:
    """One attempt more than in the second engine, with half the delay."""
    decision = FIRST_ENGINE.decide(Request(SEGV, None, RUN, random=0.5, reported_by_platform=True))
    assert isinstance(decision.settings, Settings)
    assert decision.settings.delay == 500


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SEGV, "CRASHED"),
        (internal(Code.COULD_NOT_FIND_TASK), "CRASHED"),
        (internal(Code.MAX_DURATION_EXCEEDED), "TIMED_OUT"),
        (internal(Code.TASK_RUN_CANCELLED), "CANCELED"),
        (TaskError("STRING_ERROR", raw="x"), "COMPLETED_WITH_ERRORS"),
    ],
)
def test_statuses(error: TaskError, status: str) -> None:
    """Any internal error is a crash, but for the time."""
    assert legacy.final_status(error) == status


def test_what_is_not_retriable_is_not_retried() -> None:
    """Settings of its own or not."""
    decision = FIRST_ENGINE.decide(Request(internal(Code.MAX_DURATION_EXCEEDED), 1, RUN, Settings(5, 5)))
    assert decision.branch is Branch.NOT_RETRIABLE
    assert FIRST_ENGINE.decide(Request(internal(Code.TASK_RUN_CANCELLED, "x"))).outcome is Outcome.CANCEL_RUN


def test_a_platforms_report_without_a_policy_is_final() -> None:
    """No policy, or none left."""
    none = FIRST_ENGINE.decide(Request(SEGV, 1, RunSettings(3), reported_by_platform=True))
    spent = FIRST_ENGINE.decide(Request(SEGV, 3, RUN, reported_by_platform=True))
    assert (none.branch, spent.branch) == (Branch.NO_POLICY, Branch.POLICY_EXHAUSTED)
