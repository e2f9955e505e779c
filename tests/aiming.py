"""Sends a signal to one process of a life at one step of it, by a tracer that then lets everything go.

    python -S tests/aiming.py SUPERVISOR STEP TARGET SIGNAL

A step is a stop before or after a system call of one of the guard's processes, counted from 1 over all of them: so
each place between two things that they do is one. TARGET: supervisor, guard, parent (of the victim) or init. The victim
itself runs untraced from its exec on. Prints "ready" once it watches, then "sent", "none" and the number of steps when
the life was over before that one, or "gone" when there is no such process. Exits with 77 where there is no ptrace.
"""

import ctypes
import os
import sys

NO_PTRACE = 77
CONT, SYSCALL, DETACH, SEIZE, LISTEN = 7, 24, 17, 0x4206, 0x4208
OPTIONS = 0x01 | 0x02 | 0x04 | 0x08 | 0x10  # stops of system calls told from SIGTRAP; forks, vforks, clones, execs
CALL_STOP, EVENT_EXEC, EVENT_STOP = 0x85, 4, 128
WALL = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4


def go_on(how: int, pid: int, number: int = 0) -> None:
    """Let a stopped process go on, with a signal or without."""
    libc.ptrace(how, pid, 0, number)


def stat(pid: int) -> tuple[str, int]:
    """Name and parent of a process."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 -- a script of few imports
        text = file.read()
    return text[text.index("(") + 1 : text.rindex(")")], int(text[text.rindex(")") :].split()[2])


def space(pid: int | str) -> int:
    """The PID namespace of a process."""
    return os.stat(f"/proc/{pid}/ns/pid").st_ino  # noqa: PTH116 -- a script of few imports


class Life:
    """The processes below one supervisor, as they come."""

    def __init__(self, supervisor: int) -> None:
        self.supervisor = supervisor
        self.roles = {"supervisor": supervisor}

    def place(self, pid: int) -> None:
        """Note what a new process of the guard is. In a namespace the guard starts its init first."""
        if pid in self.roles.values():
            return
        _, parent = stat(pid)
        if parent == self.supervisor:
            self.roles["guard"] = pid
        elif parent == self.roles.get("guard"):
            is_inside = space(pid) != space("self")
            self.roles["init" if is_inside and "init" not in self.roles else "parent"] = pid

    def is_guards(self, pid: int) -> bool:
        """Whether it is, or is about to become, a process of the guard."""
        return pid != self.supervisor and stat(pid)[0] == "guard"


def follow(life: Life, step: int, target: str, number: int) -> str:
    """Count steps until the one that is wanted, and send the signal there."""
    count = 0
    while True:
        try:
            pid, status = os.waitpid(-1, WALL)
        except ChildProcessError:
            return f"none {count}"
        if not os.WIFSTOPPED(status):
            if pid == life.supervisor or pid == life.roles.get("guard"):
                return f"none {count}"
            continue
        stopped_by, event = os.WSTOPSIG(status), status >> 16
        if pid == life.supervisor:
            go_on(LISTEN if event == EVENT_STOP and stopped_by != 5 else CONT, pid, 0 if event else stopped_by)
        elif event == EVENT_EXEC and not life.is_guards(pid):
            go_on(DETACH, pid)
        elif stopped_by == CALL_STOP and life.is_guards(pid):
            count += 1
            if count == step:
                return send(life, target, number)
            go_on(SYSCALL, pid)
        else:
            life.place(pid)
            go_on(SYSCALL, pid, 0 if event or stopped_by == CALL_STOP else stopped_by)


def send(life: Life, target: str, number: int) -> str:
    """Send it: whoever is traced gets it when we let go."""
    try:
        os.kill(life.roles[target], number)
    except (KeyError, ProcessLookupError):
        return "gone"
    return "sent"


def main() -> int:
    """See the module's docstring."""
    supervisor, step, number = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[4])
    if libc.ptrace(SEIZE, supervisor, 0, OPTIONS) != 0:
        return NO_PTRACE
    os.write(1, b"ready\n")
    os.write(1, follow(Life(supervisor), step, sys.argv[3], number).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
