"""The cells: one engine, one policy, one fault, some innocents. What an engine declares decides which there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from harness.conformance.protocol import LARGE, Cap, Declaration, Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

HARD: Final = ("segv", "abrt", "kill", "term", "exit0", "exit139", "nomem", "oom")
AGAIN: Final = ("segv", "abrt", "exit139", "exc", "term", "exit0")
HANGS: Final = ("hang", "nhang")
SOFT: Final = ("exc", "ok", "late")
"""After these the process may live on, and serve again."""
CLASS_OF: Final = {"handled": "segv", "sh139": "exit139", "hang": "timeout", "nhang": "timeout"}
LEAST_BACKOFF_S, LEAST_TIMEOUT_S, CANCEL_BACKOFF_S = 0.3, 2.5, 1.5
REPEATS: Final = 3


class Cell(msgspec.Struct, frozen=True):
    """What is asked of the engine. `faults`: of attempt 1, 2, …; the last one repeats.

    `pills`: how many jobs carry the fault beside innocents. `cancel`: when X is cancelled. `durable`: kill -9 of the
    supervisors. `classes`: how a fault by name of the catalogue ends, and `shots` the words that fire it.
    """

    name: str
    faults: tuple[str, ...]
    policy: Policy = Policy()
    policy_name: str = "none"
    pills: int = 1
    cancel: Literal["", "run", "backoff"] = ""
    durable: bool = False
    classes: dict[str, str] = {}

    def fault(self, number: int) -> str:
        """Fault of attempt `number`."""
        return self.faults[min(number, len(self.faults)) - 1]

    def kind(self, number: int) -> str:
        """Class under which the declared table has the end of attempt `number`."""
        fault = self.fault(number)
        return self.classes.get(fault) or CLASS_OF.get(fault, fault)

    def is_soft(self, number: int) -> bool:
        """Whether the process may outlive attempt `number`."""
        return self.fault(number) in SOFT

    @property
    def fires(self) -> bool:
        """Whether the first attempt ends in a fault."""
        return self.faults[0] not in ("ok", "late")

    @property
    def hangs(self) -> bool:
        """Whether an attempt hangs until the engine ends it."""
        return any(fault in HANGS for fault in self.faults)

    @property
    def has_barrier(self) -> bool:
        """Whether X waits for an innocent. Not under a time limit, which a job that waits could exceed."""
        return self.fires and self.policy.timeout_s is None


def policies(declared: Declaration) -> dict[str, Policy]:
    """The policies by name: `none`, and `max3` in what the engine can be asked."""
    backoff = max(LEAST_BACKOFF_S, declared.backoff_min_s) if declared.can(Cap.BACKOFF) else None
    machine = LARGE if declared.can(Cap.MACHINE) else None
    return {"none": Policy(), "max3": Policy(3, backoff, None, machine)}


def cells(declared: Declaration) -> list[Cell]:
    """All cells for an engine, `ok` first: without its start line nothing else is read."""
    return [*_always(), *_timed(declared), *_retried(declared), *_cancelled(declared), *_killed(declared)]


def _always() -> Iterator[Cell]:
    yield from (Cell("ok", ("ok",)), Cell("late", ("late",)), Cell("exc/none", ("exc",)))
    yield from (Cell(f"{fault}/none", (fault,)) for fault in HARD)


def _best(declared: Declaration) -> tuple[str, Policy]:
    name = "max3" if declared.can(Cap.RETRY) else "none"
    return name, policies(declared)[name]


def _timed(declared: Declaration) -> Iterator[Cell]:
    if not declared.can(Cap.TIMEOUT):
        return
    name, policy = _best(declared)
    limited = msgspec.structs.replace(policy, timeout_s=max(LEAST_TIMEOUT_S, declared.timeout_min_s))
    yield from (Cell(f"{fault}/{name}", (fault,), limited, name) for fault in HANGS)


def _retried(declared: Declaration) -> Iterator[Cell]:
    name, policy = _best(declared)
    numbers = range(1, REPEATS + 1)
    yield from (Cell(f"pills#{k}", ("segv",), policy, name, pills=2) for k in numbers)
    if not declared.can(Cap.RETRY):
        return
    for fault in ("exc", "late", *HARD, "handled", "sh139"):
        yield Cell(f"{fault}/max3", (fault,), policy, name)
    yield from (Cell(f"segv/max3#{k}", ("segv",), policy, name) for k in numbers[1:])
    again = [kind for kind in AGAIN if declared.table[kind] == "retry"]
    yield from (Cell(f"flaky-{kind}", (kind, kind, "ok"), policy, name) for kind in again[:2])
    if len(again) > 2:  # noqa: PLR2004 -- three attempts, three ways to fail
        yield Cell("mixed", tuple(again[:3]), policy, name)
    if declared.can(Cap.BACKOFF):
        yield Cell("segv/max3-0", ("segv",), msgspec.structs.replace(policy, backoff_s=0.0), name)
    if declared.can(Cap.MACHINE):
        yield Cell("oom/max3-nomachine", ("oom",), msgspec.structs.replace(policy, oom_machine=None), name)
        yield Cell("oom-segv-ok", ("oom", "segv", "ok"), policy, name)


def _cancelled(declared: Declaration) -> Iterator[Cell]:
    if not declared.can(Cap.CANCEL):
        return
    name, policy = _best(declared)
    yield Cell("cancel-run", ("hang",), policy, name, cancel="run")
    if declared.can(Cap.RETRY, Cap.BACKOFF) and declared.table["segv"] == "retry":
        longer = msgspec.structs.replace(policy, backoff_s=max(CANCEL_BACKOFF_S, declared.backoff_min_s))
        yield Cell("cancel-backoff", ("segv",), longer, name, cancel="backoff")


def _killed(declared: Declaration) -> Iterator[Cell]:
    if not declared.can(Cap.DURABLE):
        return
    given = policies(declared)
    for name in ("none", "max3") if declared.can(Cap.RETRY) else ("none",):
        yield Cell(f"durable/{name}", ("hang",), given[name], name, durable=True)


def named(fault: str, kind: str, declared: Declaration) -> list[Cell]:
    """Cells of a fault by name of the catalogue, which ends as class `kind`."""
    names = ("none", "max3") if declared.can(Cap.RETRY) else ("none",)
    given = policies(declared)
    return [Cell(f"{fault}/{name}", (fault,), given[name], name, classes={fault: kind}) for name in names]
