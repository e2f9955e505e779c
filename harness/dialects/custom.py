"""Dialects of the user's own: a Python function, or a program in any language that answers the filters' JSON lines.

    module:function       called as function("classify", evidence) and function("decide", request), decoded JSON each
    cmd:PROGRAM [WORD…]   started as PROGRAM … classify and as PROGRAM … decide, a line in, a line out

Questions and answers are those of `crash-harness classify` and `crash-harness decide`, so that this program is one.
Both live in processes of their own: whatever a judge does there is its failure, and neither our end nor our success.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

import msgspec

from harness.child import judge
from harness.dialects import find, parted, spelled
from harness.dialects.protocol import Classification, Derived, Dialect
from harness.dialects.retry import MIDDLE
from harness.exceptions import InvalidInputError, JudgeError, expected
from harness.supervisor.dialogue import PATIENCE_S, Dialogue, DialogueError
from harness.wire import javascript
from harness.wire.errors import TaskError, UnexpectedError, parse_error
from harness.wire.policy import PRESETS
from harness.wire.request import Decision, Outcome, Request, RunNotFoundError, Settings
from harness.wire.schema import Schema
from harness.wire.truncation import mend_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from harness.evidence import Evidence
    from harness.wire.codes import Code, CodeRow

T = TypeVar("T")
SHOWN_BYTES = 400
LONGEST_MS = 2**62  # a policy can ask for as much; 250 of them are still a number


class Custom(Derived):
    """Asks `answer(kind, question)`, both JSON, and refuses answers of any other shape than a dialect's."""

    def __init__(self, name: str, parent: Dialect, answer: Callable[[str, bytes], bytes]) -> None:
        super().__init__(name, parent)
        self._answer = answer

    def row(self, code: Code) -> CodeRow | None:  # noqa: ARG002 -- whichever
        """Return None: the table of a user's judge can't be read; its decisions show it."""
        return None

    def classify(self, evidence: Evidence) -> Classification:
        """Classify one attempt. Raises JudgeError with the evidence that it failed on."""
        return self._ask("classify", evidence, Classification, _check_classification)

    def decide(self, request: Request) -> Decision:
        """Answer a request; no draw is the middle one. Raises JudgeError as above, and what upstream raises."""
        if request.random is None:
            request = msgspec.structs.replace(request, random=MIDDLE)
        return self._ask("decide", request, Decision, _check_decision)

    def _ask(self, kind: str, asked: Evidence | Request, shape: type[T], check: Callable[[T], None]) -> T:
        question = javascript.write(asked)
        try:
            answer = self._answer(kind, question)
        except DialogueError as error:
            raise self._failed(kind, question, str(error)) from error
        try:
            decoded = javascript.read(answer)
            raised = decoded.get("raises") if isinstance(decoded, dict) else None
            made = None if raised else msgspec.convert(decoded, shape)
            if made is not None:
                check(made)
        except (ValueError, RecursionError) as error:
            shown = answer[:SHOWN_BYTES].decode(errors="replace")
            raise self._failed(kind, question, f"answers nonsense: {error}: {shown}") from error
        if made is None:
            raise _upstreams(asked, str(raised)) or self._failed(kind, question, f"raises {raised}")
        return made

    def _failed(self, kind: str, question: bytes, why: str) -> JudgeError:
        return JudgeError(f"{self.name}: {kind}: {why}; asked: {question.decode(errors='replace')}")


def _upstreams(asked: Evidence | Request, raised: str) -> Exception | None:
    """Return what upstream would raise here too: for an error that its schema refuses, or a run that is not there."""
    if not isinstance(asked, Request):
        return None
    try:
        _check_error(asked.error)
    except ValueError:
        return UnexpectedError(raised.removeprefix(str(UnexpectedError(""))))
    return RunNotFoundError(raised) if raised == "Run not found" and asked.run is None else None


def _check_classification(made: Classification) -> None:
    """Raise ValueError for an error that the wire's schema has no place for, and for names that no file could hold."""
    for name, text in (("rule", made.rule), ("cause", made.cause)):
        if mend_pairs(text) != text:
            raise ValueError(f"{name}: expected text, not half a surrogate pair")
    if made.error is not None:
        _check_error(made.error)


