"""A dialect of which nothing is known, held to its word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from harness.dialects.protocol import Classification, Derived, Dialect
from harness.exceptions import InfraError, JudgeError
from harness.wire import javascript
from harness.wire.errors import UnexpectedError
from harness.wire.request import Decision, Request, RunNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.evidence import Evidence

Answer = TypeVar("Answer")


class Guarded(Derived):
    """Whatever `dialect` throws, or answers in place of an answer, is a JudgeError that says on which question.

    What upstream raises too is an answer, and passes; so does what our side could not do.
    """

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect.name, dialect)

    @property
    def like(self) -> str | None:
        """The guarded dialect's parent: this is that dialect, and no child of it."""
        return self.parent.like

    def classify(self, evidence: Evidence) -> Classification:
        """Ask the dialect."""
        return _answer(self.parent.classify, evidence, Classification)

    def decide(self, request: Request) -> Decision:
        """Ask the dialect."""
        return _answer(self.parent.decide, request, Decision)


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
    return javascript.write(question).decode()
