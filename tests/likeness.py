"""What two deaths of one fault must have in common, whatever carried it and however it was started."""

import sys
from functools import cache

from harness.evidence import Evidence
from harness.faults.catalogue import catalogue
from harness.supervisor import supervise

NULL_PAGES = 0x10000
FAULTS = [fault for fault in catalogue().values() if fault.kind != "racy"]


def gist(evidence: Evidence) -> tuple[object, ...]:
    """All but times, sizes, thread ids, and addresses that the layout decides."""
    fault = evidence.fault
    near_null = fault and fault.address is not None and fault.address < NULL_PAGES
    record = fault and (fault.signal, fault.code, fault.address if near_null else fault.address is not None)
    return evidence.termination, evidence.ended_by, evidence.witness, record, bool(evidence.memory.oom_kills)


@cache
def moment_s() -> float:
    """A deadline by which an interpreter has begun its work: half a second, or more on a machine that is slower."""
    starts = [supervise([sys.executable, "-c", ""], deadline_s=60).duration_s or 0 for _ in range(2)]
    return max(0.5, 6 * max(starts))
