"""What a chain of crash signals says about a death, and how evidence from before there were chains is read."""

import msgspec
import pytest

from harness.dialects import find
from harness.evidence import EndedBy, Evidence, Exited, FaultRecord, Signaled, Termination, signature

NULL = FaultRecord("SIGSEGV", "SEGV_MAPERR", 0, 7, module="libboom.so", offset=0x116E)
CAUGHT = FaultRecord("SIGSEGV", "SEGV_ACCERR", 4096, 7, returned=True)
PROBE = FaultRecord("SIGILL", "ILL_ILLOPN", 4096, 7, left=True)
ABORT = FaultRecord("SIGABRT", "SI_TKILL", thread=7, sender=7)
RAISED = FaultRecord("SIGSEGV", "SI_TKILL", thread=7, sender=7)
UNSERVED = FaultRecord("SIGSEGV", None, 0, 7, source="perf")

CAUSES = {
    "a null pointer": (Signaled("SIGSEGV"), (NULL,), NULL),
    "a runtime that reports and aborts": (Signaled("SIGABRT"), (NULL, CAUGHT, CAUGHT, ABORT), NULL),
    "a handler that raises again": (Signaled("SIGSEGV"), (NULL, RAISED), NULL),
    "null checks that were caught before": (Signaled("SIGSEGV"), (CAUGHT, PROBE, NULL), NULL),
    "an abort after null checks": (Signaled("SIGABRT"), (CAUGHT, PROBE, ABORT), ABORT),
    "the second fault follows from the first": (
        Signaled("SIGBUS"),
        (NULL, FaultRecord("SIGBUS", "BUS_ADRERR", 1)),
        NULL,
    ),
    "only caught ones": (Signaled("SIGSEGV"), (CAUGHT, PROBE), None),
    "another signal than was recorded": (Signaled("SIGBUS"), (ABORT,), None),
    "a reporter that hung": (Signaled("SIGKILL"), (NULL,), NULL),
    "seen by perf": (Signaled("SIGSEGV"), (UNSERVED, RAISED), UNSERVED),
    "nobody saw anything": (Signaled("SIGSEGV"), (), None),
    "it left by itself": (Exited(2), (NULL,), None),
}


@pytest.mark.parametrize(("end", "faults", "expected"), CAUSES.values(), ids=CAUSES.keys())
def test_the_cause_is_the_first_fault_that_was_not_survived(
    end: Termination, faults: tuple[FaultRecord, ...], expected: FaultRecord | None
) -> None:
    """A report of a fault, and faults of the reporter, are not what it died of."""
    assert Evidence(end, faults=faults).fault == expected


def test_a_line_from_before_the_chain_is_read() -> None:
    """Its one record, under `fault`, is a chain of one; what is written from it is a line of today."""
    record = b'{"signal":"SIGSEGV","code":"SEGV_MAPERR","address":0}'
    line = b'{"termination":{"kind":"signaled","signal":"SIGSEGV"},"fault":%b}' % record
    read = msgspec.json.decode(line, type=Evidence)
    assert read == Evidence(Signaled("SIGSEGV"), faults=(FaultRecord("SIGSEGV", "SEGV_MAPERR", 0),))
    assert find("strict").classify(read).cause == "null_dereference"
    written = msgspec.json.encode(read)
    assert b'"fault":' not in written
    assert msgspec.json.decode(written, type=Evidence) == read


def test_a_chain_is_written_and_read_again() -> None:
    """Nothing is lost on the way, and more than eight are refused."""
    evidence = Evidence(Signaled("SIGABRT"), faults=(NULL, CAUGHT, ABORT))
    assert msgspec.json.decode(msgspec.json.encode(evidence), type=Evidence) == evidence
    with pytest.raises(msgspec.ValidationError, match="<= 8"):
        msgspec.convert(
            {"termination": {"kind": "exited", "status": 0}, "faults": [{"signal": "SIGSEGV"}] * 9}, Evidence
        )


def test_what_perf_saw_is_classified_without_a_code() -> None:
    """It knows the address, and that the kernel could not serve it."""
    evidence = Evidence(Signaled("SIGSEGV"), faults=(UNSERVED,))
    assert find("strict").classify(evidence).cause == "null_dereference"
    assert signature(evidence) == "SIGSEGV unknown null"


def test_a_signature_names_the_fault_of_a_crash_only() -> None:
    """A victim that was killed while it reported a fault ended by the deadline."""
    hung = msgspec.structs.replace(Evidence(Signaled("SIGKILL"), faults=(NULL,)), ended_by=EndedBy.DEADLINE)
    assert signature(hung) == "SIGKILL by the deadline"
    assert signature(Evidence(Signaled("SIGABRT"), faults=(NULL, ABORT))) == "SIGABRT SEGV_MAPERR null"
