"""The box is untrusted input: whatever a victim writes there, reading it ends and lies about nothing."""

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence import Witness
from harness.supervisor import box


def page(record: bytes, *, checksum: int | None = None, commit: int = box.MAGIC, witness: int = 1) -> bytes:
    """A page with a crash record."""
    sealed = zlib.crc32(record) if checksum is None else checksum
    return box.HEADER.pack(box.MAGIC, 0, witness, 0, 0, 1) + record + box.SEAL.pack(sealed, commit)


RECORD = box.CRASH.pack(11, 1, 0x10, 0x400000, 0x7FFF0000, 42, 42, 0, 0)


def test_a_whole_record_is_read() -> None:
    """Signal and code by name, address, thread, registers."""
    fault = box.decode(page(RECORD)).fault
    assert fault is not None
    assert (fault.signal, fault.code, fault.address, fault.thread) == ("SIGSEGV", "SEGV_MAPERR", 0x10, 42)
    assert (fault.program_counter, fault.stack_pointer) == (0x400000, 0x7FFF0000)


@pytest.mark.parametrize(
    "torn",
    [page(RECORD, commit=0), page(RECORD, checksum=1), page(RECORD)[:60], b""],
    ids=["uncommitted", "checksum", "short", "empty"],
)
def test_a_torn_record_is_none(torn: bytes) -> None:
    """Without commit word and checksum there is no record."""
    assert box.decode(torn).fault is None


@given(st.binary(max_size=box.USED_BYTES + 8))
def test_garbage_is_read_without_an_exception(garbage: bytes) -> None:
    """Arbitrary bytes decode to something harmless."""
    contents = box.decode(garbage)
    assert contents.witness is None or contents.witness in Witness


@given(st.binary(min_size=box.CRASH.size, max_size=box.CRASH.size), st.integers(0, 2**32 - 1))
def test_sealed_garbage_is_range_checked(record: bytes, witness: int) -> None:
    """Even a correctly sealed record has to make sense."""
    contents = box.decode(page(record, witness=witness))
    if contents.fault is not None:
        assert contents.fault.signal.startswith("SIG")
        assert contents.fault.thread is not None
        assert contents.fault.thread >= 0


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
