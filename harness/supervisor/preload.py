"""Whether a command can carry a library of ours by LD_PRELOAD, as the sweep asks before it starts one.

The library of the box is looked after in C, before each exec (native/box/image.c).
"""

from __future__ import annotations

import os
import re
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.supervisor.elf import find_program, read_program
from harness.supervisor.launch import extension_path

if TYPE_CHECKING:
    from collections.abc import Mapping

SANITIZERS = re.compile(r"lib(asan|hwasan|lsan|msan|tsan)\b|libclang_rt\.\w*[alt]san")


class Library(msgspec.Struct, frozen=True):
    """Another library of ours that a command is to carry, and the page that it shares with us."""

    path: str
    page: int


def library_path(*, counting: bool = False) -> Path:
    """Return the path of a library of the box, which is installed beside the extension."""
    return Path(extension_path()).parent / f"libcrashbox{'-counting' if counting else ''}.so"


def why_not_preloaded(library: Path) -> str:
    """Why LD_PRELOAD can't name it, or the empty string."""
    if not library.is_file():
        return "the library is not built"
    return "the library's path has a blank or a colon" if re.search(r"[\s:]", str(library)) else ""


def why_not(command: str, env: Mapping[str, str]) -> str:
    """Why `command` can't carry a box, as far as its file tells, or the empty string.

    The library suits the loader of this interpreter only; a sanitizer refuses to run unless it is loaded first; and the
    loader ignores LD_PRELOAD for a program with privileges.
    """
    if reason := why_not_preloaded(library_path()):
        return reason
    if SANITIZERS.search(env.get("LD_PRELOAD", "")):
        return "a sanitizer is preloaded"
    try:
        path = find_program(command, env)
        return _look(path) if path else ""
    except (OSError, ValueError, struct.error):  # unreadable, or no sound ELF file: the start will show
        return ""


def _look(path: Path) -> str:
    program = read_program(path)
    if program is None:
        return f"{path.name} is no executable of this word size" if _is_elf(path) else ""
    if program.loader is None:
        return f"{path.name} is a static executable"
    if Path(program.loader).name != _own_loader():
        return f"{path.name} has another loader, {program.loader}"
    if any(map(SANITIZERS.match, program.needed)):
        return f"{path.name} is built with a sanitizer"
    return f"{path.name} is a privileged executable" if _is_privileged(path) else ""


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _own_loader() -> str:
    """Return the loader that started this interpreter: the library was compiled for it."""
    program = read_program(Path("/proc/self/exe"))
    return Path(program.loader).name if program and program.loader else ""


def _is_privileged(path: Path) -> bool:
    """Whether executing the file would give rights that we have not."""
    found = path.stat()
    gains_user = found.st_mode & stat.S_ISUID and found.st_uid != os.geteuid()
    gains_group = found.st_mode & stat.S_ISGID and found.st_gid != os.getegid()
    return bool(gains_user or gains_group or (os.geteuid() != 0 and "security.capability" in os.listxattr(path)))
