"""What decides in the engines' suite, on values: expectations, counted time, repeats, causes, the choice of cells."""

from typing import Any

import msgspec
import pytest

from harness.conformance import across, check, properties, view
from harness.conformance.cells import Cell, cells
from harness.conformance.check import Asked
from harness.conformance.expected import expect
from harness.conformance.protocol import Cap, Claim, Declaration, Policy, claims, declaration
from harness.conformance.record import CAP_S, Clock, Life, Line, Record, Told
from harness.conformance.settle import Lives
from harness.conformance.suite import kind_of
from harness.exceptions import InfraError, InvalidInputError

HELLO: dict[str, Any] = {
    "protocol": 1,
    "name": "e",
    "version": "1",
    "caps": list(Cap),
    "table": {
        **dict.fromkeys("exc segv abrt kill term exit0 exit139 nomem timeout lost".split(), "retry"),  # noqa: SIM905 -- as in the page
        "oom": "oom",
    },
    "default_attempts": 1,
    "detect_s": 1,
}


def declared(**changes: Any) -> Declaration:
    """A declaration of everything, but for `changes`."""
    return declaration({**HELLO, **changes})


MAX3 = Policy(3, 0.3, None, "large")


@pytest.mark.parametrize(
    ("faults", "changes", "starts", "final", "large_from"),
    [
        (("segv",), {}, 3, "failed", None),
        (("segv", "segv", "ok"), {}, 3, "ok", None),
        (("oom",), {}, 2, "ok", 2),
        (("oom", "segv"), {}, 3, "failed", 2),
        (("oom", "segv"), {"oom_move_counts": False}, 4, "failed", 2),
        (("late",), {}, 1, "ok", None),
        (("nomem",), {"table": {**HELLO["table"], "nomem": "oom"}}, 2, "failed", 2),
        (("nomem",), {"table": {**HELLO["table"], "nomem": "move"}}, 3, "failed", 2),
        (("abrt",), {"table": {**HELLO["table"], "abrt": "fail"}}, 1, "failed", None),
    ],
)
def test_a_declaration_says_how_a_job_goes(
    faults: tuple[str, ...], changes: dict[str, Any], starts: int, final: str, *, large_from: int | None
) -> None:
    """Starts, final state and machine follow from the declared table and the policy."""
    course = expect(Cell("c", faults, MAX3, "max3"), declared(**changes))
    assert (course.starts, course.final, course.large_from) == (starts, final, large_from)


def test_without_a_policy_the_default_of_the_class_counts() -> None:
    """`default_attempts` may be a number, or one for each class; a class that it leaves out starts once."""
    by_class = declared(default_attempts={"segv": 4})
    assert expect(Cell("c", ("segv",)), by_class).starts == 4
    assert expect(Cell("c", ("kill",)), by_class).starts == 1
    assert expect(Cell("c", ("oom",)), declared()).starts == 1


def test_a_late_look_counts_little() -> None:
    """Counted seconds grow by the cap at most for each look, and a moment between looks lies between their counts."""
    clock = Clock.begun(100.0)
    assert clock.look(100.05) == pytest.approx(0.05)
    assert clock.look(110.05) == pytest.approx(0.05 + CAP_S)
    assert clock.of(105.05) == pytest.approx(0.05 + CAP_S / 2)
    assert clock.of(99.0) == 0.0


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("table", {**HELLO["table"], "segv": "never"}, "table: segv: expected retry, fail, oom or move, not 'never'"),
        ("table", {"exc": "retry"}, "table: segv: expected retry, fail, oom or move, found nothing"),
        ("caps", ["RETRIES"], "not 'RETRIES'; did you mean 'RETRY'?"),
        ("counts", "tries", "counts: expected starts, retries or failures, not 'tries'"),
        ("default_attempts", 21, "default_attempts: expected 1 to 20, not 21"),
        ("stop_s", float("nan"), "stop_s: expected 0 to 30 seconds, not nan"),
    ],
)
def test_a_wrong_declaration_is_one_line(member: str, value: object, words: str) -> None:
    """What is wrong in a declaration is told in one line: what, where, and what was expected."""
    with pytest.raises(InfraError) as told:
        declared(**{member: value})
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_a_claim_that_is_no_claim_is_the_adapters_mistake() -> None:
    """A job left out is unknown; an error, or a member of the wrong type, is never read as a claim."""
    assert claims({"jobs": {}}, {"X": "j1"}) == {"X": Claim()}
    wrong: list[dict[str, Any]] = [{"error": "no"}, {"jobs": {"j1": {"state": "ok", "attempts": "two"}}}, {"jobs": []}]
    for reply in wrong:
        with pytest.raises(InfraError):
            claims(reply, {"X": "j1"})


