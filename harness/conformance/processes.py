"""Looks at /proc from inside the conductor, and its last act: everything of a cell is killed and reaped."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PR_SET_CHILD_SUBREAPER = 36
GONE = frozenset("ZXx")
SWEEPS = 200
REST_S = 0.02


class Seen(NamedTuple):
    """A process at one look: its start (field 22 of its stat line), state, parent, and how many threads it has."""

    start: int
    state: str
    parent: int
    threads: int = 1

    @property
    def is_gone(self) -> bool:
        """A zombie counts as gone, once the last of its threads is: until then nobody can reap it."""
        return self.state in GONE and self.threads <= 1


def look(pid: int) -> Seen | None:
    """Return the process that has this pid now, or None."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as file:  # noqa: PTH123 -- ten thousand times a cell
            text = file.read()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return Seen(int(fields[19]), fields[0], int(fields[1]), int(fields[17]))


def find(pid: int, start: int, namespace: int = 0) -> int | None:
    """Our own pid of the living process that calls itself `pid` in a PID namespace, which may be one of the engine's.

    Its start is the same in every namespace.
    """
    if namespace in (0, _namespace(os.getpid())):
        seen = look(pid)
        return pid if seen and seen.start == start and not seen.is_gone else None
    key = pid, start, namespace
    if key not in _elsewhere:
        alike = [other for other, seen in everything().items() if seen.start == start]
        _elsewhere[key] = next((o for o in alike if _namespace(o) == namespace and _inner(o) == pid), 0)
    seen = look(_elsewhere[key])
    return _elsewhere[key] if seen and seen.start == start and not seen.is_gone else None


_elsewhere: dict[tuple[int, int, int], int] = {}
"""What was found once: our own pid, or 0 for a process that was gone before anybody looked."""


def _namespace(pid: int) -> int:
    """Return the number of a process's PID namespace, or -1."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino  # noqa: PTH116 -- as often as a look
    except OSError:
        return -1


def _inner(pid: int) -> int | None:
    """The pid by which a process knows itself: the last of the namespaces that it is in."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return None


def lives(pid: int, start: int, namespace: int = 0) -> bool:
    """Whether that very process still runs."""
    return find(pid, start, namespace) is not None


def is_there(pid: int) -> bool:
    """Whether any process runs under `pid`."""
    seen = look(pid)
    return seen is not None and not seen.is_gone


def adopt_orphans() -> None:
    """Become a subreaper: what leaves its parent below us is ours to find and to reap."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def everything() -> dict[int, Seen]:
    """All processes of this namespace."""
    found = {int(name): look(int(name)) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 -- names do
    return {pid: seen for pid, seen in found.items() if seen}


def below(root: int, tree: dict[int, Seen]) -> set[int]:
    """Everything that descends from `root`."""
    found, grown = {root}, True
    while grown:
        more = {pid for pid, seen in tree.items() if seen.parent in found} - found
        found, grown = found | more, bool(more)
    return found - {root}


def _is_tagged(pid: int, tag: bytes) -> bool:
    try:
        return tag in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def of_run(run: str, processes: Iterable[tuple[int, int, int]]) -> set[int]:
    """Processes of a cell: our descendants, those that carry its tag, and those that its ledger names."""
    tree, tag, own = everything(), f"CH_RUN={run}".encode(), os.getpid()
    named = {known for process in processes if (known := find(*process))}
    found = below(own, tree)
    found |= named | {pid for pid in tree if _is_tagged(pid, tag)}
    return {pid for pid in found if pid != own and pid in tree and not tree[pid].is_gone}


def name_of(pid: int) -> str:
    """Its command line, shortened, for a list of what was left over."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        if words:
            return words[:80]
    return f"pid {pid}"


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may have ended already."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def reap() -> None:
    """Reap whatever of our children has ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def sweep(find: Callable[[], set[int]]) -> list[str]:
    """Kill what `find` finds until it finds nothing; returns what that was."""
    litter: dict[int, str] = {}
    for _ in range(SWEEPS):
        found = find()
        if not found:
            break
        for pid in found:
            litter.setdefault(pid, name_of(pid))
            kill(pid)
        time.sleep(REST_S)
        reap()
    return list(litter.values())
