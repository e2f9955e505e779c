"""What a victim may use, and by which means that is enforced."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from harness.exceptions import InfraError, InvalidInputError, shown
from harness.supervisor.cgroups import Cgroup, memory_cgroup

UNBOUNDED = 2**63
MemoryBy = Literal["auto", "rlimit", "cgroup"]

_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
SIZE = re.compile(r"([0-9]+)(?:\.([0-9]+))?\s*([a-z]*)")
LONGEST_SIZE = 40  # a size below 2**63 has 19 digits


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one attempt.

    `memory_bytes` is enforced by a memory cgroup (the kernel kills) or by RLIMIT_DATA (malloc is refused);
    `auto` takes the cgroup where there is one. `data_bytes` is an RLIMIT_DATA of its own: set just below
    `memory_bytes` it makes the refusal come before the kill. `processes` bounds processes and threads.
    """

    memory_bytes: int | None = None
    memory_by: MemoryBy = "auto"
    data_bytes: int | None = None
    processes: int | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that are none. Raises InvalidInputError."""
        for name, size in (("memory", self.memory_bytes), ("data", self.data_bytes), ("processes", self.processes)):
            if size is not None and not 0 < size < UNBOUNDED:
                raise InvalidInputError(f"{name}: expected a number above 0 and below 2**63, not {size}")


class Enforcement(msgspec.Struct, frozen=True):
    """Limits resolved against this machine. `by` names what bounds the memory, "none" where nothing does."""

    by: str
    limit_bytes: int | None
    data_bytes: int | None
    cgroup: Cgroup | None

    def guard_options(self) -> list[str]:
        """The same as options of the guard."""
        options = ["--data-bytes", str(self.data_bytes)] if self.data_bytes else []
        if self.cgroup:
            options += ["--cgroup-version", str(self.cgroup.version), "--cgroup-parent", self.cgroup.parent]
            options += ["--cgroup-bytes", str(self.limit_bytes)]
        return options


def enforce(limits: Limits) -> Enforcement:
    """Choose the means. Raises InfraError when a cgroup is demanded and there is none."""
    if limits.memory_bytes is None:
        by = "rlimit" if limits.data_bytes else "none"
        return Enforcement(by, limits.data_bytes, limits.data_bytes, None)
    found = memory_cgroup() if limits.memory_by != "rlimit" else None
    if found and found.version:
        return Enforcement("cgroup", limits.memory_bytes, limits.data_bytes, found)
    if found and limits.memory_by == "cgroup":
        raise InfraError(f"memory cgroup: {found.reason}")
    data = min(limits.data_bytes or limits.memory_bytes, limits.memory_bytes)
    return Enforcement("rlimit", limits.memory_bytes, data, None)


def parse_bytes(text: str | int) -> int:
    """Read 67108864, "67108864", "64MiB" or "1.5GiB". Raises InvalidInputError."""
    if isinstance(text, int):
        return text
    match = SIZE.fullmatch(text.strip().lower()) if len(text) <= LONGEST_SIZE else None
    if not match or match[3] not in _UNITS:
        raise InvalidInputError(f"{shown(text)} is no size: expected bytes or a number with KiB, MiB or GiB")
    whole, fraction = match[1], match[2] or ""
    scale: int = 10 ** len(fraction)
    return int(whole + fraction) * _UNITS[match[3]] // scale
