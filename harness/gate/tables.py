"""What a dialect answers to the fixed questions: a baseline's tables, rules, steps and limits. Pure."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from harness.exceptions import JudgeError
from harness.gate.questions import evidences, of_code, requests, texts
from harness.wire.codes import Code
from harness.wire.errors import (
    Kind,
    TaskError,
    UnexpectedError,
    final_status,
    internal,
    sanitize,
    well_formed,
)
from harness.wire.policy import DEFAULTS, PRESETS, memory_bytes
from harness.wire.request import RunNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.dialects.protocol import Dialect
    from harness.evidence import Evidence
    from harness.wire.request import Request

FULL_BYTES, DIGEST_BYTES = 4, 16


class Coded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A code: may it be retried, is the policy looked up, does it move to a larger machine, how does the run end."""

    code: str
    retriable: bool
    looked_up: bool
    moved: bool
    status: str
    full: str


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question by its name and the answer in short; `full` is a digest of all of it, texts included."""

    asked: str
    answer: str
    full: str


class Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All answers, and a digest over them."""

    digest: str
    codes: tuple[Coded, ...]
    classified: tuple[Answer, ...]
    decided: tuple[Answer, ...]
    stored: tuple[Answer, ...]


def digest(value: object, size: int = DIGEST_BYTES) -> str:
    """Identify a value in hexadecimal digits, two a byte of `size`."""
    return hashlib.blake2b(msgspec.json.encode(value, order="deterministic"), digest_size=size).hexdigest()


def ask_all(dialect: Dialect) -> Tables:
    """Ask everything. Raises JudgeError when the dialect throws something that is no answer."""
    rows = (
        tuple(_code(dialect, code) for code in Code),
        tuple(_asked(name, partial(_classified_by, dialect, one)) for name, one in evidences().items()),
        tuple(_asked(name, partial(_decided_by, dialect, one)) for name, one in requests().items()),
        tuple(_stored()),
    )
    return Tables(digest(rows), *rows)


def _asked(name: str, question: Callable[[], tuple[str, object]]) -> Answer:
    """An exception that upstream raises too is an answer."""
    try:
        short, full = question()
        return Answer(name, str(short), digest(full, FULL_BYTES))
    except (UnexpectedError, RunNotFoundError) as error:
        return Answer(name, f"raises {error}", digest(str(error), FULL_BYTES))
    except JudgeError:
        raise
    except Exception as error:  # whatever a classifier throws, the gate says on which question
        raise JudgeError(f"{name}: {type(error).__name__}: {error}") from error


def _classified_by(dialect: Dialect, evidence: Evidence) -> tuple[str, object]:
    found = dialect.classify(evidence)
    code = found.error.code if found.error else "no error"
    return f"{code} by {found.rule}: {found.cause}", found


def _decided_by(dialect: Dialect, request: Request) -> tuple[str, object]:
    decision = dialect.decide(request)
    words: list[object] = [decision.outcome, decision.branch]
    if decision.settings:
        words += [decision.method, f"{decision.settings.delay} ms"]
    return " ".join(map(str, [*words, *([decision.machine] if decision.machine else [])])), decision


def _code(dialect: Dialect, code: Code) -> Coded:
    """Ask about a code. The bits of one of ours are read off its table; those of another show in what it decides."""
    answers = {
        name: _asked(f"{code}, {name}", partial(_decided_by, dialect, one)) for name, one in of_code(code).items()
    }
    retried = {name: answer.answer.startswith("retry") for name, answer in answers.items()}
    bits, error, enhanced = (retried["retriable"], retried["looked_up"]), internal(code), None
    if row := dialect.row(code):
        bits, enhanced = (row.retriable, row.lookup), dialect.enhance(error)
    moved, full = "oom-moved" in answers["moved"].answer, digest((answers, enhanced), FULL_BYTES)
    return Coded(code, *bits, moved, final_status(error), full)


def _stored() -> Iterable[Answer]:
    """What is not the dialect's: how texts are cut for storage, statuses, and what a machine is."""
    for name, error in texts().items():
        yield _asked(name, partial(_cut, error))
    for code in Code:
        yield _asked(f"{code} in DEVELOPMENT", partial(_status, internal(code), "DEVELOPMENT"))
    for error in (TaskError(Kind.STRING), internal("NOPE")):
        yield _asked(f"status of {error.type}", partial(_status, error))
    defaults = msgspec.json.encode(DEFAULTS).decode()
    yield Answer("policy defaults", defaults, digest(defaults, FULL_BYTES))
    for preset, machine in PRESETS.items():
        size = f"{memory_bytes(preset)} bytes, scaled {memory_bytes(preset, 0.1)}, {machine.vcpu:g} vCPU"
        yield Answer(f"machine {preset}", size, digest(size, FULL_BYTES))


def _status(error: TaskError, environment: str = "PRODUCTION") -> tuple[str, object]:
    return final_status(error, environment), ""


def _cut(error: TaskError) -> tuple[str, object]:
    kept = well_formed(sanitize(error))
    lengths = {name: len(text) for name, text in msgspec.structs.asdict(kept).items() if isinstance(text, str)}
    return ", ".join(f"{name} {n}" for name, n in lengths.items() if name not in ("type", "code")), kept
