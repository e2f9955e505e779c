"""Fires groups for somebody else: `python -m harness.experiments.worker` answers a line with a line, both JSON."""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from harness.dialects.custom import opened
from harness.exceptions import HarnessError, InfraError, InvalidInputError
from harness.experiments.firing import GroupRunner
from harness.experiments.tally import Trial  # noqa: TC001 -- msgspec reads the annotations of records
from harness.experiments.variant import Variant  # noqa: TC001 -- as above
from harness.journal import as_text

if TYPE_CHECKING:
    from collections.abc import Callable

STDOUT, STDERR = 1, 2


class Ask(msgspec.Struct, frozen=True):
    """A group to be fired: trials `first` to `last`, of which none begins after so many seconds; None is never."""

    variant: Variant
    first: int
    last: int
    left_s: float | None = None


class Fired(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of it: the trials, or what the harness could not do there, or what was asked wrongly."""

    trials: list[Trial] = []
    failed: str = ""
    wrong: str = ""


def trials_of(answer: bytes) -> list[Trial]:
    """Read a worker's answer. Raises InfraError or InvalidInputError as it did there."""
    fired = msgspec.json.decode(answer, type=Fired)
    if fired.wrong:
        raise InvalidInputError(fired.wrong)
    if fired.failed:
        raise InfraError(fired.failed)
    return fired.trials


class AskedRunner:
    """Answers what is asked, with the judges and the processes from which victims are forked kept between questions."""

    def __init__(self) -> None:
        self._stack, self._name = ExitStack(), f"{socket.gethostname()}/{os.getpid()}"
        self._runners: dict[str, GroupRunner] = {}

    def answer(self, line: bytes) -> bytes:
        """Fire what a line asks for."""
        try:
            ask = msgspec.json.decode(line, type=Ask)
            until_s = math.inf if ask.left_s is None else time.monotonic() + ask.left_s
            trials = self._runner(ask.variant.dialect).fire(ask.variant, range(ask.first, ask.last + 1), until_s)
            fired = Fired([msgspec.structs.replace(trial, worker=self._name) for trial in trials])
        except InvalidInputError as error:
            fired = Fired(wrong=as_text(str(error)))
        except HarnessError as error:
            fired = Fired(failed=as_text(str(error)))
        return msgspec.json.encode(fired)

    def _runner(self, dialect: str) -> GroupRunner:
        if dialect not in self._runners:
            judge = self._stack.enter_context(opened(dialect))
            self._runners[dialect] = runner = GroupRunner(None, {dialect: judge})
            self._stack.callback(runner.close)
        return self._runners[dialect]

    def close(self) -> None:
        """End what was kept."""
        self._stack.close()


def serve(answer: Callable[[bytes], bytes]) -> None:
    """Answer lines until there are no more. The process that asks also ends this one, so Ctrl-C is ignored here."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(STDOUT), "wb") as out:
        os.dup2(STDERR, STDOUT)  # what a judge prints is no answer
        for line in sys.stdin.buffer:
            out.write(answer(line) + b"\n")
            out.flush()


def main() -> None:
    """Fire groups until there are no more questions."""
    runner = AskedRunner()
    try:
        serve(runner.answer)
    finally:
        runner.close()


if __name__ == "__main__":
    main()
