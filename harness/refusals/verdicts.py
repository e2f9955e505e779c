"""What one refusal shows. Values in, a verdict out; no clock, process or file."""

from __future__ import annotations

from enum import StrEnum
from errno import EAGAIN, ENOMEM
from typing import TYPE_CHECKING, Final

import msgspec

from harness.evidence import Exited, Signaled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.refusals.trial import Said, Trial


class Verdict(StrEnum):
    """What became of a refusal; the worst first."""

    WRONG = "wrong"
    CRASH = "crash"
    AFTERSHOCK = "aftershock"
    HANG = "hang"
    HANG_AFTER = "hang-after"
    DAMAGED = "damaged"
    ABORT = "abort"
    EXIT127 = "exit127"
    LEAK = "leak"
    DISGUISED = "disguised"
    NOT_AIMED = "not-aimed"
    DRIFTED = "drifted"
    NOT_REACHED = "not-reached"
    HANDLED = "handled"
    ABSORBED = "absorbed"


GOOD: Final = frozenset({Verdict.HANDLED, Verdict.ABSORBED})
NOTED: Final = frozenset({Verdict.DISGUISED, Verdict.LEAK})  # told, and no failure by itself
UNPROVED: Final = frozenset({Verdict.NOT_REACHED, Verdict.DRIFTED, Verdict.NOT_AIMED})
ABORTS: Final = frozenset({"SIGABRT", "SIGTRAP"})
NOT_FOUND: Final = 127
NO_THREAD_DATA: Final = "cannot allocate memory for thread-local data"
NO_THREAD: Final = "can't start new thread"
THREAD: Final = "thread"
PROCESS: Final = "fork"
MEMORY: Final = frozenset({"malloc", "calloc", "realloc", "aligned", "shrink", "mmap"})


class Reference(msgspec.Struct, frozen=True):
    """The swept code without a refusal. `said` is a function's result; `output` identifies a command's.

    `is_steady`: it was the same each time, so that another one is a wrong one. `ok_exits` are the exit statuses by
    which a command may say that something was refused. `control` is the most that a repetition leaks without one.
    """

    said: Said | None = None
    status: int = 0
    output: str = ""
    errors: str = ""
    is_steady: bool = True
    ok_exits: tuple[int, ...] = ()
    control: int = 0


class Shown(msgspec.Struct, frozen=True):
    """A verdict, and what it goes by in a word: an exception, an exit status, a value."""

    verdict: Verdict
    detail: str = ""


def judge(trial: Trial, reference: Reference, operation: str, *, by_design: bool) -> Shown:
    """Say what a trial shows whose refusal was met. `by_design`: what is on its crash stack ends it on purpose."""
    if trial.hung:
        return Shown(Verdict.HANG if trial.answer.stage == "window" else Verdict.HANG_AFTER)
    if signal := signal_of(trial):
        return Shown(_crash(trial, signal, by_design=by_design))
    if reference.said is None:
        return _of_command(trial, reference)
    return _of_call(trial, reference, operation)


def signal_of(trial: Trial) -> str:
    """The signal that ended it, or the empty string.

    The record outranks the status: a handler may have crashed, and a shell that started the swept process goes on.
    """
    if trial.answer.crash:
        return trial.answer.crash.signal
    return trial.termination.signal if isinstance(trial.termination, Signaled) else ""


def _crash(trial: Trial, signal: str, *, by_design: bool) -> Verdict:
    if trial.answer.stage != "window":
        return Verdict.AFTERSHOCK
    return Verdict.ABORT if signal in ABORTS or by_design else Verdict.CRASH


def _status(trial: Trial) -> int:
    return trial.termination.status if isinstance(trial.termination, Exited) else 0


def _left(trial: Trial) -> Shown | None:
    """Whether the loader ended the process, which is no exit of the program's own."""
    if _status(trial) == NOT_FOUND and NO_THREAD_DATA in trial.stderr:
        return Shown(Verdict.EXIT127, f"exited {NOT_FOUND}")
    return None


# --- a command ---


def _of_command(trial: Trial, reference: Reference) -> Shown:
    status = _status(trial)
    if left := _left(trial):
        return left
    if status == reference.status:
        same = trial.output == reference.output or not reference.is_steady
        return Shown(Verdict.ABSORBED if same else Verdict.WRONG, f"exited {status}")
    says = last_line(trial.stderr)
    if status in reference.ok_exits or (says and trial.errors != reference.errors):
        return Shown(Verdict.HANDLED, f"exited {status}: {says}".rstrip(": "))
    return Shown(Verdict.DISGUISED, f"exited {status}, without a word")


def last_line(text: str) -> str:
    """Return the last line that is not empty."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


# --- a function ---


def _of_call(trial: Trial, reference: Reference, operation: str) -> Shown:
    first, again, slopes = trial.said
    if first is None:
        left = _left(trial)
        return left or Shown(Verdict.ABORT, f"{trial.termination}: {last_line(trial.stderr)}".rstrip(": "))
    shown = _of_first(first, reference, operation)
    if shown.verdict is Verdict.WRONG:
        return shown
    if again is None:
        return Shown(Verdict.AFTERSHOCK, str(trial.termination))
    if not _is_right(again, reference):
        return Shown(Verdict.DAMAGED, f"then {again}")
    if shown.verdict in GOOD and leaks(slopes, reference.control):
        return Shown(Verdict.LEAK, f"{min(slopes[len(slopes) // 2 :]) - reference.control} blocks a call")
    return shown


def _of_first(first: Said, reference: Reference, operation: str) -> Shown:
    if _is_right(first, reference):
        return Shown(Verdict.ABSORBED, first.text)
    if first.ok:
        return Shown(Verdict.HANDLED, str(first))
    if first.kind != "raised":
        return Shown(Verdict.WRONG, first.text)
    return Shown(Verdict.HANDLED if is_report(first, operation) else Verdict.DISGUISED, str(first))


def is_report(said: Said, operation: str) -> bool:
    """Whether an exception says what was refused: no memory, no thread, no process, or that a file operation failed."""
    names = set(said.exceptions)
    if "MemoryError" in names or ("OSError" in names and said.errno == ENOMEM):
        return True
    if operation in MEMORY:
        return False
    if operation == THREAD:
        return NO_THREAD in said.text or ("OSError" in names and said.errno == EAGAIN)
    return "OSError" in names and (operation != PROCESS or said.errno == EAGAIN)


def _is_right(said: Said, reference: Reference) -> bool:
    if said.kind == "checked":
        return said.what == "good"
    wanted = reference.said
    if wanted is None or said.kind != wanted.kind:
        return False
    return said.what == wanted.what or (said.kind == "value" and not reference.is_steady)


def leaks(slopes: Sequence[int], control: int) -> bool:
    """Whether each of the later repetitions leaves more behind than one without a refusal."""
    return len(slopes) > 1 and min(slopes[len(slopes) // 2 :]) > control
