"""The gate's teeth against anybody's judge: defects that are put around a real one, from outside its tables."""

import sys
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from typing import Any

import msgspec
import pytest

from harness.dialects import DEFAULT, find
from harness.dialects.custom import opened
from harness.dialects.protocol import Classification, Derived, Dialect
from harness.evidence import EndedBy, Evidence, Exited, Signaled
from harness.gate.check import check_tables
from harness.gate.deaths import VARIED
from harness.gate.sampling import COUNT, Draws, questions
from harness.gate.tables import Tables, ask_again, ask_all, ask_fixed, digest
from harness.scenarios.verdict import Judgement, Verdict
from harness.wire.codes import Code
from harness.wire.errors import internal
from harness.wire.request import Branch, Decision, Outcome, Request

BASE = "strict"
WRONG = Classification(internal(Code.UNSPECIFIED_ERROR), "wrong", "wrong")
REFUSAL = Decision(outcome=Outcome.FAIL_RUN, branch=Branch.NOT_RETRIABLE)


class Defective(Derived):
    """The real dialect, but for the evidence or the requests that a defect holds for."""

    def __init__(self, wrong: Callable[[Any], bool], kind: type[Evidence | Request]) -> None:
        super().__init__(BASE, find(BASE))
        self._wrong, self._kind = wrong, kind

    def classify(self, evidence: Evidence) -> Classification:
        """Answer wrongly where the defect is about this evidence."""
        is_wrong = self._kind is Evidence and self._wrong(evidence)
        return WRONG if is_wrong else self.parent.classify(evidence)

    def decide(self, request: Request) -> Decision:
        """Refuse where the defect is about this request."""
        is_wrong = self._kind is Request and self._wrong(request)
        return REFUSAL if is_wrong else self.parent.decide(request)


def _status(evidence: Evidence) -> int | None:
    return evidence.termination.status if isinstance(evidence.termination, Exited) else None


def _signal(evidence: Evidence) -> str | None:
    return evidence.termination.signal if isinstance(evidence.termination, Signaled) else None


def _run(request: Request, member: str) -> Any:
    return getattr(request.run, member) if request.run else None


def _stored(request: Request, member: str) -> Any:
    stored = _run(request, "locked_retry_config")
    return stored.get(member) if isinstance(stored, dict) else None


EVIDENCE: dict[str, Callable[[Evidence], bool]] = {
    "status 77": lambda e: _status(e) == 77,
    "statuses above 200": lambda e: (_status(e) or 0) > 200,
    "status 143 as SIGTERM": lambda e: _status(e) == 143,
    "SIGSTKFLT": lambda e: _signal(e) == "SIGSTKFLT",
    "a real-time signal": lambda e: _signal(e) == "SIG42",
    "a core was dumped": lambda e: isinstance(e.termination, Signaled) and e.termination.core_dumped,
    "the victim left survivors": lambda e: e.survivors > 0,
    "a second OOM kill": lambda e: (e.memory.oom_kills or 0) > 1,
    "many refused allocations": lambda e: (e.memory.allocation_failures or 0) > 100,
    "stdout speaks of memory": lambda e: "heap" in e.stdout,
    "a long life": lambda e: (e.duration_s or 0) > 3600,
    "much CPU": lambda e: (e.cpu_s or 0) > 3600,
    "a large peak": lambda e: (e.memory.peak_rss_bytes or 0) >= 1 << 20,
    "the box was off": lambda e: e.black_box == "off",
    "a warm start": lambda e: e.start == "warm",
    "the native host": lambda e: e.host == "native",
    "a group's child": lambda e: e.group is not None,
    "a backtrace": lambda e: e.backtrace is not None and e.backtrace.startswith("#0"),
    "no namespace": lambda e: e.containment == "none",
    "a deadline below a second": lambda e: e.deadline_s is not None and e.deadline_s < 1,
    "max duration and SIGSEGV": lambda e: e.ended_by is EndedBy.MAX_DURATION and _signal(e) == "SIGSEGV",
}
REQUESTS: dict[str, Callable[[Request], bool]] = {
    "attempt 37": lambda r: r.attempt == 37,
    "attempts from 200 on": lambda r: (r.attempt or 0) >= 200,
    "a factor of 1": lambda r: _stored(r, "factor") == 1,
    "a factor above 5": lambda r: isinstance(_stored(r, "factor"), int | float) and _stored(r, "factor") > 5,
    "the largest machine to the smallest": lambda r: (
        _run(r, "machine_preset") == "large-2x" and _stored(r, "outOfMemory") == {"machine": "micro"}
    ),
    "a clock of 0": lambda r: r.now == 0,
    "a clock beyond 2^41": lambda r: r.now > 2**41,
    "a draw of 0": lambda r: r.random == 0,
    "a draw near 1": lambda r: (r.random or 0) > 0.99,
    "the run's attempts and none of the policy's": lambda r: (
        _run(r, "max_attempts") == 3 and _stored(r, "maxAttempts") == 0
    ),
}
DEFECTS = [
    *(pytest.param(wrong, Evidence, id=name) for name, wrong in EVIDENCE.items()),
    *(pytest.param(wrong, Request, id=name) for name, wrong in REQUESTS.items()),
]


