"""Judges of the user's own: a Python function, or a program in any language that answers the filters' JSON lines.

    module:function       called as function("classify", evidence) and function("decide", request), decoded JSON each
    cmd:PROGRAM [WORD…]   started as PROGRAM … classify and as PROGRAM … decide, a line in, a line out

Questions and answers are those of `crash-harness classify` and `crash-harness decide`, so that this program is one.
"""

from __future__ import annotations

import importlib
import shlex
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from harness.classifier import Classification
from harness.exceptions import InvalidInputError, JudgeError
from harness.request import Decision, Request, RunNotFoundError
from harness.supervisor.dialogue import Dialogue, DialogueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.evidence import Evidence
    from harness.judge import Judge

T = TypeVar("T")
SHOWN_BYTES = 400


class Foreign:
    """Asks `answer(kind, question)`, both JSON, and believes nothing that has another shape."""

    def __init__(self, name: str, answer: Callable[[str, bytes], bytes]) -> None:
        self.name = name
        self._answer = answer

    def classify(self, evidence: Evidence) -> Classification:
        """Classify one attempt. Raises JudgeError with the evidence that it failed on."""
        return self._ask("classify", msgspec.json.encode(evidence), Classification)

    def decide(self, request: Request) -> Decision:
        """Answer a request. Raises JudgeError as above, RunNotFoundError where it says so."""
        return self._ask("decide", msgspec.json.encode(request), Decision)

    def _ask(self, kind: str, question: bytes, shape: type[T]) -> T:
        try:
            answer = self._answer(kind, question)
        except DialogueError as error:
            raise self._failed(kind, question, str(error)) from error
        except Exception as error:  # whatever it throws is its failure, not ours
            raise self._failed(kind, question, f"{type(error).__name__}: {error}") from error
        try:
            decoded = msgspec.json.decode(answer)
            self._heed_raise(kind, question, decoded)
            return msgspec.convert(decoded, shape)
        except (msgspec.DecodeError, RecursionError) as error:
            shown = answer[:SHOWN_BYTES].decode(errors="replace")
            raise self._failed(kind, question, f"answers nonsense: {error}: {shown}") from error

    def _heed_raise(self, kind: str, question: bytes, decoded: object) -> None:
        """Where upstream throws, an answer says so; a run that is needed and absent is upstream's 404."""
        raised = decoded.get("raises") if isinstance(decoded, dict) else None
        if raised == "Run not found":
            raise RunNotFoundError(raised)
        if raised is not None:
            raise self._failed(kind, question, f"raises {raised}")

    def _failed(self, kind: str, question: bytes, why: str) -> JudgeError:
        return JudgeError(f"{self.name}: {kind}: {why}; asked: {question.decode(errors='replace')}")


@contextmanager
def foreign(spec: str | None) -> Iterator[Judge | None]:
    """Yield the judge that a user names, or None for no name; its processes are gone afterwards.

    Raises InvalidInputError for a name that means nothing.
    """
    if spec is None:
        yield None
        return
    if not spec.startswith("cmd:"):
        yield Foreign(spec, _function(spec))
        return
    words = shlex.split(spec.removeprefix("cmd:"))
    if not words:
        raise InvalidInputError("--classifier: expected a program after cmd:")
    asked = {kind: Dialogue([*words, kind]) for kind in ("classify", "decide")}
    try:
        yield Foreign(spec, lambda kind, question: asked[kind].ask(question))
    finally:
        for dialogue in asked.values():
            dialogue.close()


def _function(spec: str) -> Callable[[str, bytes], bytes]:
    module, sign, name = spec.partition(":")
    if not sign or not module or not name:
        raise InvalidInputError(f"--classifier: expected module:function or cmd:PROGRAM, not {spec!r}")
    sys.path.insert(0, "")  # as python -m has it
    try:
        function: Any = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError) as error:
        raise InvalidInputError(f"--classifier: {spec}: {error}") from error
    finally:
        sys.path.remove("")
    if not callable(function):
        raise InvalidInputError(f"--classifier: {spec}: it can't be called")
    return lambda kind, question: msgspec.json.encode(function(kind, msgspec.json.decode(question)))
