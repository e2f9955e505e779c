"""The page that a swept process shares with us, seen from outside; its twin is native/trials/sweep.h.

A swept process can write anything there: fixed size, range checks, no trust.
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

import msgspec

from harness.exceptions import InfraError
from harness.refusals.recording import Recorded
from harness.refusals.stacks import RawStack  # noqa: TC001 -- msgspec reads the annotations of records
from harness.supervisor import box

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.evidence import FaultRecord

MAGIC: Final = 0x50575343
FRAMES, MODULES, RANGES, STACKS, SLOTS, EVENTS = 32, 1024, 16, 1 << 16, 1 << 18, 1 << 22
MODULE_SHIFT: Final = 48
OFFSET_BITS: Final = (1 << MODULE_SHIFT) - 1

STACK = struct.Struct(f"<Q{FRAMES}Q")
ORDER = struct.Struct(f"<8IiIII2Q{RANGES}Q{RANGES}Q")
ANSWER = struct.Struct("<i7I3QqQ")
MODULE = struct.Struct("<II248s")
EVENT = struct.Struct("<QII")
COUNTS = struct.Struct("<IIQ")
KIND = struct.Struct("<I")

ORDER_BYTES, ANSWER_BYTES = 65536, 8192
WANTED_AT = ORDER.size
ORDER_TEXT_AT = WANTED_AT + STACK.size
ANSWER_AT = ORDER_BYTES
CRASH_AT = ANSWER_AT + ANSWER.size
REFUSED_AT = CRASH_AT + box.CRASH.size
CRASHED_AT = REFUSED_AT + STACK.size
TEXT_AT = CRASHED_AT + STACK.size
TABLES_AT = ANSWER_AT + ANSWER_BYTES
MODULES_AT = TABLES_AT + COUNTS.size
SLOTS_AT = MODULES_AT + MODULES * MODULE.size
STACKS_AT = SLOTS_AT + SLOTS * 4
EVENTS_AT = STACKS_AT + STACKS * STACK.size
PAGE_BYTES = EVENTS_AT + EVENTS * EVENT.size
ORDER_TEXT_BYTES = ORDER_BYTES - ORDER_TEXT_AT
TEXT_BYTES = TABLES_AT - TEXT_AT

WINDOWS = ("call", "start", "main", "mark", "any-mark", "dlopen")
KINDS = ("unjudged", "plumbing", "interpreter", "owner", "foreign")
STAGES = ("window", "after", "next")
OPERATIONS = {
    "malloc": 1,
    "calloc": 2,
    "realloc": 4,
    "aligned": 8,
    "shrink": 16,
    "mmap": 32,
    "thread": 64,
    "fork": 128,
    "open": 256,
    "read": 512,
    "write": 1024,
    "sync": 2048,
    "close": 4096,
}
NAMES = {bit: name for name, bit in OPERATIONS.items()}


class Order(msgspec.Struct, frozen=True):
    """One trial as the library reads it. `nth` counts from 1; 0 refuses nothing.

    `wanted` aims by stack: `nth` then counts the calls that have it. `error` is the errno of a refused file
    operation, 0 a short count. `image` is which program of the process counts, where it executes several; 0 is each.
    """

    window: str
    operations: tuple[str, ...]
    nth: int = 0
    wanted: RawStack | None = None
    record: bool = False
    from_then_on: bool = False
    owners_only: bool = False
    other_kind: str = "owner"
    error: int = 0
    image: int = 0
    least_bytes: int = 0
    bytecode: tuple[tuple[int, int], ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """What the swept process left on the page. `operation` and `size` are those of the first refusal."""

    pid: int
    stage: str
    images: int
    marks: int
    forks: int
    operation: str
    count: int
    refused: int
    asked_after: int
    size: int
    crash: FaultRecord | None
    refused_at: RawStack
    crashed_at: RawStack
    text: str


def pack_stack(stack: RawStack) -> bytes:
    """Encode a stack as the page holds it."""
    frames = [module << MODULE_SHIFT | offset for module, offset in stack]
    return STACK.pack(len(frames), *frames, *([0] * (FRAMES - len(frames))))


def unpack_stack(data: bytes | memoryview) -> RawStack:
    """Decode one; more frames than fit are as many as fit."""
    count, *frames = STACK.unpack(data)
    return tuple((frame >> MODULE_SHIFT, frame & OFFSET_BITS) for frame in frames[: min(count, FRAMES)])


class Page:
    """One shared page, as a file descriptor for the swept process and a mapping for us."""

    def __init__(self) -> None:
        with ExitStack() as undo:
            try:
                self.fd = os.memfd_create("crash-sweep", os.MFD_CLOEXEC)
                undo.callback(os.close, self.fd)
                os.ftruncate(self.fd, PAGE_BYTES)
                self._map = mmap.mmap(self.fd, PAGE_BYTES)
            except OSError as error:
                raise InfraError(f"the shared page can't be made: {error.strerror}") from error
            undo.pop_all()

    def close(self) -> None:
        """Give it back."""
        self._map.close()
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def give_text(self, text: bytes) -> None:
        """Write what the script of the server is to read, or the name of a library."""
        if len(text) > ORDER_TEXT_BYTES:
            raise InfraError(f"the order of a sweep has {len(text)} bytes; {ORDER_TEXT_BYTES} fit")
        self._map[ORDER_TEXT_AT : ORDER_TEXT_AT + len(text)] = text
        self._text_bytes = len(text)

    _text_bytes = 0

    def give(self, order: Order) -> None:
        """Write an order, and wipe the answer to the one before. A recording starts empty, but for the modules."""
        self._map[ANSWER_AT:TABLES_AT] = bytes(ANSWER_BYTES)
        if order.record:
            modules, _, _ = self._counts()
            self._map[TABLES_AT:MODULES_AT] = COUNTS.pack(modules, 0, 0)
            self._map[SLOTS_AT:STACKS_AT] = bytes(STACKS_AT - SLOTS_AT)
        lows, highs = ([span[at] for span in order.bytecode[:RANGES]] for at in (0, 1))
        head = ORDER.pack(
            MAGIC,
            WINDOWS.index(order.window),
            sum(OPERATIONS[name] for name in order.operations),
            order.record,
            order.wanted is not None,
            order.from_then_on,
            order.owners_only,
            KINDS.index(order.other_kind),
            order.error,
            order.image,
            len(lows),
            self._text_bytes,
            order.nth,
            order.least_bytes,
            *lows,
            *([0] * (RANGES - len(lows))),
            *highs,
            *([0] * (RANGES - len(highs))),
        )
        self._map[0:ORDER_TEXT_AT] = head + pack_stack(order.wanted or ())

    def answer(self) -> Answer:
        """Read what came of the trial. Never raises for what was written there."""
        head = ANSWER.unpack_from(self._map, ANSWER_AT)
        pid, _, stage, images, marks, forks, operation, crashed, count, refused, asked_after, _, size = head
        return Answer(
            pid=pid,
            stage=STAGES[min(stage, len(STAGES) - 1)],
            images=images,
            marks=marks,
            forks=forks,
            operation=NAMES.get(operation, ""),
            count=count,
            refused=refused,
            asked_after=asked_after,
            size=size,
            crash=box.decode_crash(self._map[CRASH_AT:REFUSED_AT]) if crashed == 1 else None,
            refused_at=unpack_stack(self._map[REFUSED_AT:CRASHED_AT]),
            crashed_at=unpack_stack(self._map[CRASHED_AT:TEXT_AT]),
            text=self._map[TEXT_AT:TABLES_AT].partition(b"\0")[0].decode("utf-8", "replace"),
        )

    def _counts(self) -> tuple[int, int, int]:
        modules, stacks, events = COUNTS.unpack_from(self._map, TABLES_AT)
        return min(modules, MODULES), min(stacks, STACKS), min(events, EVENTS)

    def overflowed(self) -> bool:
        """Whether a recording had more calls or stacks than fit."""
        _, stacks, events = COUNTS.unpack_from(self._map, TABLES_AT)
        return bool(stacks >= STACKS or events > EVENTS)

    def modules(self) -> list[str]:
        """Paths of the modules that stacks name, by number."""
        names = (MODULE.unpack_from(self._map, MODULES_AT + at * MODULE.size)[2] for at in range(self._counts()[0]))
        return [name.partition(b"\0")[0].decode("utf-8", "replace") for name in names]

    def judge(self, kinds: Iterable[str]) -> None:
        """Say how each module counts, in their order."""
        for at, kind in enumerate(kinds):
            KIND.pack_into(self._map, MODULES_AT + at * MODULE.size, KINDS.index(kind))

    def calls(self) -> Iterator[Recorded]:
        """The calls of a recording, in order."""
        end = EVENTS_AT + self._counts()[2] * EVENT.size
        for size, stack, operation in EVENT.iter_unpack(self._map[EVENTS_AT:end]):
            yield Recorded(NAMES.get(operation, ""), size, stack)

    def stacks(self) -> list[RawStack]:
        """The distinct stacks of a recording, by number."""
        starts = (STACKS_AT + at * STACK.size for at in range(self._counts()[1]))
        return [unpack_stack(self._map[at : at + STACK.size]) for at in starts]
