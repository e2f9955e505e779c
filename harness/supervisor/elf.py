"""A cheap look at an ELF file: its segments, its loader, its libraries. Raises struct.error for a torn file."""

from __future__ import annotations

import shutil
import struct
from itertools import islice
from os import SEEK_SET
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ELF_64_LITTLE = b"\x7fELF\x02\x01"
HEADER = struct.Struct("<16xHHIQQQIHHHHHH")  # type, machine, version, entry, segments at, sections at, …
SEGMENT = struct.Struct("<IIQQQQQQ")  # type, flags, offset, address, …, size in the file
NOTE = struct.Struct("<III")  # size of the name, size of what it says, type
ENTRY = struct.Struct("<QQ")
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB = 1, 5
NAME_BYTES = 256
MOST_ENTRIES = 1024  # nothing is sized by the file alone
MOST_SCRIPTS = 5  # the kernel follows as many


class Program(msgspec.Struct, frozen=True):
    """`loader` is None for a static executable."""

    loader: str | None
    needed: tuple[str, ...]


class Segment(msgspec.Struct, frozen=True):
    """A part of the file, and where it lies in memory."""

    kind: int
    offset: int
    address: int
    size: int


def find_program(command: str, env: Mapping[str, str]) -> Path | None:
    """Return the file that the kernel will execute for `command`: a script's interpreter is one."""
    path = shutil.which(command, path=env.get("PATH"))
    for _ in range(MOST_SCRIPTS):
        if path is None:
            return None
        with Path(path).open("rb") as file:
            line = file.read(NAME_BYTES).partition(b"\n")[0]
        if not line.startswith(b"#!"):
            return Path(path)
        path = next(iter(line[2:].decode(errors="replace").split()), None)
    return None


def read_program(path: Path) -> Program | None:
    """Return None for what is no 64-bit little-endian ELF file."""
    with path.open("rb") as file:
        if file.read(len(ELF_64_LITTLE)) != ELF_64_LITTLE:
            return None
        segments = list(islice(segments_of(file), MOST_ENTRIES))
        loaders = [_string(file, one.offset) for one in segments if one.kind == PT_INTERP]
        return Program(loaders[0] if loaders else None, tuple(_needed(file, segments)))


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Read as much as there is."""
    file.seek(offset, SEEK_SET)
    return file.read(size)


def _string(file: BinaryIO, offset: int) -> str:
    return read_at(file, offset, NAME_BYTES).partition(b"\0")[0].decode(errors="replace")


def segments_of(file: BinaryIO) -> Iterator[Segment]:
    """Yield the segments that the header names."""
    header = HEADER.unpack(read_at(file, 0, HEADER.size))
    start, size, count = header[4], header[8], header[9]
    for index in range(count):
        kind, _, offset, address, _, in_file, _, _ = SEGMENT.unpack(read_at(file, start + index * size, SEGMENT.size))
        yield Segment(kind, offset, address, in_file)


def _needed(file: BinaryIO, segments: list[Segment]) -> Iterator[str]:
    for dynamic in (one for one in segments if one.kind == PT_DYNAMIC):
        table = read_at(file, dynamic.offset, min(dynamic.size, MOST_ENTRIES * ENTRY.size))
        entries = list(ENTRY.iter_unpack(table[: len(table) // ENTRY.size * ENTRY.size]))
        strings = next((_offset(value, segments) for tag, value in entries if tag == DT_STRTAB), 0)
        yield from (_string(file, strings + value) for tag, value in entries if tag == DT_NEEDED)


def _offset(address: int, segments: list[Segment]) -> int:
    """Where in the file an address of memory comes from."""
    loaded = (one for one in segments if one.kind == PT_LOAD and one.address <= address < one.address + one.size)
    return next((address - one.address + one.offset for one in loaded), 0)
