"""Evidence in, error, rule and cause out: values only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.dialects import BUILT_IN, find
from harness.dialects.builtin import BuiltIn
from harness.evidence import EndedBy, Evidence, Exited, FaultRecord, Memory, Signaled, Termination, Witness
from harness.wire.codes import Code

UPSTREAM = find("upstream-4.5")
STRICT = find("strict")
NULL = FaultRecord("SIGSEGV", "SEGV_MAPERR", 0)
OUTER_OOM = Memory(oom_kills=1, limited_by="cgroup", limit_bytes=64 << 20, peak_cgroup_bytes=32 << 20)


def code(evidence: Evidence, dialect: BuiltIn) -> str | None:
    """Code of the raw error."""
    error = dialect.classify(evidence).error
    return str(error.code) if error else None


def cause(evidence: Evidence) -> str:
    """Cause under strict."""
    return STRICT.classify(evidence).cause


def died(signal: str, **facts: object) -> Evidence:
    """Evidence of a death by signal."""
    return Evidence(Signaled(signal), **facts)  # type: ignore[arg-type]  # facts are Evidence's members


def left(status: int, **facts: object) -> Evidence:
    """Evidence of an exit."""
    return Evidence(Exited(status), **facts)  # type: ignore[arg-type]  # facts are Evidence's members


# The rows of the decision table that one can state as values; the numbers are the table's.
TABLE = {
    "1 clean OOM kill": (died("SIGKILL", memory=Memory(oom_kills=1)), "oom_kill"),
    "2 SIGKILL by someone": (died("SIGKILL", memory=Memory(oom_kills=0)), "killed_sender_unknown"),
    "4 our deadline": (died("SIGKILL", ended_by=EndedBy.DEADLINE), "timeout"),
    "5 asleep in OOM": (
        died("SIGKILL", ended_by=EndedBy.DEADLINE, memory=Memory(oom_kills=0, stuck_in_oom=True)),
        "timeout, stuck in the memory cgroup's OOM",
    ),
    "6 crashed before the kill": (died("SIGSEGV", ended_by=EndedBy.DEADLINE, faults=(NULL,)), "null_dereference"),
    "7 OOM kill and our kill": (
        died("SIGKILL", ended_by=EndedBy.DEADLINE, memory=Memory(oom_kills=1)),
        "ambiguous: OOM kill or deadline",
    ),
    "8 NULL": (died("SIGSEGV", faults=(NULL,)), "null_dereference"),
    "9 NULL after a refusal": (
        died("SIGSEGV", faults=(NULL,), memory=Memory(allocation_failures=1)),
        "segv_after_allocation_failure",
    ),
    "10 NULL near the limit": (
        died("SIGSEGV", faults=(NULL,), memory=Memory(limit_bytes=100, peak_rss_bytes=88, allocation_failures=0)),
        "null_dereference",
    ),
    "12 stack": (
        died("SIGSEGV", faults=(FaultRecord("SIGSEGV", "SEGV_MAPERR", 0x7FFF1000, stack_pointer=0x7FFF1010),)),
        "stack_overflow",
    ),
    "13 helper OOM-killed, exit 0": (
        left(0, memory=Memory(oom_kills=1)),
        "completed, and a helper process was OOM-killed",
    ),
    "14 helper OOM-killed, then NULL": (
        died("SIGSEGV", faults=(NULL,), memory=Memory(oom_kills=1)),
        "null_dereference, and a helper process was OOM-killed",
    ),
    "15 checked malloc": (left(12, memory=Memory(allocation_failures=1)), "exit_status"),
    "16 abort after a refusal": (
        died("SIGABRT", memory=Memory(allocation_failures=1)),
        "abort_after_allocation_failure",
    ),
    "17 SEGV by kill(2)": (
        died("SIGSEGV", faults=(FaultRecord("SIGSEGV", "SI_USER", sender=7),)),
        "signal_was_sent",
    ),
    "17 passed on by a handler": (
        died("SIGSEGV", faults=(FaultRecord("SIGSEGV", "SI_TKILL", sender=7),)),
        "segv_raised_by_itself",
    ),
    "18 SEGV without a record": (died("SIGSEGV"), "segv_without_record"),
    "19 exit 139": (left(139), "exit_139_as_a_shell_reports_SIGSEGV"),
    "20 double free": (died("SIGABRT", faults=(FaultRecord("SIGABRT", "SI_TKILL", sender=7),)), "abort"),
    "21 bus error": (died("SIGBUS", faults=(FaultRecord("SIGBUS", "BUS_ADRERR", 4096),)), "bus_error"),
    "22 OOM from outside": (died("SIGKILL", memory=OUTER_OOM), "oom_kill_from_outside_the_limit"),
    "22 the peak not known": (
        died("SIGKILL", memory=Memory(oom_kills=1, limited_by="cgroup", limit_bytes=64 << 20)),
        "oom_kill",
    ),
}


@pytest.mark.parametrize(("evidence", "expected"), TABLE.values(), ids=TABLE.keys())
def test_strict_names_the_cause(evidence: Evidence, expected: str) -> None:
    """Each row of the decision table comes out as it says, ambiguity included."""
    assert cause(evidence) == expected


STRICT_CODES = [
    (died("SIGKILL", memory=Memory(oom_kills=1)), Code.TASK_PROCESS_OOM_KILLED),
    (died("SIGKILL"), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE),
    (died("SIGKILL", memory=OUTER_OOM), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE),
    (left(137, memory=OUTER_OOM), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE),
    (died("SIGABRT"), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE),
    (died("SIGABRT", stderr="FATAL ERROR: Reached heap limit"), Code.TASK_PROCESS_MAYBE_OOM_KILLED),
    (died("SIGSEGV", memory=Memory(allocation_failures=2)), Code.TASK_PROCESS_MAYBE_OOM_KILLED),
    (died("SIGSEGV", stderr="OOMErrorHandler"), Code.TASK_PROCESS_SIGSEGV),
    (left(139), Code.TASK_PROCESS_SIGSEGV),
    (left(134), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE),
    (left(137), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE),
    (left(137, memory=Memory(oom_kills=1)), Code.TASK_PROCESS_OOM_KILLED),
    (left(0, witness=Witness.ARMED), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE),
    (died("SIGTERM"), Code.TASK_PROCESS_SIGTERM),
    (died("SIGTERM", ended_by=EndedBy.DEADLINE), Code.MAX_DURATION_EXCEEDED),
    (left(1, ended_by=EndedBy.CANCEL), Code.TASK_RUN_CANCELLED),
    (left(1, ended_by=EndedBy.CLEANUP), Code.TASK_EXECUTION_ABORTED),
    (died("SIGFPE", ended_by=EndedBy.CANCEL), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE),
]


@pytest.mark.parametrize(("evidence", "expected"), STRICT_CODES)
def test_strict_says_what_the_evidence_supports(evidence: Evidence, expected: Code) -> None:
    """SIGABRT is no OOM, SIGKILL only by the counter, wrappers are decoded, near-OOM takes the OOM path."""
    assert code(evidence, STRICT) == expected


UPSTREAM_CODES = [
    (died("SIGSEGV"), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE, "segmentation_fault"),
    (died("SIGKILL"), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE, "maybe_oom"),
    (died("SIGABRT"), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE, "maybe_oom"),
    (died("SIGBUS"), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE, "unexpected_exit"),
    (died("SIGTERM"), Code.TASK_PROCESS_SIGTERM, "sigterm"),
    (died("SIGSEGV", stderr="OOMErrorHandler"), Code.TASK_PROCESS_OOM_KILLED, "oom"),
    (left(137), Code.TASK_PROCESS_OOM_KILLED, "oom"),
    (left(139), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE, "unexpected_exit"),
    (left(0, witness=Witness.ARMED), Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE, "unexpected_exit"),
    (died("SIGSEGV", ended_by=EndedBy.DEADLINE), Code.MAX_DURATION_EXCEEDED, "timeout"),
    (died("SIGTERM", ended_by=EndedBy.CANCEL), Code.TASK_RUN_CANCELLED, "cancelled"),
    (died("SIGTERM", ended_by=EndedBy.CLEANUP), Code.TASK_EXECUTION_ABORTED, "cleanup"),
]


@pytest.mark.parametrize(("evidence", "expected", "shown"), UPSTREAM_CODES)
@pytest.mark.parametrize("dialect", [find("upstream-4.4"), find("upstream-4.5")])
def test_upstream_is_reproduced(evidence: Evidence, expected: Code, shown: str, dialect: BuiltIn) -> None:
    """Both upstream dialects classify alike: flags first, then 137, stderr, SIGTERM, and the rest as one."""
    assert code(evidence, dialect) == expected
    assert dialect.classify(evidence).cause == shown


def test_a_signal_death_is_code_minus_one() -> None:
    """Python's -9 would hide an OOM from upstream's test: the message says -1 for every signal."""
    error = UPSTREAM.classify(died("SIGKILL")).error
    assert error is not None
    assert error.message == "Process exited with code -1 after signal SIGKILL."
    assert UPSTREAM.is_oom(error)


def test_success_is_no_error() -> None:
    """Done, or the clean exit of a command of which nothing else is known."""
    for dialect in BUILT_IN.values():
        assert dialect.classify(left(0)).error is None
        assert dialect.classify(left(0, witness=Witness.DONE)).rule == "completed"


def test_a_fault_that_did_not_fire_has_its_own_rule() -> None:
    """It is neither a success nor an error."""
    for dialect in BUILT_IN.values():
        assert dialect.classify(left(0, witness=Witness.DID_NOT_FIRE)).rule == "did-not-fire"


terminations: st.SearchStrategy[Termination] = st.one_of(
    st.integers(0, 255).map(Exited),
    st.sampled_from(["SIGSEGV", "SIGABRT", "SIGKILL", "SIGTERM", "SIGBUS", "SIGFPE", "SIGILL", "SIG40"]).map(Signaled),
)
records = st.builds(
    FaultRecord,
    signal=st.sampled_from(["SIGSEGV", "SIGBUS"]),
    code=st.sampled_from([None, "SEGV_MAPERR", "SEGV_ACCERR", "SI_USER", "SI_KERNEL", "CODE_9"]),
    address=st.none() | st.integers(0, 2**64 - 1),
    stack_pointer=st.none() | st.integers(0, 2**64 - 1),
    returned=st.booleans(),
    left=st.booleans(),
)
evidences = st.builds(
    Evidence,
    termination=terminations,
    ended_by=st.sampled_from(EndedBy),
    witness=st.none() | st.sampled_from(Witness),
    faults=st.lists(records, max_size=8).map(tuple),
    memory=st.builds(
        Memory, oom_kills=st.none() | st.integers(0, 3), allocation_failures=st.none() | st.integers(0, 3)
    ),
    stderr=st.sampled_from(["", "OOMErrorHandler", "Reached heap limit", "SIGTERM"]),
)


@given(evidences, st.sampled_from(list(BUILT_IN.values())))
def test_every_evidence_has_a_classification(evidence: Evidence, dialect: BuiltIn) -> None:
    """The tables are total, and only a success or an unfired fault has no error."""
    found = dialect.classify(evidence)
    assert (found.error is None) == (found.rule in ("completed", "did-not-fire"))
    assert found.cause


@given(evidences)
def test_strict_calls_no_crash_a_timeout(evidence: Evidence) -> None:
    """The wait status outranks the intent."""
    if isinstance(evidence.termination, Signaled) and evidence.termination.signal not in (
        "SIGTERM",
        "SIGKILL",
    ):
        assert code(evidence, STRICT) not in (Code.MAX_DURATION_EXCEEDED, Code.TASK_RUN_CANCELLED)


@pytest.mark.parametrize("dialect", list(BUILT_IN.values()))
def test_rule_names_are_unique(dialect: BuiltIn) -> None:
    """A rule's name says which row answered."""
    names = [rule.name for rule in dialect.rules]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (0, "stack_overflow"),
        (-8, "stack_overflow"),
        (-60_000, "stack_overflow"),
        (-70_000, "wild_pointer"),
        (4096, "wild_pointer"),
    ],
)
def test_a_stack_overflows_downwards(distance: int, expected: str) -> None:
    """An address below the stack pointer is the stack's; a page above it may be anybody's."""
    record = FaultRecord("SIGSEGV", "SEGV_MAPERR", 0x7FFF00000 + distance, stack_pointer=0x7FFF00000)
    assert cause(died("SIGSEGV", faults=(record,))) == expected
