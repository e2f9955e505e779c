"""What two deaths of one fault must have in common, whatever carried it and however it was started."""

from harness.catalogue import catalogue
from harness.evidence import Evidence

NULL_PAGES = 0x10000
FAULTS = [fault for fault in catalogue().values() if fault.kind != "racy"]


def gist(evidence: Evidence) -> tuple[object, ...]:
    """All but times, sizes, thread ids, and addresses that the layout decides."""
    fault = evidence.fault
    near_null = fault and fault.address is not None and fault.address < NULL_PAGES
    record = fault and (fault.signal, fault.code, fault.address if near_null else fault.address is not None)
    return evidence.termination, evidence.ended_by, evidence.witness, record, bool(evidence.memory.oom_kills)
