"""Scenarios are data: TOML in, records out. Closed schema; an error names file and key.

A file is one claim with one or more cases; every case is complete in itself: no inheritance, no expressions.
"""

from __future__ import annotations

from pathlib import Path
from signal import Signals
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from harness.dialects import BUILT_IN, lineage
from harness.dialects import find as find_dialect
from harness.engine.policy import Policy
from harness.exceptions import InvalidInputError, near, unknown
from harness.faults.catalogue import check_parameters, find
from harness.faults.shot import check_bounded
from harness.reading import read_toml
from harness.scenarios.terms import Probability, Tier  # noqa: TC001 -- msgspec reads the annotations of records
from harness.supervisor.confinement import Wanted  # noqa: TC001 -- msgspec reads the annotations of records
from harness.supervisor.limits import Counts, MemoryBy, check_timeout, parse_bytes
from harness.supervisor.observe import Observe  # noqa: TC001 -- as above
from harness.wire.codes import Code, Status
from harness.wire.policy import DEFAULT_PRESET, PRESETS
from harness.wire.request import Branch  # noqa: TC001 -- msgspec reads the annotations of records

ENDS = r"^(SIG[A-Z0-9+-]+|exited [0-9]{1,3}|did not fire|silent)$"
STATUSES = rf"^(COMPLETED_SUCCESSFULLY|DID_NOT_FIRE|{'|'.join(Status)})$"
LARGEST_SCALE: Final = 1e6
Name = Annotated[
    str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="small letters and digits, with hyphens between words")
]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class VictimSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What dies. `dose` is the share of attempts on which a dosed fault takes effect, drawn from `seed`."""

    fault: str
    tier: Tier = "forced"
    dose: Probability | None = None
    seed: Seed | None = None
    parameters: dict[str, int | str] = {}

    def values(self) -> dict[str, int]:
        """Parameters as numbers; "64MiB" is allowed for bytes."""
        return {
            name: parse_bytes(value) if isinstance(value, str) else value for name, value in self.parameters.items()
        }


class LimitsSpec(Counts, frozen=True, omit_defaults=True):
    """Limits of each attempt.

    With `memory_scale`, memory is the machine preset's, scaled; `data_fraction` of it is where RLIMIT_DATA refuses.
    `processes` and `open_files` are as in `harness.Limits`. `containment` demands namespaces of its own, or does
    without. `observe` has a second witness look at the fault, "perf" or "trace"; experiments, which fork their victims,
    leave it out.
    """

    timeout_s: float = 20.0
    memory_scale: Annotated[float, Meta(gt=0, le=LARGEST_SCALE)] | None = None
    memory_by: MemoryBy = "auto"
    data_fraction: Annotated[float, Meta(gt=0, le=1)] | None = None
    containment: Wanted = "auto"
    observe: Observe = "auto"


class PolicySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the user asked for, word for word: an absent `retry` is no locked config, and nothing is filled in."""

    max_attempts: int | None = None
    retry: dict[str, Any] | None = None
    machine: str = DEFAULT_PRESET

    def checked(self) -> Policy:
        """Return it as the API has it. Raises InvalidInputError."""
        return Policy(self.max_attempts, self.retry, self.machine)


class HostsSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Attempts go round `names`; on the one called `bad` the fault takes effect, on the others not."""

    names: Annotated[tuple[str, ...], Meta(min_length=1)]
    bad: str


class ExpectedAttempt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one attempt must show; members that are absent are not judged. `code` is the enhanced error's."""

    ended: Annotated[str, Meta(pattern=ENDS, description="SIGSEGV (or another), exited N, did not fire, or silent")]
    code: Code | None = None
    cause: str | None = None
    branch: Branch | None = None
    machine: str | None = None
    host: str | None = None


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What must be seen under `dialects`, and under those that go back to them and are named nowhere.

    A wild case says what an attempt may look like, not how many.
    """

    dialects: tuple[str, ...]
    attempts: Annotated[tuple[ExpectedAttempt, ...], Meta(min_length=1)]
    status: Annotated[str, Meta(pattern=STATUSES)] | None = None


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One complete experiment of a scenario."""

    name: Name
    victim: VictimSpec
    expect: Annotated[tuple[Expectation, ...], Meta(min_length=1)]
    limits: LimitsSpec = LimitsSpec()
    policy: PolicySpec = PolicySpec()
    hosts: HostsSpec | None = None

    def expectation(self, dialect: str) -> Expectation:
        """Return the one that names the dialect of this name, or else its parent, or the parent's.

        Raises InvalidInputError where there is none: loading lets that pass only for dialects that may be left out.
        """
        for name in lineage(dialect):
            for one in self.expect:
                if name in one.dialects:
                    return one
        raise InvalidInputError(f"{self.name}: nothing is expected under {dialect}")

    def needs(self) -> tuple[str, ...]:
        """Capabilities without which the case is skipped."""
        by_cgroup = ("memory_cgroup",) if self.limits.memory_by == "cgroup" else ()
        return tuple(dict.fromkeys((*find(self.victim.fault).needs, *by_cgroup)))


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One file. `cause` is the real-world one that the cases make; `evidence` says whether they are it or stand in.

    `layout_independent`: the address-space layout has no say in it, so that experiments may fork their victims from
    one process. `name` and `path` are the file's own.
    """

    claim: str
    cause: str
    evidence: Literal["real", "simulated"]
    case: Annotated[tuple[Case, ...], Meta(min_length=1)]
    layout_independent: bool = False
    name: str = ""
    path: str = ""


def load(path: Path) -> Scenario:
    """Read one file. Raises InvalidInputError with file and key."""
    if not (str(path).isprintable() and path.stem):
        raise InvalidInputError(f"{path}: expected a path that can be printed: the scenario is called after it")
    scenario = read_toml(path, Scenario, {"name": path.stem, "path": str(path)})
    try:
        _check(scenario)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error
    return scenario


def _check(scenario: Scenario) -> None:
    """Check what the types can't say: names, limits, policies and expectations that contradict each other."""
    names = [case.name for case in scenario.case]
    for index, case in enumerate(scenario.case):
        where = f"case[{index}]"
        if names.count(case.name) > 1:
            raise InvalidInputError(f"{where}.name: {case.name!r} is used twice")
        check_victim(case, where)
        _check_limits_and_policy(case, where)
        _check_expectations(case, where)