# --- a record made by hand ---


def line(job: str, n: int, ev: str, at: float, *, pid: int = 1, mem: int = 0) -> Line:
    """One line of a ledger."""
    return Line("r", job, n, ev, pid, pid, int(at * 1e9), mem)


def flaky(**changes: Any) -> Record:
    """A record of X that crashed twice and then worked, on counted time that is real time."""
    clock = Clock([0.1 * k for k in range(101)], [0.1 * k for k in range(101)])
    lines = [line("x", n, "start", n, pid=n, mem=96 << 20) for n in (1, 2, 3)]
    lines += [line("x", n, "fire", n + 0.2, pid=n) for n in (1, 2)] + [line("x", 3, "end", 3.2, pid=3)]
    history = ("segv", "segv")
    told = [Told(0.5, Claim("pending")), Told(3.5, Claim("ok", "", 3, history, "done:x:3"))]
    lives = [Life(1, 1, 0, 1.2, 1.3), Life(2, 2, 0, 2.2, 2.3)]
    made = Record("flaky-segv", clock, {"X": "x"}, lines, {"X": told}, lives)
    return msgspec.structs.replace(made, **changes)


FLAKY = Cell("flaky-segv", ("segv", "segv", "ok"), MAX3, "max3")


def failing(record: Record, cell: Cell = FLAKY, **changes: Any) -> set[str]:
    """Properties that a record fails."""
    found = properties.judge(view.View(cell, declared(**changes), record))
    return {name for name, reasons in found.items() if reasons}


def test_a_record_without_fault_fails_nothing() -> None:
    """A job that went as declared fails no property."""
    assert failing(flaky()) == set()


@pytest.mark.parametrize(
    ("claim", "broken"),
    [
        (Claim("ok", "", 2, ("a", "b"), "done:x:3"), {"P16"}),
        (Claim("ok", "", 3, ("a",), "done:x:3"), {"P16"}),
        (Claim("ok", "", 3, ("a", "b"), "done:x:2"), {"P6"}),
        (Claim("failed", "c", 3, ("a", "b", "c")), {"P4", "P6"}),
    ],
)
def test_claims_are_held_against_the_ledger(claim: Claim, broken: set[str]) -> None:
    """A count, a history, a result or a verdict that the ledger contradicts fails its property."""
    assert failing(flaky(told={"X": [Told(3.5, claim)]})) == broken


def test_a_verdict_that_flips_fails_even_if_it_flips_back() -> None:
    """A terminal state never changes."""
    good = Claim("ok", "", 3, ("a", "b"), "done:x:3")
    told = [Told(3.5, good), Told(4.0, Claim("failed")), Told(4.5, good)]
    assert failing(flaky(told={"X": told})) == {"P6"}


def test_backoff_is_measured_from_the_last_sign_of_life() -> None:
    """A process that lived on after its fire line makes the gap smaller: from its last look the backoff counts."""
    assert failing(flaky(lives=[Life(1, 1, 0, 1.8, 1.9), Life(2, 2, 0, 2.2, 2.3)])) == {"P12"}


@pytest.mark.parametrize(("began", "broken"), [(1.8, {"P14"}), (0.9, set())])
def test_a_time_limit_may_not_come_too_early(began: float, broken: set[str]) -> None:
    """From the last sign of life of the attempt before and its backoff on, a hang has its time, less a second."""
    hang = Cell("hang/max3", ("hang",), msgspec.structs.replace(MAX3, timeout_s=2.5), "max3")
    lines = [line("x", n, "start", 1.3 * n, pid=n, mem=96 << 20) for n in (1, 2)]
    lives = [Life(1, 1, 0, began, began + 0.1), Life(2, 2, 0, 3.4, 3.5)]
    found = failing(flaky(lines=lines, lives=lives, told={}), hang)
    assert found & {"P14"} == broken


def test_counts_other_than_starts_are_understood() -> None:
    """`counts` says what `attempts` counts."""
    for counts, number in (("retries", 2), ("failures", 2)):
        told = {"X": [Told(3.5, Claim("ok", "", number, ("a", "b"), "done:x:3"))]}
        assert failing(flaky(told=told), counts=counts) == set()


