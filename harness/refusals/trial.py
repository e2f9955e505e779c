"""One life of the swept code, as facts; and what can live one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from harness.evidence import Exited, Signaled  # noqa: TC001 -- msgspec reads the annotations of records
from harness.refusals.page import Answer  # noqa: TC001 -- as above

if TYPE_CHECKING:
    from harness.refusals.page import Order, Page

FIELDS = 5  # of a call's answer: kind, digest or exception, text, errno, ok
SEPARATOR = "\x1f"


class Said(msgspec.Struct, frozen=True):
    """What one call gave. `kind` is value, raised or checked; `what` a digest, or the names of the exception's classes.

    `ok` says that the user's own predicate counts it as handled.
    """

    kind: str
    what: str
    text: str = ""
    errno: int | None = None
    ok: bool = False

    @property
    def exceptions(self) -> list[str]:
        """Names of the exception's classes, its own first."""
        return self.what.split("/") if self.kind == "raised" else []

    def __str__(self) -> str:
        """In a word: the exception with its text, or the value."""
        return f"{self.exceptions[0]}: {self.text}".rstrip(": ") if self.kind == "raised" else self.text


class Trial(msgspec.Struct, frozen=True):
    """How the process ended and what it left. `output` and `errors` identify all that a command wrote."""

    termination: Exited | Signaled
    hung: bool
    answer: Answer
    stderr: str = ""
    output: str = ""
    errors: str = ""
    duration_s: float = 0.0

    @property
    def said(self) -> tuple[Said | None, Said | None, tuple[int, ...]]:
        """Of a function: what the call gave, the next call, and the blocks that repetitions leaked."""
        fields = self.answer.text.split(SEPARATOR) if self.answer.text else []
        leaks = fields[2 * FIELDS] if len(fields) > 2 * FIELDS else ""
        slopes = tuple(int(one) for one in leaks.split(",") if one.lstrip("-").isdigit())
        return said_of(fields[:FIELDS]), said_of(fields[FIELDS : 2 * FIELDS]), slopes


def said_of(fields: list[str]) -> Said | None:
    """Read the words of one call; None where some are missing. Never raises, whatever the swept process wrote."""
    if len(fields) < FIELDS:
        return None
    kind, what, text, errno, ok = fields[:FIELDS]
    return Said(kind, what, text, int(errno) if errno.isdecimal() else None, ok == "ok")


class Host(Protocol):
    """Runs trials: a server that forks at a call, or a command that is started each time."""

    page: Page
    notes: list[str]
    reference: Said | None  # of a function
    is_steady: bool
    most_lives: float  # after as many it is replaced by a new one

    @property
    def recording_s(self) -> float:
        """What a life without a refusal may take."""

    def live(self, order: Order, deadline_s: float | None) -> Trial:
        """Live one. Raises InfraError where that could not be done."""

    def debug(self, order: Order, deadline_s: float) -> str:
        """Live the same trial under gdb, and return what gdb prints."""

    def close(self) -> None:
        """End every process of it."""
