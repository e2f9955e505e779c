"""Judges of the user's own: believed when they answer, FAIL with the question when they don't, never our crash."""

import os
import shlex
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from harness.campaign import Campaign
from harness.classifier import classify
from harness.codes import Dialect
from harness.evidence import Evidence, Signaled
from harness.exceptions import InvalidInputError, JudgeError
from harness.foreign import foreign
from harness.gate import Verdict
from harness.judge import BuiltIn
from harness.request import Request, RunNotFoundError, RunSettings
from harness.scenario import load, shipped
from harness.supervisor.dialogue import LINE_BYTES, Dialogue, DialogueError

SEGV = Evidence(Signaled("SIGSEGV"))
OURS = BuiltIn(Dialect.STRICT)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Programs are gone with the judge."""
    yield
    assert psutil.Process().children(recursive=True) == []


def ask(kind: str, question: dict[str, Any]) -> Any:
    """Answer as strict does: a judge for the tests."""
    import msgspec  # noqa: PLC0415 -- a user's function brings its own

    if kind == "classify":
        return msgspec.to_builtins(OURS.classify(msgspec.convert(question, Evidence)))
    return msgspec.to_builtins(OURS.decide(msgspec.convert(question, Request)))


def throw(kind: str, _: object) -> Any:
    """Throw."""
    raise ZeroDivisionError(kind)


def babble(*_: object) -> Any:
    """Answer what is no classification."""
    return {"error": 7}


def unspeakable(*_: object) -> Any:
    """Answer what is no JSON."""
    return object()


def no_run(*_: object) -> Any:
    """Raise as upstream does."""
    return {"raises": "Run not found"}


def program(body: str) -> str:
    """Spell a Python program as a judge."""
    return f"cmd:{sys.executable} -c {shlex.quote(body)}"


def request() -> Request:
    """A failed first attempt under strict."""
    error = classify(SEGV, Dialect.STRICT).error
    assert error is not None
    return Request(error, 1, RunSettings(3, {"maxAttempts": 3}, "micro"), random=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        "test_foreign:ask",
        f"cmd:sh -c 'exec {sys.executable} -m harness $0 --dialect strict'",
    ],
)
def test_a_judge_is_believed(spec: str) -> None:
    """A function and a program answer as the dialect that they are."""
    with foreign(spec) as judge:
        assert judge is not None
        assert judge.classify(SEGV) == OURS.classify(SEGV)
        assert judge.decide(request()) == OURS.decide(request())


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("test_foreign:throw", "ZeroDivisionError: classify"),
        ("test_foreign:babble", "answers nonsense"),
        ("test_foreign:unspeakable", "TypeError"),
        (program("print('hello', flush=True)"), "answers nonsense: JSON is malformed"),
        (program("print('{}', flush=True)"), "answers nonsense: Object missing required field"),
        (program("pass"), "ended without an answer: exited 0"),
        (program("import os; os.abort()"), "signal 6"),
        (program("input(); print('[' * 100000, flush=True)"), "answers nonsense"),
        (
            program("import sys; sys.stdin.close(); sys.stdout.write('{'); sys.stdout.flush()"),
            "ended without an answer",
        ),
        (program(f"print('x' * {LINE_BYTES + 10})"), "more than"),
        ("cmd:/no/such/program", "can't be started: No such file"),
    ],
)
def test_a_judge_that_fails_says_on_what(spec: str, reason: str) -> None:
    """JudgeError, with the reason and the question."""
    with foreign(spec) as judge:
        assert judge is not None
        with pytest.raises(JudgeError) as raised:
            judge.classify(SEGV)
    assert reason in str(raised.value)
    assert '"signal":"SIGSEGV"' in str(raised.value)


def test_a_judge_may_raise_as_upstream_does() -> None:
    """A run that is needed and absent; anything else that it raises is its failure."""
    with foreign("test_foreign:no_run") as judge:
        assert judge is not None
        with pytest.raises(RunNotFoundError):
            judge.decide(request())


def test_a_judge_that_hangs_is_given_up() -> None:
    """After its patience, once: later questions are not asked."""
    with Dialogue(["sleep", "60"], patience_s=0.1) as dialogue:
        with pytest.raises(DialogueError, match="no answer within"):
            dialogue.ask(b"{}")
        began = time.monotonic()
        with pytest.raises(DialogueError, match="has failed before"):
            dialogue.ask(b"{}")
        assert time.monotonic() - began < 5


def test_a_talker_and_a_listener_do_not_wait_for_each_other() -> None:
    """A question larger than a pipe, to a program that answers before it has read it."""
    body = "import sys; print('y' * 1000000, end='', flush=True); print(len(sys.stdin.readline()), flush=True)"
    with Dialogue([sys.executable, "-c", body]) as dialogue:
        assert dialogue.ask(b"x" * 1_000_000).endswith(b"1000001")


def test_a_program_keeps_its_state() -> None:
    """One process for all questions of a kind."""
    body = "import sys, os\nfor line in sys.stdin: print(os.getpid(), flush=True)"
    with Dialogue([sys.executable, "-c", body]) as dialogue:
        assert dialogue.ask(b"1") == dialogue.ask(b"2") != str(os.getpid()).encode()


@pytest.mark.slow
def test_a_case_fails_with_its_judge() -> None:
    """The verdict is FAIL, and the reason is the judge's: no INFRA, no traceback."""
    scenario = load(shipped() / "abort.toml")
    with foreign("test_foreign:throw") as judge:
        result = Campaign(Dialect.STRICT, foreign=judge).live(scenario, scenario.case[0])
    assert result.judgement.verdict is Verdict.FAIL
    assert "ZeroDivisionError" in result.judgement.reasons[0]


@pytest.mark.slow
def test_a_good_judge_passes_a_case() -> None:
    """Expectations are the dialect's; answers the judge's."""
    scenario = load(shipped() / "abort.toml")
    with foreign("test_foreign:ask") as judge:
        judged = [
            Campaign(dialect, foreign=judge).live(scenario, scenario.case[0])
            for dialect in (Dialect.STRICT, Dialect.UPSTREAM_4_5)
        ]
    assert [one.judgement.verdict for one in judged] == [Verdict.PASS, Verdict.FAIL]


@pytest.mark.parametrize(
    "spec", ["nonsense", "json:", ":f", "json:no_such", "no.such.module:f", "json:__name__", "cmd:"]
)
def test_a_name_that_means_nothing_is_wrong_use(spec: str) -> None:
    """One line."""
    with pytest.raises(InvalidInputError, match="--classifier"), foreign(spec):
        pass


def test_no_name_is_no_judge() -> None:
    """The dialect is asked."""
    with foreign(None) as judge:
        assert judge is None