# --- repeats ---


def slow() -> Record:
    """A record without a verdict: late by the clock alone."""
    return flaky(told={"X": [Told(0.5, Claim("running"))]})


def lived(*records: Record) -> Lives:
    """A cell lived so often."""
    lives = Lives(FLAKY, declared())
    for record in records:
        lives.add(record)
    return lives


def test_a_failure_by_the_clock_must_be_seen_twice_in_three() -> None:
    """Once late is lived again; twice late is FAIL, once of three is PASS."""
    assert not lived(slow()).is_settled()
    assert lived(slow(), slow()).is_settled()
    assert lived(slow(), slow()).settle().verdict == "FAIL"
    assert not lived(slow(), flaky()).is_settled()
    assert lived(slow(), flaky(), flaky()).settle().verdict == "PASS"
    assert lived(flaky()).is_settled()


def test_what_is_counted_wrong_fails_at_once() -> None:
    """A count needs no second look, and one FAIL in several lives is a FAIL."""
    wrong = flaky(told={"X": [Told(3.5, Claim("ok", "", 1, ("a", "b"), "done:x:3"))]})
    assert lived(wrong).is_settled()
    assert lived(wrong, flaky()).settle().verdict == "FAIL"


def test_lives_that_prove_nothing_are_infra() -> None:
    """Two such lives are enough; one that proves something counts alone."""
    nothing = flaky(infra="start: no room")
    assert not lived(nothing).is_settled()
    assert lived(nothing, nothing).settle().verdict == "INFRA"
    assert lived(nothing, flaky()).settle().verdict == "PASS"


def test_an_adapter_must_die_three_times_to_fail() -> None:
    """An adapter that dies after a fault in three of three lives fails P8; in fewer it proves nothing."""
    dead = flaky(gone="claim: exit 1")
    assert not lived(dead, dead).is_settled()
    assert list(lived(dead, dead, dead).settle().found) == ["P8"]
    assert lived(dead, dead, flaky()).settle().verdict == "INFRA"


# --- between cells ---


def crashed(name: str, cause: str, starts: int = 1) -> view.View:
    """A view of a job that failed with `cause`."""
    lines = [line("j0123abcd", n, "start", n, pid=4000 + n) for n in range(1, starts + 1)]
    told = {"X": [Told(9.0, Claim("failed", cause))]}
    record = Record(name, Clock.begun(0.0), {"X": "j0123abcd"}, lines, told)
    return view.View(Cell(name, (name.split("/", maxsplit=1)[0],)), declared(), record)


def test_causes_are_compared_without_what_differs_from_run_to_run() -> None:
    """Pids, long numbers, addresses, job ids and paths are no difference; 139 is one."""
    views = {
        name: crashed(name, cause)
        for name, cause in (
            ("segv/none", "j0123abcd: worker 4001 at 0x7ffe died, see /var/log/a"),
            ("abrt/none", "j0123abcd: worker 12345 at 0x1 died, see /tmp/b"),
            ("exit139/none", "exit 139"),
            ("exit0/none", "exit 0"),
        )
    }
    reasons = [reason.text for _, reason in across.judge(views)["P9"] if reason]
    assert len(reasons) == 1
    assert "segv and abrt" in reasons[0]


def test_only_the_numbers_of_an_end_tell_it_from_another() -> None:
    """A signal's number and a status do, also where a pid is the same number; workers and counters have none."""
    told = {
        "segv/none": "signal 11, job 1",
        "abrt/none": "signal 6, job 2",
        "kill/none": "worker 3 died",
        "term/none": "worker 5 died",
        "exit139/none": "exit 139",
        "exit0/none": "exit 0",
        "mixed": "signal 11, job 9",
    }
    views = {name: crashed(name, cause) for name, cause in told.items()}
    views["mixed"] = msgspec.structs.replace(views["mixed"], cell=Cell("mixed", ("segv",)))
    for name in ("exit139/none", "exit0/none"):
        views[name].record.lines = [msgspec.structs.replace(one, pid=139) for one in views[name].record.lines]
    reasons = [reason.text for _, reason in across.judge(views)["P9"] if reason]
    assert reasons == ["one cause for kill and term: 'worker # died'"]


