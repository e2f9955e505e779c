"""The gate's teeth: it kills every mutant of the built-in tables but those that no evidence and no request can tell."""

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from mutants import Mutant, mutants

from harness.dialects import BUILT_IN, find
from harness.dialects.protocol import Dialect
from harness.dialects.strict import LOADER_TEXT
from harness.evidence import EndedBy, Evidence, Exited, FaultRecord, Memory, Signaled, Witness
from harness.exceptions import HarnessError, JudgeError
from harness.gate.check import check_tables
from harness.gate.deaths import HANDLER, HEAP_TEXTS
from harness.gate.questions import BROUGHT, policy
from harness.gate.tables import Coded, Reply, Tables, ask_all, ask_fixed_again, stored
from harness.scenarios.verdict import Verdict
from harness.wire.codes import CODES, Code
from harness.wire.errors import TaskError, internal
from harness.wire.request import Request, RunSettings
from harness.wire.schema import Schema
from harness.wire.stored import sanitize

ENDINGS = ("max-duration", "cancelled", "cleanup")
OTHER_SIGNALS = ("killed", "sigterm", "sent-segv", "sent-signal")


def swaps(*names: str) -> set[str]:
    """Names of the swaps of every two rules, in the order of the table."""
    return {f"rules {one} and {two} swapped" for n, one in enumerate(names) for two in names[n + 1 :]}


# Mutants that are the program itself, and why. What is not in here must be killed; what is in here must not be.
EQUIVALENT: dict[str, set[str]] = {
    "The last rule of a table always holds as it is.": {"rule unexpected-exit always", "rule exit-status always"},
    """A fault that did not fire says so in its witness, and is then neither done, silent nor absent: no evidence meets
    both rules, and they are neighbours.""": swaps("did-not-fire", "completed"),
    """Evidence names one reason for its end, and each of these rules asks for another; between them are only others of
    them.""": swaps(*ENDINGS),
    "Only an exit is completed, only a signal is an OOM kill, and they are neighbours.": swaps(
        "completed", "oom-kill-or-asked"
    ),
    """A SIGKILL with a count and any intent was answered by oom-kill-or-asked before: what reaches oom-kill ended by
    itself, and these rules want an intent.""": {f"rules oom-kill and {one} swapped" for one in ENDINGS},
    """One signal each (sent-signal: any crash signal but SIGSEGV), and all that is between two of them is others of
    them.""": swaps(*OTHER_SIGNALS) | swaps("sigsegv", "crash-signal"),
    """A process was ended by a signal or left with a status, never both; and these rules ask for different statuses.
    """: swaps("other-signal", "loader-refused", "wrapped-oom-kill", "wrapped-signal"),
    """The words are asked for by unexpected-exit alone, and a death by SIGTERM was answered by rule sigterm before; a
    message names no other signal than the one that ended it.""": {
        "SHOWN_CAUSES without TASK_PROCESS_SIGTERM",
        "SHOWN_CAUSES: TASK_PROCESS_SIGTERM altered",
    },
    "Both signals have the same code.": {"search for SIGKILL and SIGABRT swapped"},
    "A stack is split at line feeds first: no line begins with one.": {"white space U+000A dropped"},
    "A cancelled run's code is none of those that are out of memory, so no request meets both steps.": {
        "steps _cancel and _answer_oom swapped"
    },
    "A delay is a double, and none lies between 2^53 and 2^53 + 2: more than 2^53 is more than 2^53 + 1.": {
        "EXACT_INTEGERS +1"
    },
}
ARGUED = {name for names in EQUIVALENT.values() for name in names}
MUTANTS = mutants()


@cache
def recorded(dialect: str) -> Tables:
    """What a baseline has of the unchanged program."""
    return ask_all(find(dialect))


