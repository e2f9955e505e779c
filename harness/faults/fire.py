"""A fault fired in this very process: for a program that a supervisor started, and that was armed."""

from __future__ import annotations

from harness.child.fault import load, obey
from harness.exceptions import InvalidInputError, NotArmed, shown, unknown
from harness.supervisor.box import REFUSALS
from harness.supervisor.launch import MODES, extension_path, shot_words


def fire(fault: str, mode: str = "forced", **parameters: int) -> int:
    """Fire `fault` in this very process, which a supervisor must have armed.

    For a program of the user's own that is run as a victim; to see what a fault does, run a harness.Fault.

        fire("null_read", offset=8)

    Returns the outcome if the process lives (2 done, 3 did not fire). Raises NotArmed, with nothing fired, in any
    other process, and InvalidInputError for what the catalogue does not offer.
    """
    if mode not in MODES:
        raise unknown("fault.mode", mode, MODES)
    native = load(extension_path())
    answer = obey(native, shot_words(fault, mode, parameters))
    if answer == native.lib.NOT_ARMED:
        raise NotArmed(f"{fault}: this process is not a victim; let a supervisor start one")
    if answer < 0:
        raise InvalidInputError(f"fault: {shown(fault)}: {REFUSALS.get(answer, f'refused ({answer})')}")
    return answer
