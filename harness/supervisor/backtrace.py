"""The native backtrace of a crash, on request: gdb on the core, where the kernel writes one that can be found."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from harness.supervisor import core

GDB = "gdb"
CORE_BYTES = 1 << 30
GDB_S = 60
FRAMES = 64
LINE_BYTES = 400
PATTERN = Path("/proc/sys/kernel/core_pattern")


def why_not() -> str:
    """Why no backtrace can be had on this machine, or the empty string."""
    if shutil.which(GDB) is None:
        return "gdb is not installed"
    pattern = PATTERN.read_text().strip()
    if not pattern or pattern.startswith(("|", "@")) or "/" in pattern:
        return f"core_pattern is {pattern!r}, so that cores are not written where the process works"
    return ""


class CoreTrap:
    """Has the kernel write a core where we find it, and removes it again.

    `own_folder`: the victim works in a folder made for it. A command works in `directory`, or where we do, and what is
    there is not touched: a file that the core would overwrite makes the backtrace unavailable, and the core of anybody
    but the victim and its own process group stays where it is. Two at once in one folder would overwrite each other's
    core, and where their victims have the same pid could not tell them apart: the second one has none.
    """

    def __init__(self, directory: str | None = None, *, own_folder: bool) -> None:
        self._stack = ExitStack()
        self._own, self._directory = own_folder, directory
        self._victim: core.Owner | None = None
        self.missing = why_not()

    def __enter__(self) -> Self:
        made = tempfile.TemporaryDirectory(prefix="crash-harness-") if self._own and not self.missing else None
        self._folder = Path(self._stack.enter_context(made) if made else self._directory or os.getcwd())  # noqa: PTH109 -- as the kernel sees it
        self.missing = self.missing or self._taken() or self._claimed()
        self._before = self._names() if not self.missing else set()
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._cores():
            path.unlink()
        self._stack.close()

    def _names(self) -> set[str]:
        return set(os.listdir(self._folder))  # noqa: PTH208 -- names are wanted

    def _taken(self) -> str:
        name = PATTERN.read_text().strip()
        if not os.access(self._folder, os.W_OK):
            return f"{self._folder} can't be written to"
        return f"a file called {name!r} is there already" if (self._folder / name).exists() else ""

    def _claimed(self) -> str:
        """Claim the folder by a name that nobody sees and that ends with us; why that can't be done, or nothing."""
        place = self._folder.stat()
        claim = self._stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        try:
            claim.bind(f"\0crash-harness core {place.st_dev} {place.st_ino}")
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            return f"another one waits for a core in {self._folder}" if in_use else f"{self._folder}: {error.strerror}"
        return ""

    def options(self) -> list[str]:
        """Options of the guard."""
        if self.missing:
            return []
        return ["--core-bytes", str(CORE_BYTES), *(["--directory", str(self._folder)] if self._own else [])]

    def belongs_to(self, victim: int, group: int) -> None:
        """Note the pid and process group of the victim, as it sees them itself: their cores are the victim's."""
        self._victim = core.Owner(victim, group)

    def text(self) -> str:
        """Return the frames of the thread that crashed, a line each, innermost first; or "unavailable: why"."""
        if self.missing:
            return f"unavailable: {self.missing}"
        found = next((path for path, owner in self._cores().items() if owner.pid == self._victim_pid), None)
        return _frames(found) if found else "unavailable: no core was written"

    @property
    def _victim_pid(self) -> int | None:
        return self._victim.pid if self._victim else None

    def _cores(self) -> dict[Path, core.Owner]:
        """The victim's cores, and those of its group, that were not here before."""
        new = set() if self.missing else self._names() - self._before
        owners = {self._folder / name: _owner(self._folder / name) for name in sorted(new)}
        return {path: owner for path, owner in owners.items() if owner and self._is_ours(owner)}

    def _is_ours(self, owner: core.Owner) -> bool:
        return self._victim is not None and (owner.pid == self._victim.pid or owner.group == self._victim.group)


def _owner(path: Path) -> core.Owner | None:
    try:
        return core.owner(path)
    except (OSError, ValueError, struct.error):  # torn, or not ours to read
        return None


def _frames(path: Path) -> str:
    """A command may have executed another since: the core itself knows what it was.

    Nothing of the victim's is an argument of gdb's: both files have names of ours, in a folder of ours.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="crash-harness-") as name:
            kept = Path(name, "core")
            kept.symlink_to(path)
            named = re.search(r'AT_EXECFN.*"(.+)"', _gdb(kept, "info auxv"))
            program = Path(name, "program")
            if named and Path(named[1]).is_file():
                program.symlink_to(Path(named[1]).resolve())
            told = _gdb(kept, f"bt {FRAMES}", *([program] if program.is_symlink() else []))
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"unavailable: gdb: {error}"
    _, innermost, rest = told.rpartition("\n#0 ")
    lines = [line[:LINE_BYTES] for line in f"{innermost}{rest}".splitlines() if re.match(r"#\d", line)]
    return "\n".join(lines) or "unavailable: gdb found no frames in the core"


def _gdb(path: Path, command: str, *program: Path) -> str:
    """What a program brings along for gdb to run is not run."""
    words = [GDB, "-nx", "-batch", "-iex", "set auto-load off", "-ex", command, *map(str, program), "-c", str(path)]
    environment = {**os.environ, "DEBUGINFOD_URLS": ""}
    ran = subprocess.run(  # noqa: S603 -- a debugger that reads a file
        words, capture_output=True, check=False, env=environment, stdin=subprocess.DEVNULL, timeout=GDB_S
    )
    return ran.stdout.decode(errors="replace")
