"""What a dialect answers to the fixed questions: a baseline's tables, rules, steps and limits. Pure."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from harness.evidence import Evidence
from harness.exceptions import JudgeError
from harness.gate.deaths import evidences
from harness.gate.questions import of_code, requests, texts
from harness.gate.sampling import GENERATOR, questions
from harness.wire import javascript
from harness.wire.codes import Code
from harness.wire.errors import Kind, TaskError, UnexpectedError, final_status, internal
from harness.wire.policy import DEFAULTS, PRESETS, memory_bytes
from harness.wire.request import RunNotFoundError
from harness.wire.schema import Schema
from harness.wire.stored import sanitize, well_formed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.dialects.protocol import Dialect
    from harness.wire.request import Request

FULL_BYTES, DIGEST_BYTES, SAMPLE_BYTES = 4, 16, 2


class Coded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A code: may it be retried, is the policy looked up, does it move to a larger machine, how does the run end."""

    code: str
    retriable: bool
    looked_up: bool
    moved: bool
    status: str
    full: str


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question by its name and the answer in short; `full` is a digest of all of it, texts included."""

    asked: str
    answer: str
    full: str


class Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answers to the fixed questions, a row each, and `sampled`: 16 bits of a digest of each drawn one's answer.

    The bits are written as Base64; `generator` says which questions were drawn.
    """

    codes: tuple[Coded, ...]
    classified: tuple[Reply, ...]
    decided: tuple[Reply, ...]
    stored: tuple[Reply, ...]
    generator: int = GENERATOR
    sampled: str = ""


def digest(value: object, size: int = DIGEST_BYTES) -> str:
    """Identify a value in hexadecimal digits, two a byte of `size`."""
    plain = msgspec.to_builtins(value, order="deterministic")
    return hashlib.blake2b(javascript.write(plain), digest_size=size).hexdigest()


def ask_all(dialect: Dialect) -> Tables:
    """Ask everything. Raises JudgeError when the dialect throws something that is no answer."""
    fixed = ask_fixed(dialect)
    answers = (_sampled(dialect, number, one) for number, one in enumerate(questions()))
    return msgspec.structs.replace(fixed, sampled=b64encode(b"".join(answers)).decode())


def ask_fixed(dialect: Dialect) -> Tables:
    """Ask the fixed questions alone."""
    return Tables(
        tuple(_code(dialect, code) for code in Code),
        tuple(_asked(name, partial(_classified_by, dialect, one)) for name, one in evidences().items()),
        tuple(_asked(name, partial(_decided_by, dialect, one)) for name, one in requests().items()),
        tuple(stored()),
    )


def ask_again(dialect: Dialect, first: Tables) -> list[str]:
    """Ask everything once more, from the last question to the first, and name what is answered otherwise now.

    A judge whose answer depends on chance, or on what it was asked before, can't be held to a baseline.
    """
    changed = _again(first, dialect)
    before, drawn = b64decode(first.sampled), questions()
    for number in reversed(range(len(drawn))):
        at = number * SAMPLE_BYTES
        if _sampled(dialect, number, drawn[number]) != before[at : at + SAMPLE_BYTES]:
            changed.append(question_name(number, drawn[number]))
    return changed


def ask_fixed_again(dialect: Dialect, row: Coded | Reply) -> Coded | Reply:
    """Ask the question of one row of `codes`, `classified` or `decided` again."""
    if isinstance(row, Coded):
        return _code(dialect, Code(row.code))
    if row.asked in evidences():
        return _asked(row.asked, partial(_classified_by, dialect, evidences()[row.asked]))
    return _asked(row.asked, partial(_decided_by, dialect, requests()[row.asked]))


def _again(first: Tables, dialect: Dialect) -> list[str]:
    """Ask the fixed questions from the last to the first."""
    rows: list[Coded | Reply] = [*first.codes, *first.classified, *first.decided]
    return [_name(one) for one in reversed(rows) if ask_fixed_again(dialect, one) != one]


def _name(row: Coded | Reply) -> str:
    return row.code if isinstance(row, Coded) else row.asked


def question_name(number: int, question: Evidence | Request) -> str:
    """Name a drawn question by its number, with all of it as JSON, so that it can be asked by the filters."""
    kind = "evidence" if isinstance(question, Evidence) else "request"
    return f"drawn {kind} {number}: {javascript.write(question).decode()}"


def _sampled(dialect: Dialect, number: int, question: Evidence | Request) -> bytes:
    ask: Callable[[Any], object] = dialect.classify if isinstance(question, Evidence) else dialect.decide
    answer = _answered(f"drawn question {number}", lambda: ask(question))
    return hashlib.blake2b(javascript.write(answer), digest_size=SAMPLE_BYTES).digest()


def _asked(name: str, question: Callable[[], tuple[str, object]]) -> Reply:
    short, full = _answered(name, question)
    return Reply(name, str(short), digest(full, FULL_BYTES))


def _answered(name: str, question: Callable[[], Any]) -> Any:
    """Ask one question. An exception that upstream raises too is an answer."""
    try:
        return question()
    except (UnexpectedError, RunNotFoundError) as error:
        return f"raises {error}", str(error)
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
    """Ask about a code by decisions in which its settings show, so that a judge without a table can be asked too."""
    answers = {
        name: _asked(f"{code}, {name}", partial(_decided_by, dialect, one)) for name, one in of_code(code).items()
    }
    retried = {name: answer.answer.startswith("retry") for name, answer in answers.items()}
    moved, error = "oom-moved" in answers["moved"].answer, internal(code)
    full = digest((answers, dialect.enhance(error)), FULL_BYTES)
    return Coded(code, retried["retriable"], retried["looked_up"], moved, final_status(error), full)


def stored() -> Iterable[Reply]:
    """Yield what no dialect decides: how texts are cut for storage, some statuses, and the machines' sizes."""
    for name, error in texts().items():
        yield _asked(name, partial(_cut, error))
    for code in Code:
        yield _asked(f"{code} in DEVELOPMENT", partial(_status, internal(code), "DEVELOPMENT"))
    for error in (TaskError(Kind.STRING), internal("NOPE")):
        yield _asked(f"status of {error.type}", partial(_status, error))
    defaults = msgspec.json.encode(DEFAULTS).decode()
    yield Reply("policy defaults", defaults, digest(defaults, FULL_BYTES))
    for preset, machine in PRESETS.items():
        size = f"{memory_bytes(preset)} bytes, scaled {memory_bytes(preset, 0.1)}, {machine.vcpu:g} vCPU"
        yield Reply(f"machine {preset}", size, digest(size, FULL_BYTES))


def _status(error: TaskError, environment: str = "PRODUCTION") -> tuple[str, object]:
    return final_status(error, environment), ""


def _cut(error: TaskError) -> tuple[str, object]:
    kept = well_formed(sanitize(error, Schema(causes=True)))
    lengths = {name: len(text) for name, text in msgspec.structs.asdict(kept).items() if isinstance(text, str)}
    return ", ".join(f"{name} {n}" for name, n in lengths.items() if name not in ("type", "code")), kept
