"""Who classifies evidence and decides what follows: a built-in dialect, or anything that answers the same questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from harness.dialects.retry import Decision, Request, RunNotFoundError, decide
from harness.dialects.rules import Classification, classify
from harness.exceptions import InfraError, JudgeError
from harness.wire.codes import Dialect  # noqa: TC001 -- msgspec reads the annotations of records
from harness.wire.errors import UnexpectedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.evidence import Evidence

Answer = TypeVar("Answer")


class Judge(Protocol):
    """What the engine and the gate ask. Raises JudgeError when it has no answer that could be an answer."""

    @property
    def name(self) -> str:
        """How reports and baselines call it."""

    def classify(self, evidence: Evidence) -> Classification:
        """Classify one attempt."""

    def decide(self, request: Request) -> Decision:
        """Answer a request."""


class BuiltIn(msgspec.Struct, frozen=True):
    """A dialect of ours."""

    dialect: Dialect

    @property
    def name(self) -> str:
        """The dialect's name."""
        return self.dialect.value

    def classify(self, evidence: Evidence) -> Classification:
        """Apply the dialect's table."""
        return classify(evidence, self.dialect)

    def decide(self, request: Request) -> Decision:
        """Follow the dialect's steps."""
        return decide(request, self.dialect)


class Guarded(msgspec.Struct, frozen=True):
    """Another judge, of which nothing is known: whatever it throws, or answers in place of an answer, is a JudgeError.

    What upstream raises too is an answer, and passes; so does what our side could not do.
    """

    judge: Any

    @property
    def name(self) -> str:
        """The other's name."""
        return str(self.judge.name)

    def classify(self, evidence: Evidence) -> Classification:
        """Ask the other."""
        return _answer(self.judge.classify, evidence, Classification)

    def decide(self, request: Request) -> Decision:
        """Ask the other."""
        return _answer(self.judge.decide, request, Decision)


def _answer(ask: Callable[[Any], Any], question: Any, kind: type[Answer]) -> Answer:
    try:
        answer = ask(question)
    except (JudgeError, InfraError, UnexpectedError, RunNotFoundError):
        raise
    except Exception as error:
        raise JudgeError(f"{type(error).__name__}: {error}, on {_line(question)}") from error
    if not isinstance(answer, kind):
        raise JudgeError(f"expected a {kind.__name__}, got {answer!r:.200}, on {_line(question)}")
    return answer


def _line(question: Any) -> str:
    return msgspec.json.encode(question).decode()
