"""A shot that was checked against the catalogue: a fault that exists, fired in a way that it offers."""

from __future__ import annotations

from typing import Final, get_args

from harness.evidence import Host
from harness.exceptions import InvalidInputError, expected, shown, unknown
from harness.faults.catalogue import Row, check_parameters, find
from harness.supervisor import Limits, Shot
from harness.supervisor.launch import MODES

TIER_OF: Final = {"forced": "forced", "safe": "dosed", "wild": "wild"}
"""The tier that a fault must offer for a mode to mean something; fire() in C has the same table."""

FED_BY_A_LIMIT: Final = frozenset({"memory_limit", "memory_cgroup"})


class Fault(Shot, frozen=True):
    """One of the harness's own faults, to be fired in a victim: the simplest job there is.

    `fault` is a name of the catalogue (`crash-harness faults` lists them). `mode` says what becomes of it: "forced"
    makes it take effect, "safe" runs the same code without the defect, "wild" leaves it to chance; a fault offers some
    of these. `parameters` are whole numbers, each in its range. `host` is what carries the fault: "python", an
    interpreter with the extension, or "native", C alone.

        run = harness.run(harness.Fault("null_read", parameters={"offset": 8}), harness.Policy(3))
        assert run.status == "CRASHED"

    Raises InvalidInputError that says which of them is wrong, what was expected and what is near.
    """

    def __post_init__(self) -> None:
        """Ask the catalogue."""
        if not isinstance(self.fault, str):
            raise expected("fault", "the name of a fault", self.fault)
        row = find(self.fault)
        check_mode(row, self.mode)
        if self.host not in get_args(Host):
            raise unknown("fault.host", self.host, get_args(Host))
        if not isinstance(self.parameters, dict):
            raise expected("fault.parameters", "a table of names and whole numbers", self.parameters)
        check_parameters(row, self.parameters)


def check_mode(row: Row, mode: str, where: str = "fault.mode") -> None:
    """Raise InvalidInputError for a mode that there is not, or that none of the fault's tiers fires in."""
    if mode not in MODES:
        raise unknown(where, mode, MODES)
    offered = [one for one in MODES if TIER_OF[one] in row.tiers]
    if mode not in offered:
        raise InvalidInputError(f"{where}: {row.name} offers {' or '.join(offered)}, not {shown(mode)}")


def check_limits(fault: str, limits: Limits) -> None:
    """Raise InvalidInputError for a fault that eats memory until a limit stops it, where there is no limit."""
    check_bounded(fault, "limits.memory_bytes", bounded=bool(limits.memory_bytes or limits.data_bytes))


def check_bounded(fault: str, where: str, *, bounded: bool) -> None:
    """Do the same for a limit that is written in another way."""
    if not bounded and FED_BY_A_LIMIT.intersection(find(fault).needs):
        raise InvalidInputError(f"{where}: expected, since {fault} runs under a limit only")