def check_victim(case: Case, where: str) -> None:
    """Raise InvalidInputError for a victim that the catalogue or the case's own limits don't allow."""
    victim, fault = case.victim, find(case.victim.fault, f"{where}.victim.fault")
    if victim.tier not in fault.tiers:
        offered = " or ".join(fault.tiers)
        raise InvalidInputError(f"{where}.victim.tier: {fault.name} offers {offered}, not {victim.tier}")
    check_parameters(fault, victim.values(), f"{where}.victim.parameters")
    dosed = victim.dose is not None and victim.seed is not None
    if (victim.tier == "dosed") != dosed and case.hosts is None:
        raise InvalidInputError(f"{where}.victim: 'dose' and 'seed' go with tier \"dosed\", and it needs both")
    if case.hosts and (case.hosts.bad not in case.hosts.names or "dosed" not in fault.tiers):
        raise InvalidInputError(f"{where}.hosts: 'bad' must be one of 'names', and the fault one that offers dosed")
    check_bounded(fault.name, f"{where}.limits.memory_scale", bounded=case.limits.memory_scale is not None)


def _check_limits_and_policy(case: Case, where: str) -> None:
    """Check limits and policy by making the API's own, which check themselves. Raises InvalidInputError."""
    check_timeout(case.limits.timeout_s, f"{where}.limits.timeout_s")
    case.limits.check(f"{where}.limits")
    try:
        case.policy.checked()
    except InvalidInputError as error:
        raise InvalidInputError(f"{where}.{error}") from error


def _check_expectations(case: Case, where: str) -> None:
    named = [
        find_dialect(name, f"{where}.expect[{index}].dialects").name
        for index, one in enumerate(case.expect)
        for name in one.dialects
    ]
    for dialect in BUILT_IN.values():
        times = named.count(dialect.name)
        is_covered = dialect.may_be_left_out or any(name in named for name in lineage(dialect.name))
        if times > 1 or not is_covered:
            raise InvalidInputError(f"{where}.expect: {dialect.name} must be covered once, not {times} times")
    hosts = case.hosts.names if case.hosts else ()
    for index, one in enumerate(case.expect):
        for row, attempt in enumerate(one.attempts):
            _check_attempt(attempt, hosts, f"{where}.expect[{index}].attempts[{row}]")
        if one.status is None and case.victim.tier != "wild":
            raise InvalidInputError(f"{where}.expect[{index}].status: expected, unless the tier is wild")


def _check_attempt(attempt: ExpectedAttempt, hosts: tuple[str, ...], where: str) -> None:
    if attempt.ended.startswith("SIG") and attempt.ended not in Signals.__members__:
        raise InvalidInputError(
            f"{where}.ended: there is no signal {attempt.ended!r}{near(attempt.ended, Signals.__members__)}"
        )
    if attempt.machine is not None and attempt.machine not in PRESETS:
        raise unknown(f"{where}.machine", attempt.machine, PRESETS)
    if attempt.host is not None and attempt.host not in hosts:
        if not hosts:
            raise InvalidInputError(f"{where}.host: {attempt.host!r} is none of the case's hosts: it has no [hosts]")
        raise unknown(f"{where}.host", attempt.host, hosts)


def shipped() -> Path:
    """Folder of the scenarios that come with the harness: beside the package, or inside the wheel."""
    room = Path(__file__).parent
    inside = room / "shipped"
    return inside if inside.is_dir() else room.parent.parent / "scenarios"


def load_all(path: Path) -> list[Scenario]:
    """Load a file, or a folder of files. Raises InvalidInputError where there is none."""
    files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    if not files:
        raise InvalidInputError(f"no scenario files (*.toml) in {path}")
    return list(map(load, files))
