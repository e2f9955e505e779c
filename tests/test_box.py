"""The box is untrusted input: whatever a victim writes there, reading it ends and lies about nothing."""

import os
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence import FaultRecord, Witness
from harness.supervisor import box


def crash(
    number: int, code: int, *, order: int = 1, module: bytes = b"libboom.so", thread: int = 42, sender: int = 0
) -> bytes:
    """The bytes of a crash at address 0x10."""
    return box.CRASH.pack(number, code, 0x10, 0x400000, 0x7FFF0000, 0x1234, 0, thread, sender, order, 0, module)


def link(record: bytes, fate: int = box.OPEN, *, checksum: int | None = None) -> bytes:
    """A link of the chain, sealed."""
    return record + box.SEAL.pack(zlib.adler32(record) if checksum is None else checksum, fate)


def page(*links: bytes, witness: int = 1) -> bytes:
    """A page with a chain."""
    return box.HEADER.pack(box.MAGIC, 0, witness, 0, 0, 1, 1, len(links), b"") + b"".join(links)


SEGV = crash(11, 1)


def test_a_whole_record_is_read() -> None:
    """Signal and code by name, address, thread, registers, module and offset."""
    (fault,) = box.decode(page(link(SEGV))).faults
    assert (fault.signal, fault.code, fault.address, fault.thread) == ("SIGSEGV", "SEGV_MAPERR", 0x10, 42)
    assert (fault.program_counter, fault.stack_pointer) == (0x400000, 0x7FFF0000)
    assert (fault.module, fault.offset, fault.source) == ("libboom.so", 0x1234, "library")


@pytest.mark.parametrize(
    "torn",
    [page(link(SEGV, 1)), page(link(SEGV, 9)), page(link(SEGV, checksum=1)), page(link(SEGV))[:150], b""],
    ids=["being written", "no such fate", "checksum", "short", "empty"],
)
def test_a_torn_record_is_none(torn: bytes) -> None:
    """Without a fate that says so, and a checksum, a record is not whole."""
    assert box.decode(torn).faults == ()


@pytest.mark.parametrize(
    "wild",
    [crash(11, 1, thread=-1), crash(11, 0, sender=-1), crash(0, 1), crash(99, 1)],
    ids=["thread", "sender", *"09"],
)
def test_numbers_that_no_kernel_gives_are_no_record(wild: bytes) -> None:
    """A thread, a sender and a signal are in their ranges, or the whole of it is not believed."""
    assert box.decode(page(link(wild))).faults == ()


def test_a_chain_is_in_the_order_of_its_records() -> None:
    """Whatever links they lie in; and what has become of each is told."""
    abort, caught, probe = crash(6, -6, order=9), crash(11, 1, order=2), crash(4, 2, order=3)
    seen = box.decode(page(link(abort), link(caught, box.RETURNED), link(probe, box.LEFT), link(SEGV))).faults
    assert [one.signal for one in seen] == ["SIGSEGV", "SIGSEGV", "SIGILL", "SIGABRT"]
    assert [(one.returned, one.left) for one in seen] == [(False, False), (True, False), (False, True), (False, False)]


def test_a_module_without_an_end_is_cut() -> None:
    """The name is a victim's: it may be no text, and have no last byte."""
    (fault,) = box.decode(page(link(crash(11, 1, module=b"\xff" * box.MODULE_BYTES)))).faults
    assert fault.module == "\N{REPLACEMENT CHARACTER}" * box.MODULE_BYTES


@given(st.binary(max_size=box.USED_BYTES + 8))
def test_garbage_is_read_without_an_exception(garbage: bytes) -> None:
    """Arbitrary bytes decode to something harmless."""
    contents = box.decode(garbage)
    assert contents.witness is None or contents.witness in Witness


@given(st.binary(min_size=box.CRASH.size, max_size=box.CRASH.size), st.integers(0, 2**32 - 1))
def test_sealed_garbage_is_range_checked(record: bytes, witness: int) -> None:
    """Even a correctly sealed record has to make sense, and what it becomes can be written and read again."""
    for fault in box.decode(page(link(record), witness=witness)).faults:
        assert fault.signal.startswith("SIG")
        assert fault.thread is None or fault.thread > 0
        assert msgspec.json.decode(msgspec.json.encode(fault), type=FaultRecord) == fault


def test_a_truncated_page_is_survived() -> None:
    """A victim can shrink the file behind the page."""
    fd = box.create(memory_limited=False)
    os.ftruncate(fd, 0)
    assert box.read(fd).witness is Witness.UNTOUCHED
    os.close(fd)


def test_codes_have_names() -> None:
    """The kernel's numbers by name, and a spelling for what has none."""
    assert box.code_name(11, 2) == "SEGV_ACCERR"
    assert box.code_name(7, 2) == "BUS_ADRERR"
    assert box.code_name(11, 128) == "SI_KERNEL"
    assert box.code_name(6, -6) == "SI_TKILL"
    assert box.code_name(8, 99) == "CODE_99"
    assert box.code_name(63, 1) == "CODE_1"
    assert box.signal_name(63) == "SIG63"
