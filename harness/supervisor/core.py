"""Whose core a core file is, by the kernel's own note in it. Raises struct.error or ValueError for a torn file."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.supervisor.elf import ELF_64_LITTLE, HEADER, NOTE, read_at, segments_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CORE, PT_NOTE, NT_PRPSINFO = 4, 4, 3
PROCESS = struct.Struct("<16xII4i")  # uid, gid, pid, parent, group, session
MOST_NOTE_BYTES = 1 << 20  # nothing is sized by the file alone


class Owner(msgspec.Struct, frozen=True):
    """The process that died: its numbers are those of its own PID namespace."""

    pid: int
    group: int


def owner(path: Path) -> Owner | None:
    """Return None for what is no core of a 64-bit little-endian process."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        if file.read(len(ELF_64_LITTLE)) != ELF_64_LITTLE:
            return None
        for kind, told in _notes(file):
            if kind == NT_PRPSINFO:
                _, _, pid, _, group, _ = PROCESS.unpack_from(told)
                return Owner(pid, group)
    return None


def _notes(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    if HEADER.unpack(read_at(file, 0, HEADER.size))[0] != CORE:
        return
    for one in segments_of(file):
        if one.kind == PT_NOTE:
            yield from _of_segment(read_at(file, one.offset, min(one.size, MOST_NOTE_BYTES)))


def _of_segment(notes: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + NOTE.size <= len(notes):
        name_bytes, told_bytes, kind = NOTE.unpack_from(notes, at)
        told_at = at + NOTE.size + _padded(name_bytes)
        yield kind, notes[told_at : told_at + told_bytes]
        at = told_at + _padded(told_bytes)


def _padded(size: int) -> int:
    return -(-size // 4) * 4
