"""A dialect: who classifies evidence and decides what follows. One of ours, or a judge of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from harness.wire.errors import TaskError  # noqa: TC001 -- msgspec reads the annotations of records

if TYPE_CHECKING:
    from harness.evidence import Evidence
    from harness.wire.codes import Code, CodeRow, Status
    from harness.wire.request import Decision, Request
    from harness.wire.schema import Schema


class Classification(msgspec.Struct, frozen=True):
    """`error` is None where the attempt did its work. `rule` names the row that answered, `cause` what it saw."""

    error: TaskError | None
    rule: str
    cause: str


@runtime_checkable
class Dialect(Protocol):
    """Classification and decision. Handed in once to whatever lives attempts: an engine, a campaign, a gate.

    Its methods raise JudgeError where a judge of the user's has no answer that could be one. One of your own says only
    what it says otherwise than another:

        class Patient(Derived):  # from harness.dialects.protocol
            def decide(self, request):
                return self.parent.decide(with_more_attempts(request))

        harness.run(job, policy, dialect=Patient("patient", harness.dialects.find("strict")))
    """

    @property
    def name(self) -> str:
        """How reports, journals and baselines call it; `harness.dialects.custom.opened` finds it again by that."""

    @property
    def like(self) -> str | None:
        """Name of its parent, whose expectation a scenario has for it too; None where it has none."""

    @property
    def schema(self) -> Schema:
        """What its version's schemas let through."""

    @property
    def crashes_count(self) -> bool:
        """Whether a crash that is retried through the queue counts toward the queue's limit of returns."""

    @property
    def waiting(self) -> str | None:
        """Status of a run between two attempts, where the engine has one of its own."""

    def classify(self, evidence: Evidence) -> Classification:
        """Classify one attempt."""

    def enhance(self, error: TaskError) -> TaskError:
        """Give the error that people see and that retry tables are asked about, for the raw one."""

    def decide(self, request: Request) -> Decision:
        """Say what becomes of a run after a failed attempt.

        Raises what upstream throws too: UnexpectedError, RunNotFoundError.
        """

    def final_status(self, error: TaskError, environment: str) -> Status:
        """Give the status of a run that failed for good with this raw error."""

    def row(self, code: Code) -> CodeRow | None:
        """What its table says of a code; None where there is no table, and only decisions show it."""


class Derived:
    """Answers as `parent` does wherever a subclass says nothing."""

    def __init__(self, name: str, parent: Dialect) -> None:
        self.name, self.parent = name, parent

    @property
    def like(self) -> str | None:
        """The parent's name."""
        return self.parent.name

    @property
    def schema(self) -> Schema:
        """As the parent."""
        return self.parent.schema

    @property
    def crashes_count(self) -> bool:
        """As the parent."""
        return self.parent.crashes_count

    @property
    def waiting(self) -> str | None:
        """As the parent."""
        return self.parent.waiting

    def classify(self, evidence: Evidence) -> Classification:
        """As the parent."""
        return self.parent.classify(evidence)

    def enhance(self, error: TaskError) -> TaskError:
        """As the parent."""
        return self.parent.enhance(error)

    def decide(self, request: Request) -> Decision:
        """As the parent."""
        return self.parent.decide(request)

    def final_status(self, error: TaskError, environment: str) -> Status:
        """As the parent."""
        return self.parent.final_status(error, environment)

    def row(self, code: Code) -> CodeRow | None:
        """As the parent."""
        return self.parent.row(code)
