"""The words of the adapter protocol: what an engine declares, what a user asks of it, what it claims of a job.

docs/engine-protocol.md is the page; this is the same, checked.
"""

from __future__ import annotations

from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import msgspec

from harness.exceptions import InfraError

VERSION: Final = 1
LINE_BYTES: Final = 1 << 20
CAUSE_BYTES: Final = 4096
MOST_HISTORY: Final = 100
MOST_DEFAULT_ATTEMPTS: Final = 20

CLASSES: Final = ("exc", "segv", "abrt", "kill", "term", "exit0", "exit139", "nomem", "timeout", "oom")
LOST: Final = "lost"
ANSWERS: Final = ("retry", "fail", "oom", "move")
MOVES: Final = ("oom", "move")
RETRIES: Final = ("retry", "move")
EXPECTED: Final = "expected retry, fail, oom or move"
COUNTS: Final = ("starts", "retries", "failures")
FINAL: Final = frozenset({"ok", "failed", "cancelled"})
SMALL, LARGE = "small", "large"
MACHINES: Final = {SMALL: 96 << 20, LARGE: 320 << 20}

State = Literal["pending", "running", "ok", "failed", "cancelled", "unknown"]
Attempts = int | dict[str, int]
Count = Annotated[int, msgspec.Meta(ge=-(1 << 31), lt=1 << 31)]


class Cap(StrEnum):
    """What an engine can do beyond running a job; one that is not declared is skipped, never passed."""

    RETRY = "RETRY"
    BACKOFF = "BACKOFF"
    TIMEOUT = "TIMEOUT"
    CANCEL = "CANCEL"
    MACHINE = "MACHINE"
    CAUSE = "CAUSE"
    HISTORY = "HISTORY"
    LATE_SUBMIT = "LATE_SUBMIT"
    DURABLE = "DURABLE"
    CONCURRENT = "CONCURRENT"


class Policy(msgspec.Struct, frozen=True):
    """What a user asks of the engine for every job of a cell. None: the user asked for nothing."""

    max_attempts: int | None = None
    backoff_s: float | None = None
    timeout_s: float | None = None
    oom_machine: str | None = None


class Claim(msgspec.Struct, frozen=True):
    """What the engine says of a job at one look."""

    state: State = "unknown"
    cause: str = ""
    attempts: Count | None = None
    history: tuple[str, ...] | None = None
    result: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the engine has given its verdict."""
        return self.state in FINAL


class Declaration(msgspec.Struct, frozen=True):
    """What an engine declares of itself in `hello`; the suite judges it by nothing else. Times in seconds."""

    name: str
    version: str
    caps: tuple[Cap, ...]
    table: dict[str, str]
    default_attempts: Attempts
    detect_s: float
    counts: str = "starts"
    oom_move_counts: bool = True
    timeout_grace_s: float = 0.0
    start_s: float = 30.0
    stop_s: float = 10.0
    backoff_min_s: float = 0.0
    timeout_min_s: float = 0.0
    adds: tuple[str, ...] = ()

    def can(self, *caps: Cap) -> bool:
        """Whether all of `caps` are declared."""
        return set(caps) <= set(self.caps)

    def default(self, kind: str) -> int:
        """Starts of a job whose attempts end in `kind`, where the user asked for nothing."""
        given = self.default_attempts
        return given.get(kind, 1) if isinstance(given, dict) else given


LIMITS: Final = {
    "detect_s": 60,
    "timeout_grace_s": 60,
    "start_s": 180,
    "stop_s": 30,
    "backoff_min_s": 60,
    "timeout_min_s": 60,
}


def declaration(reply: dict[str, Any]) -> Declaration:
    """Read a reply to `hello`. Raises InfraError with one line: what is wrong, where, and what was expected."""
    if reply.get("protocol") != VERSION:
        raise InfraError(f"hello: protocol: expected {VERSION}, not {reply.get('protocol')!r}")
    try:
        made = msgspec.convert(reply, Declaration)
    except msgspec.ValidationError as error:
        raise InfraError(f"hello: {_words(error, reply)}") from error
    problem = next(_problems(made), "")
    if problem:
        raise InfraError(f"hello: {problem}")
    return made


def _words(error: msgspec.ValidationError, reply: dict[str, Any]) -> str:
    """Msgspec's words name the place; an unknown capability gets the nearest one beside it."""
    caps = reply.get("caps")
    strange = [one for one in caps if one not in list(Cap)] if isinstance(caps, list) else []
    if not strange:
        return str(error)
    near = get_close_matches(str(strange[0]).upper(), list(Cap), n=1)
    hint = f"; did you mean {str(near[0])!r}?" if near else ""
    return f"caps: expected some of {' '.join(Cap)}, not {strange[0]!r}{hint}"


def _problems(made: Declaration) -> Any:
    """Yield what the types can't say."""
    wanted = [*CLASSES, *([LOST] if made.can(Cap.DURABLE) else [])]
    yield from (f"table: {kind}: {EXPECTED}, found nothing" for kind in wanted if kind not in made.table)
    for kind, answer in made.table.items():
        if answer not in ANSWERS:
            yield f"table: {kind}: {EXPECTED}, not {answer!r}"
    if made.counts not in COUNTS:
        yield f"counts: expected starts, retries or failures, not {made.counts!r}"
    given = made.default_attempts
    for number in given.values() if isinstance(given, dict) else [given]:
        if not 1 <= number <= MOST_DEFAULT_ATTEMPTS:
            yield f"default_attempts: expected 1 to {MOST_DEFAULT_ATTEMPTS}, not {number}"
    for name, most in LIMITS.items():
        if not 0 <= getattr(made, name) <= most:  # false for NaN as well
            yield f"{name}: expected 0 to {most} seconds, not {getattr(made, name)}"


def claims(reply: dict[str, Any], jobs: dict[str, str]) -> dict[str, Claim]:
    """Read a reply to `claim`, by role. Raises InfraError for a reply of another shape: that is the adapter's mistake.

    A job that the adapter leaves out is `unknown`. Of words that are longer than the protocol allows the rest is lost.
    """
    told = reply.get("jobs")
    if "error" in reply or not isinstance(told, dict):
        raise InfraError(f"claim: expected jobs, not {str(reply)[:200]}")
    try:
        return {role: _cut(msgspec.convert(_given(told.get(job)), Claim)) for role, job in jobs.items()}
    except msgspec.ValidationError as error:
        raise InfraError(f"claim: {error}") from error


def _given(told: Any) -> Any:
    """What is said of a job, or nothing: then its state is unknown."""
    return {} if told is None else told


def _cut(claim: Claim) -> Claim:
    """The same in words of bounded length: a cell keeps every claim that differs from the one before."""
    most = CAUSE_BYTES
    history = claim.history and tuple(cause[:most] for cause in claim.history[:MOST_HISTORY])
    result = claim.result and claim.result[:most]
    return msgspec.structs.replace(claim, cause=claim.cause[:most], history=history, result=result)


def override(made: Declaration, changes: dict[str, Any]) -> Declaration:
    """Replace members of a declaration by those of an engine's file. Raises InfraError as above."""
    return declaration({"protocol": VERSION, **msgspec.to_builtins(made), **changes})
