"""harness.window: what opens and closes the window of `crash-harness sweep -- COMMAND` in a Python program."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN, END = "/crash-harness/begin", "/crash-harness/end"


@contextmanager
def window() -> Iterator[None]:
    """Sweep only what happens inside, when the program is run by `crash-harness sweep -- python program.py`.

        with harness.window():
            work()

    It asks whether two files are there, which is all that a mark is, and does nothing else: a program that is not
    swept runs as ever. Only the first window of a process counts.
    """
    os.access(BEGIN, os.F_OK)
    try:
        yield
    finally:
        os.access(END, os.F_OK)
