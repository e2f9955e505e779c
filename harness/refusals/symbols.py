"""Names of code, read from the ELF file that holds it: by the size of a symbol, since the nearest one may lie.

A file is untrusted input: a torn one has no names.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from bisect import bisect_right
from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec

from harness.supervisor.elf import ELF_64_LITTLE, HEADER, NOTE

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTION = struct.Struct("<IIQQQQIIQQ")  # name, type, flags, address, offset, size, link, info, align, entry size
SYMBOL = struct.Struct("<IBBHQQ")  # name, info, other, section, value, size
SYMTAB, NOTES, DYNSYM = 2, 7, 11
FUNCTIONS: Final = {2, 10}  # STT_FUNC and, resolved at load time, STT_GNU_IFUNC
BUILD_ID: Final = 3
MOST_BYTES: Final = 1 << 30

_PARTS = re.compile(r"\.(isra|part|constprop|cold|lto_priv|llvm)\b.*")
_OPERATORS = {
    "_Znwm": "operator new",
    "_Znam": "operator new[]",
    "_ZdlPv": "operator delete",
    "_ZdaPv": "operator delete[]",
}
_RUST_HASH = re.compile(r"h[0-9a-f]{16}")
_RUST = re.compile(r"_R([MXYI]|C[s\d]|N[a-zA-Z])")
_RUST_SIGNS = {"$LT$": "<", "$GT$": ">", "$RF$": "&", "$BP$": "*", "$C$": ",", "$LP$": "(", "$RP$": ")", "..": "::"}
_RUST_NUMBER = re.compile(r"[sBLG][0-9A-Za-z]*_|K?[a-z]n?[0-9a-f]+_")  # hash, reference, lifetime, constant


class _Symbols(msgspec.Struct, frozen=True):
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    names: tuple[str, ...]
    build_id: str

    def at(self, offset: int) -> str:
        """The name of the function that covers an address, or the empty string."""
        found = bisect_right(self.starts, offset) - 1
        return self.names[found] if found >= 0 and offset < self.ends[found] else ""


NONE = _Symbols((), (), (), "")


def function_at(path: str, offset: int) -> str:
    """Name the function at an offset of a module; the empty string where no symbol covers it."""
    return plain(read(path).at(offset))


def spans(path: str, pattern: str) -> Iterator[tuple[int, int]]:
    """Where the functions lie whose names match."""
    found = read(path)
    for start, end, name in zip(found.starts, found.ends, found.names, strict=True):
        if re.match(pattern, name):
            yield start, end


def build_id(path: str) -> str:
    """The linker's identification of a build, in hexadecimal; empty where there is none."""
    return read(path).build_id


@cache
def plain(symbol: str) -> str:
    """A symbol as a person reads it: C++ and Rust names without their types, no suffixes of the compiler's.

    Of Rust's newer names it gives every word, types' too, but not the hashes: those change with the compiler.
    """
    symbol = _PARTS.sub("", symbol.partition("@")[0])
    if _RUST.match(symbol):
        return "::".join(filter(None, _words(symbol))) or symbol
    if symbol.startswith(("_Znwm", "_Znam", "_ZdlPv", "_ZdaPv")):
        return next(name for prefix, name in _OPERATORS.items() if symbol.startswith(prefix))
    nested = re.match(r"_Z+L?N[rVKRO]*(\d.*)", symbol)  # a second Z: within another function, whose name this gives
    parts = list(_parts(nested[1])) if nested else []
    single = re.match(r"_ZL?(\d.*)", symbol)
    parts = parts or (list(_parts(single[1]))[:1] if single else [])
    if parts and _RUST_HASH.fullmatch(parts[-1]):
        parts = [_as_written(part) for part in parts[:-1]]
    return "::".join(parts) or symbol


def _as_written(part: str) -> str:
    """A part of one of Rust's older names, which stand for signs by words."""
    text = re.sub(r"\$u([0-9a-f]{2})\$", lambda found: chr(int(found[1], 16)), part)
    for word, sign in _RUST_SIGNS.items():
        text = text.replace(word, sign)
    return text.removeprefix("_") if text.startswith("_<") else text


def _words(mangled: str) -> Iterator[str]:
    """The words of one of Rust's newer names, in their order."""
    at = 2
    while at < len(mangled):
        found = _RUST_NUMBER.match(mangled, at) or re.compile(r"(\d{1,6})_?|.").match(mangled, at)
        size = int(found[1]) if found and found.lastindex else 0
        at = found.end() + size if found else len(mangled)
        yield mangled[at - size : at]


def _parts(mangled: str) -> Iterator[str]:
    """The length-prefixed names of a mangled one; constructors and destructors are written with a letter."""
    last = ""
    while found := re.match(r"(\d{1,6})|([CD])\d", mangled):
        if found[2]:
            yield f"~{last}" if found[2] == "D" else last
            return
        end = found.end() + int(found[1])
        if end > len(mangled):
            return
        last, mangled = mangled[found.end() : end], mangled[end:]
        yield last


@cache
def read(path: str) -> _Symbols:
    """Read a file's symbols once."""
    try:
        data = _content(path)
        return _decode(data) if data.startswith(ELF_64_LITTLE) else NONE
    except (OSError, ValueError, struct.error):
        return NONE


def _content(path: str) -> bytes:
    """Read a file; nothing of a pipe or a device, which the swept process may have named: it would never end."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 -- of its flags
        return file.read(MOST_BYTES) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""


def _decode(data: bytes) -> _Symbols:
    header = HEADER.unpack_from(data)
    start, size, count = header[5], header[10], header[11]
    sections = [SECTION.unpack_from(data, start + at * size) for at in range(count)]
    tables = sorted((one for one in sections if one[1] in (SYMTAB, DYNSYM)), key=lambda one: one[1])
    found: dict[int, tuple[int, str]] = {}
    for table in tables:
        strings = sections[table[6]]
        for value, length, name in _functions(data, table, data[strings[4] : strings[4] + strings[5]]):
            found.setdefault(value, (value + length, name))
    starts = sorted(found)
    notes = [_build_id(data[one[4] : one[4] + one[5]]) for one in sections if one[1] == NOTES]
    ends, names = tuple(found[at][0] for at in starts), tuple(found[at][1] for at in starts)
    return _Symbols(tuple(starts), ends, names, next(filter(None, notes), ""))


def _functions(data: bytes, table: tuple[int, ...], strings: bytes) -> Iterator[tuple[int, int, str]]:
    whole = table[5] // SYMBOL.size * SYMBOL.size
    for name, info, _, section, value, size in SYMBOL.iter_unpack(data[table[4] : table[4] + whole]):
        if info & 15 in FUNCTIONS and section and size:
            yield value, size, strings[name : strings.find(b"\0", name)].decode("utf-8", "replace")


def _build_id(notes: bytes) -> str:
    at = 0
    while at + NOTE.size <= len(notes):
        name, size, kind = NOTE.unpack_from(notes, at)
        begin = at + NOTE.size + (name + 3 & ~3)
        if kind == BUILD_ID and notes[at + NOTE.size : at + NOTE.size + 3] == b"GNU":
            return notes[begin : begin + size].hex()
        at = begin + (size + 3 & ~3)
    return ""
