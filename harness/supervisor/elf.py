"""A cheap look at a program: what would load it, which libraries it wants. Raises struct.error for a torn file."""

from __future__ import annotations

import shutil
import struct
from os import SEEK_SET
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ELF_64_LITTLE = b"\x7fELF\x02\x01"
HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")  # type, flags, offset, address, …, size in the file
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


class _Segment(msgspec.Struct, frozen=True):
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
        segments = list(_segments(file))
        loaders = [_string(file, one.offset) for one in segments if one.kind == PT_INTERP]
        return Program(loaders[0] if loaders else None, tuple(_needed(file, segments)))


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset, SEEK_SET)
    return file.read(size)


def _string(file: BinaryIO, offset: int) -> str:
    return _read(file, offset, NAME_BYTES).partition(b"\0")[0].decode(errors="replace")


def _segments(file: BinaryIO) -> Iterator[_Segment]:
    header = HEADER.unpack(_read(file, 0, HEADER.size))
    start, size, count = header[4], header[8], header[9]
    for index in range(min(count, MOST_ENTRIES)):
        kind, _, offset, address, _, in_file, _, _ = SEGMENT.unpack(_read(file, start + index * size, SEGMENT.size))
        yield _Segment(kind, offset, address, in_file)


def _needed(file: BinaryIO, segments: list[_Segment]) -> Iterator[str]:
    for dynamic in (one for one in segments if one.kind == PT_DYNAMIC):
        table = _read(file, dynamic.offset, min(dynamic.size, MOST_ENTRIES * ENTRY.size))
        entries = list(ENTRY.iter_unpack(table[: len(table) // ENTRY.size * ENTRY.size]))
        strings = next((_offset(value, segments) for tag, value in entries if tag == DT_STRTAB), 0)
        yield from (_string(file, strings + value) for tag, value in entries if tag == DT_NEEDED)


def _offset(address: int, segments: list[_Segment]) -> int:
    """Where in the file an address of memory comes from."""
    loaded = (one for one in segments if one.kind == PT_LOAD and one.address <= address < one.address + one.size)
    return next((address - one.address + one.offset for one in loaded), 0)
