"""Which calls of a recording are to be refused, and how. Values in, values out."""

from __future__ import annotations

from collections import Counter
from errno import EAGAIN, EINTR, EIO, ENOMEM, ENOSPC
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from harness.refusals.recording import sites_of
from harness.refusals.stacks import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from harness.refusals.recording import Recording
    from harness.refusals.stacks import Stack

Mode = Literal["once", "from-then-on"]
MODES: Final[tuple[Mode, ...]] = ("once", "from-then-on")
FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "memory": ("malloc", "calloc", "realloc", "aligned"),
    "mmap": ("mmap",),
    "threads": ("thread",),
    "fork": ("fork",),
    "files": ("open", "read", "write", "sync", "close"),
}
DLOPEN: Final = "dlopen"
SHORT: Final = "short"
ERRNOS: Final = {"ENOSPC": ENOSPC, "EIO": EIO, "EINTR": EINTR, SHORT: 0}
ERRORS: Final[dict[str, tuple[str, ...]]] = {
    "open": ("ENOSPC", "EIO", "EINTR"),
    "read": ("EIO", "EINTR", SHORT),
    "write": ("ENOSPC", "EIO", "EINTR", SHORT),
    "sync": ("ENOSPC", "EIO", "EINTR"),
    "close": ("ENOSPC", "EIO", "EINTR"),
}
LASTING: Final = ("", "ENOSPC", "EIO")  # an interruption that never ends is no system's
OWN_ERRNOS: Final = {"thread": EAGAIN, "fork": EAGAIN}
LOOP: Final = 5  # turns: a site that is met as often is in a loop
LEAST_SHORT: Final = 2  # bytes, of which one may be left out


class Plan(msgspec.Struct, frozen=True):
    """What is to be refused. `modes` are tried for each site; `errors` limits those of file operations.

    `depth` frames make a site; `dense` takes every call instead. `at` is one call by its number, `site` one by
    "HASH" or "HASH:k", its kth call. `window` is for a command: "start", "main", "mark" or "dlopen:LIB". `ok_exits` are
    the exit statuses by which it may say that something was refused. `leak` repetitions look for blocks that are left
    behind. Times are in seconds.
    """

    families: tuple[str, ...] = ("memory",)
    rules: Rules = Rules()
    modes: tuple[Mode, ...] = MODES
    errors: tuple[str, ...] = ()
    least_bytes: int = 0
    shrinks: bool = False
    dense: bool = False
    depth: int = 4
    at: int | None = None
    site: str | None = None
    window: str | None = None
    deadline_s: float | None = None
    time_s: float | None = None
    jobs: int = 1
    leak: int = 0
    ok_exits: tuple[int, ...] = ()

    @property
    def operations(self) -> tuple[str, ...]:
        """What the library is to count."""
        names = [name for family in self.families for name in FAMILIES[family]]
        return (*names, "shrink") if self.shrinks and "memory" in self.families else tuple(names)

    @property
    def library(self) -> str:
        """A part of the file name of the library that opens the window; else empty."""
        kind, _, name = (self.window or "").partition(":")
        return name if kind == DLOPEN else ""


class Target(msgspec.Struct, frozen=True):
    """One refusal to be made: the nth call of the recording, which is the kth at its site.

    `stack` is the number of its stack in the recording, and it is the `occurrence`th call with that very stack.
    `error` is the one of a file operation, else empty.
    """

    n: int
    operation: str
    site: str
    k: int
    stack: int
    occurrence: int
    mode: Mode = "once"
    error: str = ""

    @property
    def errno(self) -> int:
        """What the refused call fails with; 0 for a short count."""
        return ERRNOS[self.error] if self.error else OWN_ERRNOS.get(self.operation, ENOMEM)

    @property
    def name(self) -> str:
        """As --site takes it."""
        return f"{self.site}:{self.k}"


def eligible(recording: Recording, plan: Plan, owns: Callable[[Stack], bool]) -> Iterator[Target]:
    """Every call that may be refused, in order. Whose memory it is decides; of other things every call counts."""
    hashes = sites_of(recording, plan.depth)
    owned = [owns(stack) for stack in recording.stacks]
    at_site, with_stack = Counter[str](), Counter[int]()
    everything = not plan.rules.libraries
    for n, call in enumerate(recording.calls, 1):
        at_site[hashes[call.stack]] += 1
        with_stack[call.stack] += 1
        if owned[call.stack] or (
            everything and call.operation not in FAMILIES["memory"] and call.operation != "shrink"
        ):
            where = hashes[call.stack]
            yield Target(n, call.operation, where, at_site[where], call.stack, with_stack[call.stack])


def choose(calls: Iterable[Target], plan: Plan) -> list[Target]:
    """Those that the plan asks for: one call, all of them, or the first of each site, and of a loop the second too.

    What a loop has built in its first turn is there in the second: of 246 findings of real packages the first turns
    alone show 232, and the second ones 5 more, for 8 % more refusals.
    """
    if plan.at is not None:
        return [one for one in calls if one.n == plan.at]
    if plan.site is not None:
        wanted, _, number = plan.site.partition(":")
        return [one for one in calls if one.site.startswith(wanted) and one.k == int(number or 1)][:1]
    if plan.dense:
        return list(calls)
    sites: dict[tuple[str, str], list[Target]] = {}
    for one in calls:
        sites.setdefault((one.site, one.operation), []).append(one)
    chosen = [one for turns in sites.values() for one in turns[: 2 if len(turns) >= LOOP else 1]]
    return sorted(chosen, key=lambda one: one.n)


def each_way(chosen: Iterable[Target], plan: Plan, sizes: Callable[[int], int]) -> list[Target]:
    """The chosen calls in each mode and with each error that applies; `sizes` gives the bytes of the nth call."""
    return [
        msgspec.structs.replace(one, mode=mode, error=error)
        for mode in plan.modes
        for one in chosen
        for error in ERRORS.get(one.operation, ("",))
        if _applies(error, mode, plan, sizes(one.n))
    ]


def _applies(error: str, mode: Mode, plan: Plan, size: int) -> bool:
    if error and plan.errors and error not in plan.errors:
        return False
    if error == SHORT and size < LEAST_SHORT:
        return False
    return mode == "once" or error in LASTING
