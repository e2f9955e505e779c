"""The roll call: every row of the catalogue fired in each of its tiers, observed against its own expectation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import msgspec

from harness.evidence import signature
from harness.exceptions import InfraError
from harness.faults.catalogue import Row, catalogue
from harness.machine import why_not
from harness.scenarios.campaign import as_they_end
from harness.scenarios.verdict import Judgement, Verdict
from harness.supervisor import Limits, Shot, Stop, supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MIB: Final = 1 << 20
LIMITED: Final = Limits(memory_bytes=64 * MIB, data_bytes=56 * MIB)
KILLED: Final = Limits(memory_bytes=64 * MIB, memory_by="cgroup")
DEADLINE_S: Final = 30.0
HANG_S: Final = 0.5
MODES: Final = {"forced": ("forced",), "dosed": ("forced", "safe"), "wild": ("wild",)}


class Answer(msgspec.Struct, frozen=True):
    """One row in one tier."""

    fault: str
    family: str
    tier: str
    expected: tuple[str, ...]
    observed: tuple[str, ...]
    judgement: Judgement


def limits_for(fault: Row) -> Limits:
    """Return the limits of a shot: a memory limit for faults that need one, otherwise no limit."""
    if "memory_cgroup" in fault.needs:
        return KILLED
    return LIMITED if "memory_limit" in fault.needs else Limits()


def expected_of(fault: Row, mode: str) -> tuple[str, ...]:
    """What a shot may look like: the row's own words where the defect takes effect, "done" where it does not."""
    if mode == "forced":
        return fault.expects
    return ("done",) if mode == "safe" else ("done", *fault.expects)


def fire(fault: Row, mode: str, stop: Stop | None = None) -> str:
    """Fire a fault once, and return the signature of what was seen. Raises InfraError."""
    deadline_s = HANG_S if fault.kind == "hang" else DEADLINE_S
    return signature(supervise(Shot(fault.name, mode), limits_for(fault), deadline_s, stop=stop))


def call(fault: Row, tier: str, stop: Stop | None = None) -> Answer:
    """Call one row in one tier. Never raises for what the harness could not do: that is a verdict."""
    reason, observed = why_not(fault.needs), list[str]()
    judgement = Judgement(Verdict.SKIP, (reason,)) if reason else None
    try:
        for mode in MODES[tier] if not reason else ():
            observed.append(fire(fault, mode, stop))
            if observed[-1] not in expected_of(fault, mode):
                wanted = " or ".join(expected_of(fault, mode))
                judgement = Judgement(Verdict.FAIL, (f"{mode}: expected {wanted}, observed {observed[-1]}",))
    except InfraError as error:
        judgement = Judgement(Verdict.INFRA, (str(error),))
    expected = expected_of(fault, MODES[tier][0])
    return Answer(fault.name, fault.family, tier, expected, tuple(observed), judgement or Judgement(Verdict.PASS))


def call_all(jobs: int, on_answer: Callable[[Answer], object], faults: Sequence[Row] | None = None) -> bool:
    """Call every row in every tier; `on_answer` gets each in this thread. False when Ctrl-C ended it."""
    rows = [(fault, tier) for fault in faults or catalogue().values() for tier in fault.tiers]
    with Stop() as stop, ThreadPoolExecutor(jobs) as pool:
        try:  # Ctrl-C may come while rows are still handed out, and some are called already
            for future in [pool.submit(call, fault, tier, stop) for fault, tier in rows]:
                on_answer(next(as_they_end([future])).result())
        except KeyboardInterrupt:
            stop.set()
            pool.shutdown(cancel_futures=True)
            return False
    return True
