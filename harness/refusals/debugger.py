"""One refusal under gdb: the same process, none of our signal handlers in the way."""

from __future__ import annotations

import shlex
import shutil
from typing import TYPE_CHECKING, Final

from harness.child.fault import BOX_FD
from harness.exceptions import InfraError
from harness.refusals.surroundings import library_path

if TYPE_CHECKING:
    from collections.abc import Sequence

GDB_S: Final = 120.0
START: Final = (
    "set confirm off",
    "set debuginfod enabled off",
    "set disable-randomization off",
    "set breakpoint pending on",
    "set width 0",
    "set print frame-arguments scalars",
    "set auto-load off",
)
TELL: Final = (
    'printf "signal %d, code %d, ", $_siginfo.si_signo, $_siginfo.si_code',
    'printf "address %p\\n", $_siginfo._sifields._sigfault.si_addr',
    "bt 32",
    "x/i $pc",
    "kill",
)


def gdb_words(words: Sequence[str], fork_at: str = "") -> list[str]:
    """The command that runs another under gdb; into the child of the fork that comes after `fork_at`, if that is given.

    Neither gdb nor the shell that quotes for it may carry the library: `env` is the last before the program. Raises
    InfraError where there is no gdb.
    """
    gdb = shutil.which("gdb")
    if gdb is None:
        raise InfraError("--gdb: gdb is not installed")
    carried = {"LD_PRELOAD": library_path(), "CRASH_BOX_FD": str(BOX_FD), "CRASH_BOX_VICTIM": "*"}
    wrapper = shlex.join(["env", *(f"{name}={value}" for name, value in carried.items())])
    commands = [*START, f"set exec-wrapper {wrapper}"]
    into_child = [f"break {fork_at}", "run", "set follow-fork-mode child", "continue"] if fork_at else ["run"]
    commands += [*into_child, *TELL]
    return [gdb, "-nx", "-batch", *(part for one in commands for part in ("-ex", one)), "--args", *words]
