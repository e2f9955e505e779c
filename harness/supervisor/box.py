"""The shared page, seen from outside. A victim can write anything there: fixed size, range checks, no trust."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import struct
import zlib
from contextlib import ExitStack, contextmanager, suppress
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from harness.evidence import MOST_FAULTS, FaultRecord, Source, Witness
from harness.exceptions import InfraError
from harness.supervisor import stale

if TYPE_CHECKING:
    from collections.abc import Iterator

BOX_BYTES = 4096
PLACES = ("/dev/shm", "/tmp")  # noqa: S108 -- the name is random, and nobody else's file is taken
MAGIC = 0x58424843
LINKS, REASON_BYTES, MODULE_BYTES = MOST_FAULTS, 64, 48
HEADER = struct.Struct(f"<IIIiIIII{REASON_BYTES}s")
CRASH = struct.Struct(f"<iiQQQQQiiII{MODULE_BYTES}s")
SEAL = struct.Struct("<II")  # checksum, fate
USED_BYTES = HEADER.size + LINKS * (CRASH.size + SEAL.size)
OPEN, RETURNED, LEFT = 2, 3, 4  # of `enum fate`: a link that is whole
NO_CODE, NO_ADDRESS = 2, 4  # of `enum crash_flag`

WITNESSES = list(Witness)  # in the order of `enum outcome`
REFUSALS = {
    -1: "the process is not armed",
    -2: "no such fault",
    -3: "a parameter is outside its range",
    -4: "a memory-hungry fault needs a memory limit",
    -5: "the fault does not offer this tier",
}

_ANY_SIGNAL = {0: "SI_USER", 128: "SI_KERNEL", -1: "SI_QUEUE", -2: "SI_TIMER", -3: "SI_MESGQ", -6: "SI_TKILL"}
_BY_SIGNAL = {
    signal.SIGSEGV: ["SEGV_MAPERR", "SEGV_ACCERR", "SEGV_BNDERR", "SEGV_PKUERR"],
    signal.SIGBUS: ["BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR", "BUS_MCEERR_AR", "BUS_MCEERR_AO"],
    signal.SIGILL: [
        *("ILL_ILLOPC", "ILL_ILLOPN", "ILL_ILLADR", "ILL_ILLTRP"),
        *("ILL_PRVOPC", "ILL_PRVREG", "ILL_COPROC", "ILL_BADSTK"),
    ],
    signal.SIGFPE: [
        *("FPE_INTDIV", "FPE_INTOVF", "FPE_FLTDIV", "FPE_FLTOVF"),
        *("FPE_FLTUND", "FPE_FLTRES", "FPE_FLTINV", "FPE_FLTSUB"),
    ],
    signal.SIGTRAP: ["TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT"],
    signal.SIGSYS: ["SYS_SECCOMP"],
}
_SIGNALS = {one.value: one.name for one in signal.Signals}
_CODES = {(number.value, code): name for number, names in _BY_SIGNAL.items() for code, name in enumerate(names, 1)}


class Contents(msgspec.Struct, frozen=True):
    """What the page says. `refusal` is empty unless the witness is REFUSED; `faults` are the whole records, in order.

    `armed`: the handlers were in place in the last program that the victim executed; `reason` is why not.
    `counts_allocations`: its refused allocations were counted.
    """

    witness: Witness | None
    refusal: str
    allocation_failures: int
    faults: tuple[FaultRecord, ...]
    armed: bool
    counts_allocations: bool
    reason: str


def create(*, memory_limited: bool) -> int:
    """Return a descriptor of a new page, ready for a victim. Raises InfraError when there is none to be had."""
    with ExitStack() as stack:
        try:
            fd = os.memfd_create("crash-box", os.MFD_CLOEXEC)
            stack.callback(os.close, fd)
            os.ftruncate(fd, BOX_BYTES)
            os.pwrite(fd, _first(memory_limited=memory_limited), 0)
        except OSError as error:
            raise InfraError(f"the shared page can't be made: {error.strerror}") from error
        stack.pop_all()
    return fd


def _first(*, memory_limited: bool) -> bytes:
    return HEADER.pack(MAGIC, memory_limited, 0, 0, 0, 0, 0, 0, b"")


@contextmanager
def page(*, memory_limited: bool) -> Iterator[int]:
    """Yield a descriptor of a new page."""
    fd = create(memory_limited=memory_limited)
    try:
        yield fd
    finally:
        os.close(fd)


def create_named(*, memory_limited: bool) -> tuple[int, str]:
    """Return a descriptor of a new page, and the name under which a foreign command is to find it.

    The guard gives it that name, and takes it away again: where the file system can have a file without one, it has
    none before. Root's command may become another user, who must be able to write there: what stands in it is never
    trusted. Raises InfraError when there is no place for it.
    """
    reason = ""
    for folder in PLACES:
        stale.sweep(folder)
        path = f"{folder}/{stale.PREFIX}{os.getpid()}-{secrets.token_hex(16)}"
        try:
            return _make(folder, path, _first(memory_limited=memory_limited).ljust(BOX_BYTES, b"\0")), path
        except OSError as error:
            reason = f"{folder}: {error.strerror}"
    raise InfraError(f"no place for the page, {reason}")


def _make(folder: str, path: str, content: bytes) -> int:
    """Make a file of `content`, whole or not at all."""
    fd = _open_new(folder, path)
    stale.hold(fd)
    try:
        os.pwrite(fd, content, 0)
        if os.geteuid() == 0:
            os.fchmod(fd, 0o666)
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 -- as it was opened
        os.close(fd)
        raise
    return fd


def _open_new(folder: str, path: str) -> int:
    try:
        return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            raise
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def signal_name(number: int) -> str:
    """Name 11 "SIGSEGV"; a real-time signal without a name is "SIG35" and so on."""
    return _SIGNALS.get(number) or f"SIG{number}"


def code_name(number: int, code: int) -> str:
    """si_code by name; "CODE_n" where the kernel has given none that we know."""
    return _ANY_SIGNAL.get(code) or _CODES.get((number, code)) or f"CODE_{code}"


class _Crash(NamedTuple):
    """`struct crash`, in its order."""

    signal: int
    code: int
    address: int
    program_counter: int
    stack_pointer: int
    offset: int
    frame: int
    thread: int
    sender: int
    order: int
    flags: int
    module: bytes


def _record(crash: _Crash, fate: int, source: Source) -> FaultRecord | None:
    """None if the numbers are out of range."""
    if not 0 < crash.signal < signal.NSIG or crash.thread < 0 or crash.sender < 0:
        return None
    sent, module = crash.code <= 0 and not crash.flags & NO_CODE, _text(crash.module)
    return FaultRecord(
        signal=signal_name(crash.signal),
        code=None if crash.flags & NO_CODE else code_name(crash.signal, crash.code),
        address=None if sent or crash.flags & NO_ADDRESS else crash.address,
        thread=crash.thread or None,
        sender=crash.sender if sent and not crash.flags & NO_ADDRESS else None,
        program_counter=crash.program_counter,
        stack_pointer=crash.stack_pointer,
        module=module or None,
        offset=crash.offset if module else None,
        returned=fate == RETURNED,
        left=fate == LEFT,
        source=source,
    )


def _text(padded: bytes) -> str:
    return padded.partition(b"\0")[0].decode(errors="replace")


def _chain(page: bytes, source: Source) -> tuple[FaultRecord, ...]:
    found = []
    for at in range(HEADER.size, USED_BYTES, CRASH.size + SEAL.size):
        checksum, fate = SEAL.unpack_from(page, at + CRASH.size)
        if fate in (OPEN, RETURNED, LEFT) and checksum == zlib.adler32(page[at : at + CRASH.size]):
            crash = _Crash(*CRASH.unpack_from(page, at))
            found.append((crash.order, _record(crash, fate, source)))
    return tuple(record for _, record in sorted(found, key=itemgetter(0)) if record)


def decode_crash(data: bytes) -> FaultRecord | None:
    """Decode one `struct crash` that is known to be whole; None if its numbers are out of range."""
    return _record(_Crash(*CRASH.unpack(data)), OPEN, "library")


def decode(page: bytes, source: Source = "library") -> Contents:
    """Read a page that `source` has written to. Never raises, whatever the bytes are."""
    page = page[:USED_BYTES].ljust(USED_BYTES, b"\0")
    _, _, witness, refusal, failures, armed, counts_allocations, _, reason = HEADER.unpack_from(page)
    return Contents(
        witness=WITNESSES[witness] if witness < len(WITNESSES) else None,
        refusal=REFUSALS.get(refusal, f"refusal {refusal}"),
        allocation_failures=failures,
        faults=_chain(page, source),
        armed=armed == 1,
        counts_allocations=counts_allocations == 1,
        reason=_text(reason),
    )


def read(fd: int, source: Source = "library") -> Contents:
    """Read the page behind `fd`. Never raises for what a victim did to it, truncation included."""
    return decode(os.pread(fd, USED_BYTES, 0), source)


def refusals(contents: Contents | None) -> int | None:
    """Return how many allocations were refused, or None if nobody counted: a zero must have been counted."""
    counted = contents and contents.armed and contents.counts_allocations
    return contents.allocation_failures if contents and counted else None
