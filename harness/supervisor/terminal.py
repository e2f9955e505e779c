"""The terminal that we work at, and what a victim of ours may have of it.

A victim has a process group of its own, so that what it sends to its group can't hit us. While the guard lends it the
terminal, Ctrl-C and Ctrl-Z go to that group alone: what we, and others of our group, would have got is passed on here.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

TTY = "/dev/tty"
DEAD = "ZX"


def guard_options() -> list[str]:
    """Options of the guard that let a victim use the terminal, empty where there is none.

    At once where we are alone in its foreground, with nobody but those who wait for us. Beside others, a pager for
    one, only when the victim stops for want of it.
    """
    try:
        os.close(os.open(TTY, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return []
    return ["--terminal", "at-need" if _companions() else "at-once"]


class _Process(NamedTuple):
    pid: int
    state: str
    parent: int
    group: int


def _processes() -> Iterator[_Process]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                state, parent, group = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:3]
                yield _Process(int(folder.name), state, int(parent), int(group))


def _companions() -> set[int]:
    """Other processes of our group, but for our ancestors."""
    found = {one.pid: one for one in _processes()}
    group = {one.pid for one in found.values() if one.group == os.getpgrp()}
    ancestor = found.get(os.getpid())
    while ancestor:
        group.discard(ancestor.pid)
        ancestor = found.get(ancestor.parent)
    return group


@contextmanager
def unhindered() -> Iterator[None]:
    """Within, this thread may write to a terminal that is lent, whatever `stty tostop` says."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def suspend() -> None:
    """Stop our process group, as Ctrl-Z would have. Returns when it goes on; at once where nobody could let it."""
    os.killpg(os.getpgrp(), signal.SIGTSTP)


def interrupt() -> None:
    """Interrupt our process group, as the Ctrl-C would have that ended the victim. Raises KeyboardInterrupt."""
    os.killpg(os.getpgrp(), signal.SIGINT)
    raise KeyboardInterrupt


def reclaim() -> None:
    """Take the terminal from a group in which nobody lives: a guard that was killed did not give it back."""
    with suppress(OSError), unhindered():
        fd = os.open(TTY, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            holder = os.tcgetpgrp(fd)
            if not any(one.group == holder and one.state not in DEAD for one in _processes()):
                os.tcsetpgrp(fd, os.getpgrp())
        finally:
            os.close(fd)
