"""Any command: a fresh process a trial, below a guard of its own."""

from __future__ import annotations

import hashlib
import math
import os
import shlex
from contextlib import closing
from typing import TYPE_CHECKING, Final

from harness.evidence import EndedBy, Evidence
from harness.exceptions import InfraError
from harness.refusals.debugger import GDB_S, gdb_words
from harness.refusals.line import LAST_WORDS_S, Line
from harness.refusals.page import Order, Page
from harness.refusals.surroundings import library_path, settled
from harness.refusals.trial import Said, Trial
from harness.supervisor import Command as Victim
from harness.supervisor import Limits, preload, supervise

if TYPE_CHECKING:
    from collections.abc import Sequence

RECORDING_S: Final = 300.0  # each call is unwound
DATA_BYTES: Final = 8 << 30  # private memory; a program that asks without end is not to take the machine


class Command:
    """A command that is started anew for each trial. Raises InfraError where it can't carry the library.

    `library` is a part of the file name of the one whose opening opens the window, if that is what does.
    """

    def __init__(self, argv: Sequence[str], library: str = "") -> None:
        self.notes: list[str] = []
        self.reference: Said | None = None
        self.is_steady = True
        self.most_lives = math.inf
        self.recording_s = RECORDING_S
        self._victim, self._environment = Victim(tuple(argv)), settled(os.environ)
        reason = preload.why_not(argv[0], self._environment)
        if reason:
            raise InfraError(f"{shlex.join(argv)}: can't be swept: {reason}")
        self.page = Page()
        self.page.give_text(os.fsencode(library))

    def live(self, order: Order, deadline_s: float | None) -> Trial:
        """Start it once, and see it end."""
        self.page.give(order)
        written = {1: hashlib.blake2b(digest_size=16), 2: hashlib.blake2b(digest_size=16)}
        evidence = supervise(
            self._victim,
            Limits(data_bytes=DATA_BYTES),
            deadline_s,
            grace_s=LAST_WORDS_S,
            env=self._environment,
            relay=lambda number, chunk: written[number].update(chunk),
            library=preload.Library(library_path(), self.page.fd),
        )
        return self._trial(evidence, *(written[number].hexdigest() for number in (1, 2)))

    def _trial(self, evidence: Evidence, output: str, errors: str) -> Trial:
        return Trial(
            evidence.termination,
            evidence.ended_by is EndedBy.DEADLINE,
            self.page.answer(),
            stderr=evidence.stderr,
            output=output,
            errors=errors,
            duration_s=evidence.duration_s or 0.0,
        )

    def debug(self, order: Order, deadline_s: float) -> str:
        """Live the same trial under gdb, and return what gdb prints."""
        self.page.give(order)
        words, options = gdb_words(self._victim.argv), ["--deadline-ms", str(round(deadline_s * 1000))]
        with closing(Line(words[0], words, options, self.page.fd, os.environ)) as line:
            return line.finish(deadline_s + GDB_S)

    def close(self) -> None:
        """Give the page back: no process is left."""
        self.page.close()
