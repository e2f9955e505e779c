"""How a command is observed: which witnesses stand by it, what they are handed, and what they saw together."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

import msgspec

from harness.evidence import MOST_FAULTS, Source
from harness.exceptions import InfraError
from harness.supervisor import box
from harness.supervisor.preload import library_path, why_not_preloaded

if TYPE_CHECKING:
    from harness.evidence import Evidence, FaultRecord

Observe = Literal["auto", "library", "perf", "trace", "off"]

ARMED, OFF = "armed", "off"
WITH_LIBRARY: Final = ("auto", "library")
OUTSIDE: Final = ("perf", "trace")
SECOND: Final[dict[Observe, Source]] = {"auto": "perf", "perf": "perf", "trace": "trace"}
"""The witness that needs no library, where there is one."""

FORMERLY: Final[dict[str, Observe]] = {"on": "auto", "off": "off"}
"""The words of --black-box."""

PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")


class Seen(msgspec.Struct, frozen=True):
    """What the witnesses of a life tell: the chain of crash signals, and which of them were there.

    `allocation_failures` is None where refused allocations were not counted.
    """

    faults: tuple[FaultRecord, ...]
    allocation_failures: int | None
    black_box: str
    second_witness: str


class Observer:
    """Stands by one life of a command, from before its start to after its end.

    `page` is the box, and `seen` the page of the second witness; None where there is none. With a memory limit the
    library counts refused allocations too; without one it leaves the program's allocator alone.
    """

    def __init__(self, observe: Observe, *, memory_limited: bool) -> None:
        self._reason = "" if observe in WITH_LIBRARY else OFF
        self._source, self._limited, self._unseen = SECOND.get(observe), memory_limited, ""
        self._stack = ExitStack()
        self.page: int | None = None
        self.seen: int | None = None
        self._path = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._reason = self._reason or self._take_page(stack)
            self._unseen = self._take_second_page(stack) if self._source else ""
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _take_page(self, stack: ExitStack) -> str:
        """Make the box. Returns why there is none: the command runs without."""
        reason = why_not_preloaded(library_path(counting=self._limited))
        if reason:
            return reason
        try:
            self.page, self._path = box.create_named(memory_limited=self._limited)
        except InfraError as error:
            return str(error)
        stack.callback(os.close, self.page)
        stack.callback(_remove, self._path)
        return ""

    def _take_second_page(self, stack: ExitStack) -> str:
        """Make the page of the second witness. Returns why it has none, or the empty string."""
        try:
            self.seen = box.create(memory_limited=self._limited)
        except InfraError as error:
            return str(error)
        stack.callback(os.close, self.seen)
        return ""

    def options(self) -> list[str]:
        """Options of the guard. It removes the file of the box, also when we are dead."""
        library = ["--preload", str(library_path(counting=self._limited)), "--box-file", self._path]
        return [
            *(library if self.page is not None else []),
            *(["--witness", self._source] if self._source and self.seen is not None else []),
        ]

    def tell(self) -> Seen:
        """Say what was seen, once the guard has reported."""
        own = None if self.page is None else box.read(self.page)
        other = None if self.seen is None else box.read(self.seen, self._source or "perf")
        return Seen(
            faults=joined(own.faults if own else (), other.faults if other else ()),
            allocation_failures=box.refusals(own),
            black_box=_state(own, self._reason),
            second_witness=_second(other, self._source, self._unseen),
        )


def observed(evidence: Evidence, seen: Seen) -> Evidence:
    """Add what the witnesses of a command tell."""
    memory = msgspec.structs.replace(evidence.memory, allocation_failures=seen.allocation_failures)
    return msgspec.structs.replace(
        evidence, faults=seen.faults, memory=memory, black_box=seen.black_box, second_witness=seen.second_witness
    )


def observed_beside(evidence: Evidence, seen: Seen) -> Evidence:
    """Add what a second witness tells of a fault of ours, whose own record comes first."""
    if seen.second_witness == OFF:
        return evidence
    faults = joined(evidence.faults, seen.faults)
    return msgspec.structs.replace(evidence, faults=faults, second_witness=seen.second_witness)


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108 -- the guard has removed it already, unless it was killed


def joined(own: tuple[FaultRecord, ...], other: tuple[FaultRecord, ...]) -> tuple[FaultRecord, ...]:
    """Make one chain of what the library and the second witness saw.

    Who stood inside knows more. Where it saw no fault of the kernel's, since the signal was blocked, or the handler set
    by a system call, the other's faults come before the signals that were sent: those report what went before.
    """
    if any(not one.is_sent for one in own):
        return own
    faults = tuple(one for one in other if not one.is_sent)
    return (*faults, *own)[:MOST_FAULTS] if own else other


def _state(own: box.Contents | None, reason: str) -> str:
    """As evidence says it: "armed", "off", or "unavailable: why"."""
    if reason == OFF:
        return OFF
    if own and own.armed:
        return ARMED
    return f"unavailable: {reason or (own and own.reason) or 'the library was not loaded'}"


def _second(other: box.Contents | None, source: Source | None, reason: str) -> str:
    """The same of the second witness: its name, "off", or "unavailable: why"."""
    if source is None:
        return OFF
    if other and other.armed:
        return source
    reason = reason or (other and other.reason) or "it never began"
    return f"unavailable: {reason}{_paranoid() if 'perf' in reason else ''}"


def _paranoid() -> str:
    try:
        return f" (perf_event_paranoid is {PARANOID.read_text().strip()})"
    except OSError:
        return " (this kernel has no perf events)"
