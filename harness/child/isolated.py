"""The other side of harness.isolated: calls a function in a process that may die of it, and leaves what it returned.

Run by path, it is a new process that is asked on descriptor 5; imported, its `answer` is what a fork does.
"""

import os
import pickle
import sys
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CHANNEL_FD = 5
RETURNED, RAISED = "returned", "raised"


def answer(fd: int, function: "Callable[..., Any]", args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> None:
    """Call it, and write what came of it to `fd`, in the place of what is there."""
    caller, file = os.getppid(), os.fstat(fd)
    try:
        data = pickle.dumps((RETURNED, function(*args, **kwargs)))
    except BaseException as error:  # noqa: BLE001 -- whatever it is, it is the answer
        data = raised(error)
    with open(os.dup(fd) if _is_still(fd, file) else f"/proc/{caller}/fd/{fd}", "r+b") as out:  # noqa: PTH123 -- a descriptor is no path
        out.truncate(0)
        out.write(data)


def _is_still(fd: int, file: os.stat_result) -> bool:
    """Whether a descriptor leads where it did: the function may have closed all that it found, as a daemon does."""
    try:
        return os.path.samestat(os.fstat(fd), file)
    except OSError:
        return False


def raised(error: BaseException) -> bytes:
    """An exception that can't travel goes as one that says what it was."""
    text = "".join(traceback.format_exception(error))
    error.add_note(f"raised in an isolated process:\n{text}")
    try:
        data = pickle.dumps((RAISED, error))
        pickle.loads(data)  # noqa: S301 -- our own; some can be written and not read
    except Exception:  # noqa: BLE001 -- the user's own class may do anything
        said = "".join(traceback.format_exception_only(error)).strip()  # which str() of the class may not be able to
        return pickle.dumps((RAISED, RuntimeError(f"{said}\n{text}")))
    return data


def main() -> int:
    """Do as a new process what is asked for."""
    size = os.fstat(CHANNEL_FD).st_size
    path, argv, asked = pickle.loads(os.pread(CHANNEL_FD, size, 0))  # noqa: S301 -- the caller's own
    os.set_inheritable(CHANNEL_FD, False)
    sys.path[:], sys.argv[:] = path, argv
    os.ftruncate(CHANNEL_FD, 0)
    try:
        function, args, kwargs = pickle.loads(asked)  # noqa: S301 -- as above
    except Exception as error:  # noqa: BLE001 -- what it imports may raise anything
        os.pwrite(CHANNEL_FD, raised(error), 0)
        return 0
    answer(CHANNEL_FD, function, args, kwargs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
