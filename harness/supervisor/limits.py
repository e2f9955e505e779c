"""What a victim may use, and by which means that is enforced."""

from __future__ import annotations

import os
import re
import resource
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_type_hints

import msgspec

from harness.exceptions import InfraError, InvalidInputError, expected, shown, unknown
from harness.supervisor.cgroups import Cgroup, memory_cgroup

UNBOUNDED = 2**63
LONGEST_S = 10**9
SIZES: Final = ("memory_bytes", "data_bytes")
MemoryBy = Literal["auto", "rlimit", "cgroup"]

_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
SIZE = re.compile(r"([0-9]+)(?:\.([0-9]+))?\s*([a-z]*)")
LONGEST_SIZE = 40  # a size below 2**63 has 19 digits


class Row(NamedTuple):
    """A limit that is one number: what it counts, what it means, and the resource limit by which the guard sets it."""

    unit: str
    meaning: str
    rlimit: int


class Counts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits that are one number, the same on every machine. A member with its row is all that a new one takes.

    The API, the command line, scenarios and the guard read the row, and evidence tells the number.
    """

    processes: Annotated[
        int | None, Row("processes", "Processes and threads an attempt may have at a time.", resource.RLIMIT_NPROC)
    ] = None
    open_files: Annotated[
        int | None,
        Row("files", "Files each process may have open at a time; more are refused (EMFILE).", resource.RLIMIT_NOFILE),
    ] = None

    def counts(self) -> dict[str, int]:
        """Those that are set."""
        return {name: count for name in ROWS if (count := getattr(self, name)) is not None}

    def check(self, where: str = "limits") -> None:
        """Raise InvalidInputError for one that bounds nothing."""
        for name, row in ROWS.items():
            check_count(f"{where}.{name}", row.unit, getattr(self, name))


ROWS: Final[dict[str, Row]] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(Counts, include_extras=True).items()
}


class Limits(Counts, frozen=True):
    """What each attempt may use. What is left out is not bounded.

    `memory_bytes` is enforced by a memory cgroup (the kernel kills) or by RLIMIT_DATA (malloc is refused), as
    `memory_by` says: "cgroup", "rlimit", or "auto", which takes the cgroup where there is one. `data_bytes` is an
    RLIMIT_DATA of its own: set just below `memory_bytes` it makes the refusal come before the kill. Both are meant
    for the machine on which a run begins; a larger one has more, in proportion. `processes` bounds processes and
    threads, `open_files` the files that each process may have open.

        harness.run(["./job"], limits=harness.Limits(512 << 20, "rlimit", processes=100, open_files=64))

    Raises InvalidInputError that names the member and what was expected.
    """

    memory_bytes: int | None = None
    memory_by: MemoryBy = "auto"
    data_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse what bounds nothing."""
        for name in SIZES:
            check_count(f"limits.{name}", "bytes", getattr(self, name))
        self.check()
        if self.memory_by not in get_args(MemoryBy):
            raise unknown("limits.memory_by", self.memory_by, get_args(MemoryBy))

    def scaled(self, share: float) -> Limits:
        """Return the limits of a machine that has `share` times the memory."""
        sizes = {name: getattr(self, name) for name in SIZES}
        scaled = {name: min(max(1, round(size * share)), UNBOUNDED - 1) for name, size in sizes.items() if size}
        return msgspec.structs.replace(self, **scaled)


def check_count(where: str, unit: str, value: object) -> None:
    """Raise InvalidInputError for what is no number of that unit; None is no bound."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (is_whole and 0 < value < UNBOUNDED):  # type: ignore[operator]  # it is whole
        raise expected(where, f"a whole number of {unit} above 0 and below 2**63", value)


def check_timeout(seconds: Any, where: str = "timeout_s") -> None:
    """Raise InvalidInputError for a time after which nothing could be ended; None is no bound."""
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (is_number and 0 < seconds <= LONGEST_S):  # false for NaN as well
        raise expected(where, f"a number of seconds above 0 and at most {LONGEST_S}", seconds)


class Enforcement(msgspec.Struct, frozen=True):
    """Limits resolved against this machine. `by` names what bounds the memory, "none" where nothing does.

    `counts` are the limits that are one number, by their names.
    """

    by: str
    limit_bytes: int | None
    data_bytes: int | None
    cgroup: Cgroup | None
    counts: dict[str, int] = {}

    def guard_options(self) -> list[str]:
        """The same as options of the guard."""
        rlimits = [(ROWS[name].rlimit, count) for name, count in self.counts.items()]
        rlimits += [(resource.RLIMIT_DATA, self.data_bytes)] if self.data_bytes else []
        options = [word for number, most in rlimits for word in ("--rlimit", f"{number}={most}")]
        if self.cgroup:
            options += ["--cgroup-version", str(self.cgroup.version), "--cgroup-parent", self.cgroup.parent]
            options += ["--cgroup-bytes", str(self.limit_bytes)]
        return options


def enforce(limits: Limits) -> Enforcement:
    """Choose the means. Raises InfraError when a cgroup is demanded and there is none, and for what can't be set."""
    counts = limits.counts()
    _check_room(counts)
    if limits.memory_bytes is None:
        by = "rlimit" if limits.data_bytes else "none"
        return Enforcement(by, limits.data_bytes, limits.data_bytes, None, counts)
    found = memory_cgroup() if limits.memory_by != "rlimit" else None
    if found and found.version:
        return Enforcement("cgroup", limits.memory_bytes, limits.data_bytes, found, counts)
    if found and limits.memory_by == "cgroup":
        raise InfraError(f"memory cgroup: {found.reason}")
    data = min(limits.data_bytes or limits.memory_bytes, limits.memory_bytes)
    return Enforcement("rlimit", limits.memory_bytes, data, None, counts)


def _check_room(counts: dict[str, int]) -> None:
    """Raise InfraError for more than this process may have itself; root may give more."""
    for name, count in counts.items():
        most = resource.getrlimit(ROWS[name].rlimit)[1]
        if os.geteuid() != 0 and resource.RLIM_INFINITY != most < count:
            raise InfraError(
                f"limits.{name}: {count} can't be set: this process may have {most} {ROWS[name].unit} itself"
            )


def parse_bytes(text: str | int) -> int:
    """Read 67108864, "67108864", "64MiB" or "1.5GiB". Raises InvalidInputError."""
    if isinstance(text, int):
        return text
    match = SIZE.fullmatch(text.strip().lower()) if len(text) <= LONGEST_SIZE else None
    if not match or match[3] not in _UNITS or (match[2] and _UNITS[match[3]] == 1):
        raise InvalidInputError(f"{shown(text)} is no size: expected bytes or a number with KiB, MiB or GiB")
    whole, fraction = match[1], match[2] or ""
    scale: int = 10 ** len(fraction)
    return int(whole + fraction) * _UNITS[match[3]] // scale
