"""Who classifies evidence and decides what follows: a built-in dialect, or anything that answers the same questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from harness.classifier import Classification, classify
from harness.codes import Dialect  # noqa: TC001 -- msgspec reads the annotations of records
from harness.retry import Decision, Request, decide

if TYPE_CHECKING:
    from harness.evidence import Evidence


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