@cache
def recorded() -> Tables:
    """What a baseline has of the dialect itself."""
    return ask_all(find(BASE))


def judged(judge: Dialect) -> Judgement:
    """What the gate says of a judge that stands in for the recorded dialect."""
    return check_tables(recorded(), judge).judgement


def is_caught(judge: Dialect) -> bool:
    """Whether a baseline tells the judge from the recorded dialect; the fixed questions first, which are cheaper."""
    fixed = msgspec.structs.replace(ask_fixed(judge), sampled=recorded().sampled)
    return fixed != recorded() or ask_all(judge) != recorded()


@pytest.mark.slow
@pytest.mark.parametrize(("wrong", "kind"), DEFECTS)
def test_a_defect_around_the_real_judge_is_found(wrong: Callable[[Any], bool], kind: type[Evidence | Request]) -> None:
    """Whatever single condition a judge gets wrong."""
    assert is_caught(Defective(wrong, kind))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("salt", range(5))
def test_one_wrong_answer_in_five_hundred_is_named(salt: int) -> None:
    """A judge that is wrong on questions picked by chance is red, and the gate gives the very questions."""

    def wrong(question: Any) -> bool:
        seed = f"{salt}{msgspec.json.encode(question)!r}".encode()
        return int.from_bytes(blake2b(seed, digest_size=4).digest(), "big") % 500 == 0

    found = judged(Defective(wrong, Evidence))
    assert found.verdict is Verdict.FAIL
    named = [reason for reason in found.reasons if reason.startswith("drawn evidence ")]
    assert named
    for reason in named:
        assert wrong(msgspec.json.decode(reason.partition(": ")[2], type=Evidence))


class Moody(Derived):
    """Flips one answer in a hundred, by how often it was asked."""

    def __init__(self) -> None:
        super().__init__(BASE, find(BASE))
        self._asked = 0

    def classify(self, evidence: Evidence) -> Classification:
        """Answer, now and then wrongly."""
        self._asked += 1
        return WRONG if self._asked % 101 == 0 else self.parent.classify(evidence)


@pytest.mark.long
@pytest.mark.slow
def test_a_judge_that_flips_is_called_nondeterministic() -> None:
    """Asked again in another order, it answers otherwise."""
    judge = Moody()
    assert ask_again(judge, ask_all(judge))
    assert any(reason.startswith("nondeterministic: ") for reason in judged(Moody()).reasons)


@pytest.mark.long
@pytest.mark.slow
def test_a_port_is_green_against_the_built_in_ones_baseline() -> None:
    """A program that answers the filters' lines as the dialect does, and of which nothing but its answers is known."""
    with opened(f"cmd:{sys.executable} -m harness") as port:
        assert check_tables(ask_all(find(DEFAULT)), port).judgement.reasons == ()


def test_every_member_of_evidence_is_varied() -> None:
    """None is forgotten when evidence grows."""
    assert {*VARIED, "former"} == {field.name for field in msgspec.structs.fields(Evidence)}


def test_the_drawn_questions_are_the_same_everywhere() -> None:
    """By number: a change of the generator is a new GENERATOR, and an old baseline says so."""
    draws = Draws(1)
    assert [draws.below(100) for _ in range(6)] == [13, 84, 76, 25, 49, 44]
    assert questions(200) == questions(COUNT)[:200]
    assert digest(questions(200), 4) == "1f7aba86"
