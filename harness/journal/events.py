"""What a history is made of: one kind of event for each thing that a job can do, and the job that it belongs to.

Bodies are JSON. Each room above decodes its own.
"""

from __future__ import annotations

import math
import os
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Literal

import msgspec

BEYOND_DOUBLES: Final = 10**309


class Kind(StrEnum):
    """What an event tells. `title` names what it is about, `number` an attempt, a step or a group, from 1 on.

    `job`: what the history is of, a `Job`; first, and once. `opened`: a process goes on with it; its id and the
    environment. `closed`: how that process left it, a `Closing`; absent where it was killed.
    `started`: an attempt or a group of trials is about to be started. `kill_intent`: a signal is about to be sent.
    `finished`: an attempt with its classification and decision. `step`: the state of a durable run after step `number`.
    `trials`: a group of an experiment's trials. `returned`: trials that went back from a worker that was lost, to be
    fired again by another. `decided`: the answer about a title of the job, once. `infra`: why the
    harness could not answer; a later session tries again.
    """

    JOB = "job"
    OPENED = "opened"
    CLOSED = "closed"
    STARTED = "started"
    KILL_INTENT = "kill_intent"
    FINISHED = "finished"
    STEP = "step"
    TRIALS = "trials"
    RETURNED = "returned"
    DECIDED = "decided"
    INFRA = "infra"


class Event(msgspec.Struct, frozen=True):
    """One event of a history. Sessions count the processes that wrote it, from 1; `body` is JSON, as it is stored."""

    id: int
    session: int
    at_ms: int
    kind: Kind
    title: str
    number: int
    body: msgspec.Raw


class Closing(msgspec.Struct, frozen=True):
    """How a process left a history: at its end, by Ctrl-C or SIGTERM, or because the harness failed, and why."""

    how: Literal["ended", "interrupted", "failed"]
    reason: str = ""


class Job(msgspec.Struct, frozen=True):
    """What a history is of. `kind` is the command that began it, `titles` are what it has to decide.

    `asked` is all that was asked for and bears on the outcome: the command or the scenarios, arguments, policy,
    limits, dialect, seed. It is plain JSON, made by `job_of()`.
    """

    kind: str
    asked: dict[str, Any]
    titles: tuple[str, ...]

    def changes(self, now: Job) -> list[str]:
        """Say in words what is asked for otherwise now; an empty list for the same job."""
        if self.kind != now.kind:
            return [f"it is a history of `{self.kind}`, not of `{now.kind}`"]
        then, other = (dict(_flat("", job.asked)) for job in (self, now))
        return [
            f"{name}: {_word(then.get(name))} then, {_word(other.get(name))} now"
            for name in dict.fromkeys((*then, *other))
            if then.get(name) != other.get(name)
        ] or (["other titles"] if self.titles != now.titles else [])


def job_of(kind: str, titles: tuple[str, ...], **asked: object) -> Job:
    """Make a job from records of any kind. Bytes of a file's name that are no text are kept as Python escapes them."""
    return Job(kind, msgspec.json.decode(encoded(asked)), tuple(map(as_text, titles)))


def here() -> str:
    """Return the folder that this process works in; the empty string where it is gone."""
    try:
        return os.getcwd()  # noqa: PTH109 -- as text
    except FileNotFoundError:
        return ""


def encoded(body: object) -> str:
    """Write a record as JSON; what stands for a byte that is no text, as in a file's name, is spelt out.

    JSON has no infinity, which a retry policy may hold: it is written as an integer that no double holds, and to
    JavaScript, and to whatever reads a policy here, that is the same. A list is of trials, whose numbers are measured.
    """
    try:
        text = msgspec.json.encode(body).decode()
    except UnicodeEncodeError:
        text = ""
    if text and ("null" not in text or isinstance(body, list)):
        return text
    return msgspec.json.encode(_storable(msgspec.to_builtins(body, str_keys=True))).decode()


def as_text(words: str) -> str:
    """Return words that can be stored: the escapes of bytes that are no text are spelt out."""
    return words.encode(errors="backslashreplace").decode()


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, dict):
        return {_storable(key): _storable(one) for key, one in value.items()}
    if isinstance(value, float) and math.isinf(value):
        return BEYOND_DOUBLES if value > 0 else -BEYOND_DOUBLES
    return [_storable(one) for one in value] if isinstance(value, list | tuple) else value


def _flat(prefix: str, table: dict[str, Any]) -> list[tuple[str, Any]]:
    """Members of nested tables by their path: "policy.max_attempts"."""
    found = []
    for key, value in table.items():
        found += _flat(f"{prefix}{key}.", value) if isinstance(value, dict) and value else [(f"{prefix}{key}", value)]
    return found


def _word(value: object) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if text.isprintable() else ascii(text)


def spelt(at_ms: int) -> str:
    """Write a time as people of this machine's time zone read it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().isoformat(" ", "seconds")
