"""Another order of a victim's threads: delays drawn from a seed, by a library that LD_PRELOAD brings in.

It delays where the victim synchronises: mutexes, conditions, semaphores, the start of a thread. What meets by atomic
operations alone is out of its reach, and so is a static program. What the victim starts inherits it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.supervisor import preload
from harness.supervisor.launch import extension_path

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "CRASH_SCHEDULE"
PRELOAD: Final = "LD_PRELOAD"
MOST_SEED: Final = 2**63 - 1


def why_not(command: str, environment: Mapping[str, str]) -> str:
    """Why `command` can't be given a schedule, or the empty string: it is brought in as the black box is."""
    return preload.why_not(command, environment)


def scheduled(environment: Mapping[str, str], seed: int | None, trial: int | None = None) -> Mapping[str, str]:
    """Add what makes a schedule of `seed`; the same environment where there is none.

    Each `trial` has delays of its own. Without its number, processes are told apart by theirs.
    """
    if seed is None:
        return environment
    library = str(Path(extension_path()).parent / "libcrashschedule.so")
    others = environment.get(PRELOAD)
    asked = str(seed) if trial is None else f"{seed}:{trial}"
    return {**environment, PRELOAD: f"{library}:{others}" if others else library, VARIABLE: asked}