def survives(one: Mutant, dialect: str) -> bool:
    """Whether the gate takes the mutant for the program."""
    before = recorded(dialect)
    with pytest.MonkeyPatch.context() as patch:
        one.apply(patch)
        if is_caught_at_once(before, find(dialect)):
            return False
        is_argued = one.name in ARGUED or one.name in unseen_bits(dialect)
        return is_argued or check_tables(before, find(dialect)).judgement.verdict is Verdict.PASS


def is_caught_at_once(before: Tables, now: Dialect) -> bool:
    """Whether a fixed question tells them apart: asked one by one, and no further than to the first that does."""
    rows: tuple[Coded | Reply, ...] = (*before.codes, *before.classified, *before.decided)
    try:
        return any(one != ask_fixed_again(now, one) for one in rows) or tuple(stored()) != before.stored
    except JudgeError:
        return True


def unseen_bits(dialect: str) -> set[str]:
    """Mutants of bits that no decision shows, in this dialect.

    A code that is never retried does not get as far as the look-up; a cancelled run is cancelled before either bit is
    asked, and upstream's second engine decides an OOM before too; the first engine looks up no policy by the code.
    """
    rows = {code: find(dialect).row(code) for code in Code}
    hidden = {code for code, row in rows.items() if dialect == "upstream-v1" or (row and not row.retriable)}
    earlier = {Code.TASK_RUN_CANCELLED}
    if dialect.startswith("upstream-4"):
        earlier.add(Code.TASK_PROCESS_OOM_KILLED)
    never = {*(f"{code}: retriable flipped" for code in earlier), *(f"{code}: look-up flipped" for code in hidden)}
    if dialect == "upstream-v1":
        never |= {"history: retriable but never looked up", "history: a schema failure of the payload retried"}
    return never


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("dialect", list(BUILT_IN))
def test_every_mutant_is_killed(dialect: str) -> None:
    """Each bit, rule, step, word and limit changed, one at a time, in each dialect: only equivalent mutants survive."""
    tried = [one for one in MUTANTS if dialect in one.dialects]
    survivors = [one.name for one in tried if survives(one, dialect)]
    argued = ARGUED | unseen_bits(dialect)
    assert [name for name in survivors if name not in argued] == []
    assert set(survivors) == {one.name for one in tried if one.name in argued}, "argued away, and yet killed"


@pytest.mark.long
def test_the_unchanged_program_passes() -> None:
    """The gate does not kill what is no mutant."""
    for dialect in BUILT_IN:
        assert check_tables(recorded(dialect), find(dialect)).judgement.reasons == ()


def test_the_mutants_are_all_there() -> None:
    """Two bits a code and dialect, every rule, and each of the eight old bugs."""
    names = [one.name for one in MUTANTS]
    assert sum("flipped" in name for name in names) == 2 * len(CODES) * len(BUILT_IN)
    assert {f"{code}: retriable flipped" for code in Code} <= set(names)
    bugs = (
        "settings looked up but never reached",
        "retriable but never looked up",
        "TASK_PROCESS_SIGTERM not retried",
        "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE not retried",
        "a retry sent to a dead process",
        "an uncaught exception that hangs until max duration",
        "requeues eating the retry budget",
        "delays ignored",
        "a schema failure of the payload retried",
    )
    assert {f"history: {bug}" for bug in bugs} <= set(names)
    assert set(names) >= ARGUED


# --- equivalent mutants, tried on what nobody thought of ---