def test_one_crash_in_three_guises_starts_equally_often() -> None:
    """SEGV, SEGV under a handler and 139 through a shell are one crash."""
    names = ("segv/max3", "handled/max3", "sh139/max3")
    views = {name: crashed(name, "c", starts=3) for name in names}
    assert [reason for _, reason in across.judge(views)["P20"]] == [None]
    views["sh139/max3"] = crashed("sh139/max3", "c", starts=1)
    assert [bool(reason) for _, reason in across.judge(views)["P20"]] == [True]


# --- what is asked ---


def test_every_property_has_cells() -> None:
    """For an engine that declares everything each property is decided by some cell, those of innocents by three."""
    whole = declared()
    deciding = {name: [c for c in cells(whole) if name in check.decides(c, whole)] for name in properties.ORDER}
    assert [name for name, found in deciding.items() if not found] == []
    assert len(deciding["P21"]) == 3
    assert len({one.name for one in cells(whole)}) == len(cells(whole)) == 40


def test_what_is_not_declared_is_not_asked() -> None:
    """Without capabilities there is no policy, no limit, no cancel and no kill; `ok` is always first."""
    plain = declared(caps=[])
    assert cells(plain)[0].name == "ok"
    assert {c.policy for c in cells(plain)} == {Policy()}
    assert not [c for c in cells(plain) if c.cancel or c.durable or c.hangs]


def test_a_selection_keeps_ok_and_what_was_asked() -> None:
    """Properties, faults, policies and cells select; what can't be had is left out."""
    whole = declared()

    def names(asked: Asked, why_no_oom: str = "") -> list[str]:
        return [one.name for one in check.choose(whole, asked, why_no_oom)]

    assert names(Asked(properties=("P4",))) == ["ok", "flaky-segv", "flaky-abrt"]
    assert names(Asked(faults=("sh139",))) == ["ok", "sh139/max3"]
    assert names(Asked(faults=("kill",), policy="none")) == ["ok", "kill/none"]
    assert names(Asked(shots={"double_free": "abrt"})) == ["ok", "double_free/none", "double_free/max3"]
    assert not [name for name in names(Asked(), "not allowed") if "oom" in name]


def test_skips_say_why() -> None:
    """A property that was not declared, or that nobody asked for, is SKIP with its reason, and never PASS."""
    found = check.conclude("e", declared(caps=[]), [], Asked(), known={})
    assert found.properties["P4"] == check.Decided("SKIP", "not declared: RETRY")
    assert found.properties["P1"] == check.Decided("SKIP", "no cell that was asked for decides it")


@pytest.mark.parametrize(
    ("known", "cause", "verdict", "stale"),
    [({}, 1, "FAIL", ()), ({"P16": "since 1.0"}, 1, "PASS", ()), ({"P16": "since 1.0"}, 3, "FAIL", ("P16",))],
)
def test_a_known_failure_is_expected_to_fail(
    known: dict[str, str], cause: int, verdict: str, stale: tuple[str, ...]
) -> None:
    """What is known to fail stays among the fails and is no FAIL; once it passes, it is to be deleted."""
    record = flaky(told={"X": [Told(3.5, Claim("ok", "", cause, ("a", "b"), "done:x:3"))]})
    found = check.conclude("e", declared(), [lived(record).settle()], Asked(), known=known)
    assert (found.verdict, found.stale) == (verdict, stale)
    assert ("P16" in found.fails) == (cause == 1)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("double_free", "abrt"),
        ("killed", "kill"),
        ("terminated", "term"),
        ("broken_pipe", "segv"),
        ("shell_status", "exit139"),
    ],
)
def test_a_fault_by_name_has_the_class_of_its_end(fault: str, kind: str) -> None:
    """ABRT is abrt, KILL kill, TERM term, other signals segv, a status n exitN."""
    assert kind_of(fault) == kind


@pytest.mark.parametrize("fault", ["use_after_free_small", "hang", "never", "memory_fill", "nul_read"])
def test_a_fault_that_ends_nothing_is_refused(fault: str) -> None:
    """Silent faults, hangs and controls, and those that need what no worker gives, are refused in words."""
    with pytest.raises(InvalidInputError, match=r"fault"):
        kind_of(fault)


def test_long_words_of_an_engine_are_cut_off_where_one_can_see_it() -> None:
    """A reason has 80 characters of them at most, and an ellipsis where there are more."""
    assert view.short("x" * 80) == "x" * 80
    assert view.short("x" * 81) == "x" * 79 + "…"
