"""The native backtrace of a crash, on request: gdb on the core, where the kernel writes one that can be found."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Self

GDB = "gdb"
CORE_BYTES = 1 << 30
GDB_S = 60
FRAMES = 64
LINE_BYTES = 400
ELF_CORE = 4  # e_type
PATTERN = Path("/proc/sys/kernel/core_pattern")


def why_not() -> str:
    """Why no backtrace can be had on this machine, or the empty string."""
    if shutil.which(GDB) is None:
        return "gdb is not installed"
    pattern = PATTERN.read_text().strip()
    if not pattern or pattern.startswith("|") or "/" in pattern:
        return f"core_pattern is {pattern!r}, so that cores are not written where the process works"
    return ""


class CoreTrap:
    """Has the kernel write a core where we find it, and removes it again.

    `own_folder`: the victim works in a folder made for it. A command works in `directory`, or where we do, and what is
    there is not touched: a file that the core would overwrite makes the backtrace unavailable.
    """

    def __init__(self, directory: str | None = None, *, own_folder: bool) -> None:
        self._stack = ExitStack()
        self._own, self._directory = own_folder, directory
        self.missing = why_not()

    def __enter__(self) -> Self:
        made = tempfile.TemporaryDirectory(prefix="crash-harness-") if self._own and not self.missing else None
        self._folder = Path(self._stack.enter_context(made) if made else self._directory or os.getcwd())  # noqa: PTH109 -- as the kernel sees it
        self.missing = self.missing or self._taken()
        self._before = self._names() if not self.missing else set()
        return self

    def __exit__(self, *_: object) -> None:
        for core in self._cores():
            core.unlink()
        self._stack.close()

    def _names(self) -> set[str]:
        return set(os.listdir(self._folder))  # noqa: PTH208 -- names are wanted

    def _taken(self) -> str:
        name = PATTERN.read_text().strip()
        if not os.access(self._folder, os.W_OK):
            return f"{self._folder} can't be written to"
        return f"a file called {name!r} is there already" if (self._folder / name).exists() else ""

    def options(self) -> list[str]:
        """Options of the guard."""
        if self.missing:
            return []
        return ["--core-bytes", str(CORE_BYTES), *(["--directory", str(self._folder)] if self._own else [])]

    def text(self) -> str:
        """Return the frames of the thread that crashed, a line each, innermost first; or "unavailable: why"."""
        if self.missing:
            return f"unavailable: {self.missing}"
        core = next(iter(self._cores()), None)
        return _frames(core) if core else "unavailable: no core was written"

    def _cores(self) -> list[Path]:
        new = set() if self.missing else self._names() - self._before
        return [self._folder / name for name in sorted(new) if _is_core(self._folder / name)]


def _is_core(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(18)
    return head[:4] == b"\x7fELF" and struct.unpack_from("<H", head.ljust(18, b"\0"), 16)[0] == ELF_CORE


def _frames(core: Path) -> str:
    """A command may have executed another since: the core itself knows what it was."""
    try:
        named = re.search(r'AT_EXECFN.*"(.+)"', _gdb(core, "info auxv"))
        told = _gdb(core, f"bt {FRAMES}", *([named[1]] if named else []))
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unavailable: gdb: {error}"
    _, innermost, rest = told.rpartition("\n#0 ")
    lines = [line[:LINE_BYTES] for line in f"{innermost}{rest}".splitlines() if re.match(r"#\d", line)]
    return "\n".join(lines) or "unavailable: gdb found no frames in the core"


def _gdb(core: Path, command: str, *program: str) -> str:
    words = [GDB, "-nx", "-batch", "-ex", command, *program, "-c", str(core)]
    environment = {**os.environ, "DEBUGINFOD_URLS": ""}
    ran = subprocess.run(  # noqa: S603 -- a debugger that reads a file
        words, capture_output=True, check=False, env=environment, stdin=subprocess.DEVNULL, timeout=GDB_S
    )
    return ran.stdout.decode(errors="replace")