def evidence(draw: random.Random) -> Evidence:
    """Any evidence."""
    signals = ("SIGSEGV", "SIGABRT", "SIGKILL", "SIGTERM", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGHUP")
    signal = draw.choice(signals)
    codes = ("SEGV_MAPERR", "SEGV_ACCERR", "SI_USER", "SI_QUEUE", "SI_TKILL", "SI_KERNEL", "BUS_ADRERR")
    fault = FaultRecord(signal, draw.choice(codes), draw.choice([None, 0, 1 << 16, 1 << 40]), stack_pointer=1 << 40)
    memory = Memory(
        limit_bytes=1 << 26,
        limited_by=draw.choice(["cgroup", "rlimit"]),
        peak_cgroup_bytes=draw.choice([None, 1 << 20, 1 << 26]),
        oom_kills=draw.choice([None, 0, 1]),
        allocation_failures=draw.choice([None, 0, 1]),
    )
    left = Exited(draw.choice([0, 1, 12, 127, 127, *range(128, 144), 255]))
    return Evidence(
        Signaled(signal) if draw.random() < 0.5 else left,
        ended_by=draw.choice([EndedBy.SELF, *EndedBy]),
        witness=draw.choice([None, None, *Witness]),
        faults=draw.choice([(), (fault,)]),
        memory=draw.choice([Memory(), memory]),
        stderr=draw.choice(["", "", HANDLER, *HEAP_TEXTS, LOADER_TEXT, "SIGTERM"]),
    )


def request(draw: random.Random) -> Request:
    """Any request."""
    words = ("SIGTERM", "SIGSEGV", "SIGKILL", "SIGABRT", "-1", "code 1")
    error = internal(draw.choice(list(Code)), " ".join(draw.choices(words, k=3)), draw.choice(["", *HEAP_TEXTS]))
    machine = draw.choice(["micro", "small-1x"])
    stored = draw.choice([None, {}, policy(), policy(outOfMemory={"machine": "small-1x"}, minTimeoutInMs=2**53)])
    run = RunSettings(draw.choice([None, 1, 3, 300]), stored, machine)
    attempt = draw.choice([None, 1, 2, 3, 250, 251])
    return Request(error, attempt, draw.choice([None, run, run]), draw.choice([None, BROUGHT]), random=draw.random())


def answers(dialect: str, evidences: list[Evidence], requests: list[Request]) -> Iterator[Any]:
    """What the program makes of them."""
    judge = find(dialect)
    for one in evidences:
        yield judge.classify(one)
    for asked in requests:
        try:
            yield judge.decide(asked)
        except HarnessError as error:
            yield str(error)


def stack(draw: random.Random) -> TaskError:
    """Any stack trace of too many frames, with white space wherever."""
    lines = ["".join(draw.choices("\n\t\r \u00a0", k=3)) + f"at f{number}" for number in range(60)]
    return internal(Code.TASK_RUN_CRASHED, None, "\n".join(lines))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("dialect", list(BUILT_IN))
def test_equivalent_mutants_can_not_be_told(dialect: str) -> None:
    """Thousands of random questions get the same answers from the program and from each mutant that is argued away."""
    draw = random.Random(6)
    evidences, requests = [evidence(draw) for _ in range(4000)], [request(draw) for _ in range(2000)]
    stacks = [stack(draw) for _ in range(50)]
    waits = [2**53 + draw.randint(-8, 8) for _ in range(200)]
    policies = [policy(minTimeoutInMs=wait, maxTimeoutInMs=2**60) for wait in waits]
    requests += [Request(internal(Code.TASK_PROCESS_SIGTERM), 1, RunSettings(9, one, "micro")) for one in policies]

    def told() -> list[Any]:
        return [*answers(dialect, evidences, requests), *(sanitize(one, Schema()) for one in stacks)]

    expected = told()
    for one in MUTANTS:
        if one.name in ARGUED and dialect in one.dialects:
            with pytest.MonkeyPatch.context() as patch:
                one.apply(patch)
                assert told() == expected, one.name


def test_the_random_questions_can_tell() -> None:
    """They notice every rule of the strict table that is dropped, so their agreement says something."""
    draw = random.Random(6)
    evidences = [evidence(draw) for _ in range(4000)]
    expected = list(answers("strict", evidences, []))
    for one in [one for one in MUTANTS if one.name.endswith("dropped") and one.name.startswith("rule ")]:
        if "strict" in one.dialects and one.name != "rule exit-status dropped":
            with pytest.MonkeyPatch.context() as patch:
                one.apply(patch)
                assert list(answers("strict", evidences, [])) != expected, one.name
