"""The shared page, seen from outside. A victim can write anything there: fixed size, range checks, no trust."""

from __future__ import annotations

import os
import signal
import struct
import zlib

import msgspec

from harness.evidence import FaultRecord, Witness
from harness.exceptions import InfraError

BOX_BYTES = 4096
MAGIC = 0x58424843
HEADER = struct.Struct("<IIIiII")  # magic, memory_limited, witness, refusal, allocation_failures, claim
CRASH = struct.Struct("<iiQQQiiii")  # signal, code, address, pc, sp, thread, process, sender, reserved
SEAL = struct.Struct("<II")  # checksum, commit
ARMS = struct.Struct("<II")  # armed, counts_allocations
USED_BYTES = HEADER.size + CRASH.size + SEAL.size + ARMS.size

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
    """What the page says. `refusal` is empty unless the witness is REFUSED; `fault` needs a whole record.

    `armed`: the handlers were in place in the last program that the victim executed.
    `counts_allocations`: its refused allocations were counted, by the preloaded library.
    """

    witness: Witness | None
    refusal: str
    allocation_failures: int
    fault: FaultRecord | None
    armed: bool
    counts_allocations: bool


def create(*, memory_limited: bool) -> int:
    """Return a descriptor of a new page, ready for a victim. Raises InfraError when there is none to be had."""
    try:
        fd = os.memfd_create("crash-box", os.MFD_CLOEXEC)
    except OSError as error:
        raise InfraError(f"the shared page can't be made: {error.strerror}") from error
    os.ftruncate(fd, BOX_BYTES)
    os.pwrite(fd, HEADER.pack(MAGIC, memory_limited, 0, 0, 0, 0), 0)
    return fd


def signal_name(number: int) -> str:
    """Name 11 "SIGSEGV"; a real-time signal without a name is "SIG35" and so on."""
    return _SIGNALS.get(number) or f"SIG{number}"


def code_name(number: int, code: int) -> str:
    """si_code by name; "CODE_n" where the kernel has given none that we know."""
    return _ANY_SIGNAL.get(code) or _CODES.get((number, code)) or f"CODE_{code}"


def decode_crash(record: bytes) -> FaultRecord | None:
    """Decode a whole crash record; None if its numbers are out of range."""
    number, code, address, counter, stack, thread, _, sender, _ = CRASH.unpack(record)
    if not 0 < number < signal.NSIG or thread < 0 or sender < 0:
        return None
    sent = code <= 0
    return FaultRecord(
        signal=signal_name(number),
        code=code_name(number, code),
        address=None if sent else address,
        thread=thread,
        sender=sender if sent else None,
        program_counter=counter,
        stack_pointer=stack,
    )


def decode(page: bytes) -> Contents:
    """Never raises, whatever the bytes are."""
    page = page[:USED_BYTES].ljust(USED_BYTES, b"\0")
    _, _, witness, refusal, failures, _ = HEADER.unpack_from(page)
    record = page[HEADER.size : HEADER.size + CRASH.size]
    checksum, commit = SEAL.unpack_from(page, HEADER.size + CRASH.size)
    armed, counts_allocations = ARMS.unpack_from(page, HEADER.size + CRASH.size + SEAL.size)
    whole = commit == MAGIC and checksum == zlib.crc32(record)
    return Contents(
        witness=WITNESSES[witness] if witness < len(WITNESSES) else None,
        refusal=REFUSALS.get(refusal, f"refusal {refusal}"),
        allocation_failures=failures,
        fault=decode_crash(record) if whole else None,
        armed=armed == 1,
        counts_allocations=counts_allocations == 1,
    )


def read(fd: int) -> Contents:
    """Read the page behind `fd`. Never raises for what a victim did to it, truncation included."""
    return decode(os.pread(fd, USED_BYTES, 0))
