"""The catalogue against reality: every row dies as it says it does."""

import platform
import re
import sys

import msgspec
import pytest

from harness import NotArmed, victim
from harness.capabilities import why_not
from harness.catalogue import Fault, catalogue, check_parameters, find
from harness.evidence import EndedBy, Evidence, Exited, FaultRecord, Signaled, Witness, spelling
from harness.exceptions import InvalidInputError
from harness.supervisor import Limits, Shot, supervise

FAULTS = list(catalogue().values())
DOSED = [fault for fault in FAULTS if "dosed" in fault.tiers]
WILD = [fault for fault in FAULTS if "wild" in fault.tiers]
MIB = 1 << 20
LIMITS = Limits(memory_bytes=64 * MIB, data_bytes=56 * MIB)
CGROUP = Limits(memory_bytes=64 * MIB, memory_by="cgroup")


def limits_for(fault: Fault) -> Limits:
    """Memory faults get a limit, others none."""
    if "memory_cgroup" in fault.needs:
        return CGROUP
    return LIMITS if "memory_limit" in fault.needs else Limits()


def address_class(record: FaultRecord) -> str:
    """The word that a row's `expects` uses for an address."""
    if record.address is None:
        return "self"
    if record.address < 0x10000:
        return "null"
    if record.address == record.program_counter:
        return "code"
    near = record.stack_pointer is not None and abs(record.address - record.stack_pointer) < 0x10000
    return "stack" if near else "wild"


def seen(evidence: Evidence) -> str:
    """Evidence in the words of `expects`."""
    if evidence.fault is not None:
        return f"{evidence.termination} {evidence.fault.code} {address_class(evidence.fault)}"
    if evidence.ended_by is EndedBy.DEADLINE:
        return f"{evidence.termination} by the deadline"
    if evidence.memory.oom_kills:
        return f"{evidence.termination} by the OOM killer"
    return "done" if evidence.witness is Witness.DONE else spelling(evidence)


def ids(faults: list[Fault]) -> list[str]:
    """Readable test ids."""
    return [fault.name for fault in faults]


@pytest.mark.parametrize("fault", FAULTS, ids=ids(FAULTS))
def test_a_forced_fault_ends_as_its_row_says(fault: Fault) -> None:
    """Termination, si_code and address class, by the victim's own record; a row without a code leaves no record."""
    if reason := why_not(fault.needs):
        pytest.skip(reason)
    deadline_s = 0.5 if fault.kind == "hang" else 60
    evidence = supervise(Shot(fault.name), limits_for(fault), deadline_s, grace_s=0.2)
    assert seen(evidence) in fault.expects


@pytest.mark.parametrize("fault", DOSED, ids=ids(DOSED))
def test_a_safe_shot_does_no_harm(fault: Fault) -> None:
    """The same work in the harmless order ends, and says that it is done."""
    evidence = supervise(Shot(fault.name, "safe"), limits_for(fault), 60)
    assert (evidence.termination, evidence.witness) == (Exited(0), Witness.DONE)


@pytest.mark.parametrize("fault", WILD, ids=ids(WILD))
def test_a_wild_shot_ends_in_one_of_two_ways(fault: Fault) -> None:
    """Either the defect took effect, and dies as the row says, or the work is done."""
    for _ in range(5):
        evidence = supervise(Shot(fault.name, "wild"), limits_for(fault), 60)
        assert evidence.witness is Witness.DONE or seen(evidence) in fault.expects


def test_did_not_fire_is_neither_success_nor_crash() -> None:
    """The control exits 0, and the witness says what that is worth."""
    evidence = supervise(Shot("did_not_fire"), deadline_s=30)
    assert evidence.termination == Exited(0)
    assert spelling(evidence) == "did not fire"


@pytest.mark.parametrize("fault", FAULTS, ids=ids(FAULTS))
def test_an_unarmed_process_refuses(fault: Fault) -> None:
    """A shot in a process that nobody supervises raises NotArmed, and nothing crashes. Run in a child all the same."""
    program = f"""
from harness import NotArmed, victim
try:
    victim.fire({fault.name!r})
except NotArmed as error:
    print(error)
"""
    evidence = supervise([sys.executable, "-c", program], Limits(memory_bytes=512 * MIB), 60)
    assert evidence.termination == Exited(0), evidence.stderr
    assert "not a victim" in evidence.stdout


def test_not_armed_is_public() -> None:
    """Users catch it by its public name."""
    assert issubclass(NotArmed, Exception)
    with pytest.raises(InvalidInputError, match="mode"):
        victim.fire("never", "gently")


def test_a_signal_from_outside_is_recorded_as_sent() -> None:
    """A box whose process was killed with a crash signal names the sender instead of an address."""
    evidence = supervise(Shot("abort"), deadline_s=30)
    assert evidence.fault is not None
    assert (evidence.fault.code, evidence.fault.address) == ("SI_TKILL", None)
    assert evidence.fault.sender is not None


@pytest.mark.parametrize("fault", FAULTS, ids=ids(FAULTS))
def test_a_row_is_well_formed(fault: Fault) -> None:
    """Snake case, one sentence, known words, defaults within ranges."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", fault.name)
    assert fault.mechanism.endswith(".")
    assert fault.kind in {"deterministic", "racy", "hang", "silent", "exit", "control"}
    assert fault.tiers
    assert set(fault.tiers) <= {"forced", "dosed", "wild"}
    assert set(fault.needs) <= {"memory_limit", "memory_cgroup", "empty_hugetlb", "x86_64", "glibc"}
    assert all(dial.low <= dial.initial <= dial.high and dial.unit for dial in fault.parameters)


def test_names_are_unique() -> None:
    """The catalogue by name has as many rows as the extension."""
    evidence = supervise(victim.command_line("--catalogue"), deadline_s=60)
    assert len(msgspec.json.decode(evidence.stdout)) == len(FAULTS)


def test_an_unknown_fault_names_its_neighbour() -> None:
    """A typing mistake is answered with the nearest name."""
    with pytest.raises(InvalidInputError, match="did you mean 'null_read'"):
        find("nul_read")


def test_parameters_are_checked() -> None:
    """Unknown names and values out of range say what was expected."""
    fault = find("null_read")
    with pytest.raises(InvalidInputError, match="expected 0 to 4095 bytes, not 4096"):
        check_parameters(fault, {"offset": 4096})
    with pytest.raises(InvalidInputError, match="no such parameter"):
        check_parameters(fault, {"ofset": 1})


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_the_allocators_own_words_are_kept() -> None:
    """What glibc prints before it aborts is in the evidence."""
    evidence = supervise(Shot("double_free"), deadline_s=30)
    assert evidence.termination == Signaled("SIGABRT")
    assert "double free" in evidence.stderr