def _check_decision(made: Decision) -> None:
    """Raise ValueError for a decision that nobody could follow."""
    if isinstance(made.enhanced, TaskError):
        _check_error(made.enhanced)
    if isinstance(made.machine, str) and made.machine not in PRESETS:
        raise ValueError(f"machine: expected one of {', '.join(PRESETS)}")
    if made.outcome is Outcome.RETRY and not isinstance(made.settings, Settings):
        raise ValueError("a retry needs settings: timestamp and delay")
    times = (made.settings.timestamp, made.settings.delay) if isinstance(made.settings, Settings) else ()
    if not all(abs(time) <= LONGEST_MS for time in times):
        raise ValueError(f"settings: expected milliseconds within {LONGEST_MS}")


def _check_error(error: TaskError) -> None:
    parse_error(msgspec.to_builtins(error), Schema(causes=True))


@contextmanager
def opened(dialect: str | Dialect) -> Iterator[Dialect]:
    """Yield the dialect that is meant; the processes of a judge of the user's are gone afterwards.

    A name is one of ours ("strict"), or a judge's ("my.module:judge", "cmd:node judge.js"), which may say what it is
    like ("my.module:judge like strict"). An object that is a dialect already is yielded as it is. Raises
    InvalidInputError for a name that means nothing.
    """
    if not isinstance(dialect, str):
        if not isinstance(dialect, Dialect):
            raise expected("dialect", "a name or a dialect", dialect)
        yield dialect
        return
    spec, like = parted(dialect)
    if spec is None:
        yield find(like)
        return
    dialogues = _program(spec) if spec.startswith("cmd:") else _function(spec)
    try:
        answer = _asking(dialogues) if spec.startswith("cmd:") else _calling(spec, dialogues["function"])
        yield Custom(spelled(spec, like), find(like), answer)
    finally:
        for dialogue in dialogues.values():
            dialogue.close()


@contextmanager
def opened_all(names: Iterable[str]) -> Iterator[dict[str, Dialect]]:
    """Yield several at once, each by its name."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(opened(name)) for name in dict.fromkeys(names)}


def _program(spec: str) -> dict[str, Dialogue]:
    try:
        words = shlex.split(spec.removeprefix("cmd:"))
    except ValueError as error:
        raise InvalidInputError(f"dialect: {spec}: {error}") from error
    if not words:
        raise InvalidInputError("dialect: expected a program after cmd:")
    if shutil.which(words[0]) is None:
        raise InvalidInputError(f"dialect: {spec}: there is no program {words[0]} that can be executed")
    return {kind: Dialogue([*words, kind], PATIENCE_S) for kind in ("classify", "decide")}


def _asking(dialogues: dict[str, Dialogue]) -> Callable[[str, bytes], bytes]:
    return lambda kind, question: dialogues[kind].ask(question)


def _function(spec: str) -> dict[str, Dialogue]:
    module, _, name = spec.partition(":")
    if not all(word.isidentifier() for word in (*module.split("."), *name.split("."))):
        raise expected("dialect", "module:function or cmd:PROGRAM", spec)
    path = msgspec.json.encode([os.getcwd(), *sys.path]).decode()  # noqa: PTH109 -- as python -m has it, as text
    command = [sys.executable, "-P", judge.__file__, path, module, name]
    return {"function": Dialogue(command, PATIENCE_S)}


def _calling(spec: str, dialogue: Dialogue) -> Callable[[str, bytes], bytes]:
    """Ask a function's process. Raises InvalidInputError where there is no such function."""
    try:
        there = _called(dialogue, b"{}")
    except DialogueError as error:
        dialogue.close()
        raise InvalidInputError(f"dialect: {spec}: its import {error}") from error
    if there.refused:
        dialogue.close()
        raise InvalidInputError(f"dialect: {spec}: {there.refused}")

    def call(kind: str, question: bytes) -> bytes:
        called = _called(dialogue, msgspec.json.encode({"kind": kind, "question": msgspec.Raw(question)}))
        if why := called.thrown or called.refused:
            raise DialogueError(why)
        return bytes(called.value)

    return call


def _called(dialogue: Dialogue, asked: bytes) -> _Called:
    """Raise DialogueError also for an answer that is none."""
    try:
        return msgspec.json.decode(dialogue.ask(asked), type=_Called)
    except msgspec.MsgspecError as error:  # it found the descriptor that was not meant for it
        raise DialogueError(f"answers nonsense: {error}") from error


class _Called(msgspec.Struct):
    """What a function's process answers."""

    value: msgspec.Raw = msgspec.Raw(b"null")
    thrown: str = ""
    refused: str = ""
