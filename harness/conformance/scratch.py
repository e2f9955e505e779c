"""Makes and removes what a check needs beside processes: a folder, cgroups with its tag, a /dev/shm for each cell.

A check that ends, also by Ctrl-C, removes its own. What a killed check has left is removed by the next one: the
folder of a living check is locked.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.supervisor import memory_cgroup
from harness.supervisor.cgroups import OF_ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX: Final = "ch-engines-"
LONGEST_BASE: Final = 20  # bytes; the path of an engine's folder has 60 at most
DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
TAG_LETTERS: Final = 5
PLACE: Final = "cgroups"  # the file that says where they are
GROUP: Final = OF_ENGINES
ROOTS: Final = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup")
REMOVALS, REMOVAL_REST_S = 50, 0.02

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 2, 4, 1 << 14, 1 << 18


# --- a check's folder, and its cgroups ---


@contextmanager
def folder() -> Iterator[Path]:
    """A locked folder with a short path, as sockets need; its name ends in the check's tag. Gone afterwards."""
    base = Path(tempfile.gettempdir() if len(tempfile.gettempdir()) < LONGEST_BASE else "/tmp")  # noqa: S108 -- see above
    _remove_abandoned(base)
    with ExitStack() as stack:
        made = _made(base, stack)
        try:
            yield made
        finally:
            _remove(made)


def tag_of(made: Path) -> str:
    """Five letters by which every run's name, and every cgroup, of this check begins."""
    return made.name.removeprefix(PREFIX)


def _made(base: Path, stack: ExitStack) -> Path:
    """Make a folder and lock it. Another check may remove it before it is locked: then make one more."""
    while True:
        tag = "".join(DIGITS[byte % len(DIGITS)] for byte in os.urandom(TAG_LETTERS))
        made = base / f"{PREFIX}{tag}"
        made.mkdir(mode=0o700)
        lock = stack.enter_context(_opened(made))
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        if made.is_dir():
            (made / PLACE).write_text(memory_cgroup().parent)
            return made


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """Return a descriptor of a folder, or None where the folder is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _remove_abandoned(base: Path) -> None:
    for path in base.glob(f"{PREFIX}*"):
        with _opened(path) as fd:
            if fd is None or os.fstat(fd).st_uid != os.geteuid():
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _remove(path)


def _remove(made: Path) -> None:
    """Remove the cgroups of a check and then its folder, without which nobody would know their tag."""
    place = made / PLACE
    remove_groups(tag_of(made), place.read_text() if place.is_file() else "")
    shutil.rmtree(made, ignore_errors=True)


def remove_groups(tag: str, place: str = "") -> None:
    """Remove cgroups that a conductor, or an engine that was killed, could not remove: ours, and those at the roots.

    `place` is where the check had its own, which may have run elsewhere than we do.
    """
    parents = {memory_cgroup().parent, place, *ROOTS}
    left = [path for parent in parents if parent for path in Path(parent).glob(f"{GROUP}{tag}*")]
    for _ in range(REMOVALS):
        left = [path for path in left if not _is_removed(path)]
        if not left:
            return
        time.sleep(REMOVAL_REST_S)  # the kernel keeps one busy for a moment after its last process


def _is_removed(path: Path) -> bool:
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


# --- a cell's /dev/shm ---


def seclude() -> None:
    """Give the calling process, which has one thread, a /dev/shm of its own: it ends with the last process of the cell.

    Semaphores and shared memory have names there, which outlive whoever is killed. Where neither rights nor user
    namespaces allow it, they share the machine's.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not _leave(libc):
        return
    libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
    libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=1777")


def _leave(libc: ctypes.CDLL) -> bool:
    """Enter a new mount namespace; without rights, by a new user namespace in which every file keeps its owner."""
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWNS) == 0:
        return True
    if ctypes.get_errno() != errno.EPERM or libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0:
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    return True
