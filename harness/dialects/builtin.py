"""A dialect of ours is data: a table of rules, a table of codes, and the few points in which its engine differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from harness.dialects import retry
from harness.dialects.rules import Overruled, Rule, classify
from harness.wire import errors
from harness.wire.codes import CODES
from harness.wire.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.dialects.protocol import Classification
    from harness.evidence import Evidence
    from harness.wire.codes import Code, CodeRow, Status
    from harness.wire.errors import TaskError
    from harness.wire.request import Decision, Request


class Departure(NamedTuple):
    """A request, in words and in full, that a dialect decides otherwise than its parent, and why."""

    what: str
    request: Request
    reason: str


class BuiltIn(msgspec.Struct, frozen=True, kw_only=True):
    """One of our dialects. See `harness.dialects.protocol.Dialect` for what each answers.

    `stands_for` says of which software it gives the answers. `may_be_left_out`: a scenario need not say what is
    expected under it. `rules` classify, `rows` say what follows from a code. `oom_by_text`: a signal's name in a
    message is taken for a shortage of memory. `oom_may_stay`: where no larger machine helps, a retriable shortage of
    memory goes on to the policy. `schema` says what the version lets through. `published` is the version of the npm
    package with which `make differential` compares the dialect. `overruled` and `departures` are its reasons, beside
    those of its rules.
    """

    name: str
    stands_for: str
    like: str | None
    rules: tuple[Rule, ...]
    may_be_left_out: bool = False
    rows: Mapping[Code, CodeRow] = CODES
    oom_by_text: bool = True
    oom_may_stay: bool = False
    schema: Schema = Schema()
    crashes_count: bool = False
    waiting: str | None = None
    published: str | None = None
    overruled: tuple[Overruled, ...] = ()
    departures: tuple[Departure, ...] = ()

    def classify(self, evidence: Evidence) -> Classification:
        """Apply the table of rules."""
        return classify(evidence, self.rules)

    def enhance(self, error: TaskError) -> TaskError:
        """Give the error that people see."""
        return errors.enhance(errors.admitted(error, self.schema), oom_by_text=self.oom_by_text)

    def decide(self, request: Request) -> Decision:
        """Follow the steps of upstream's second engine."""
        return retry.decide(request, self)

    def final_status(self, error: TaskError, environment: str) -> Status:
        """Give the status that upstream's second engine gives."""
        return errors.final_status(error, environment)

    def row(self, code: Code) -> CodeRow | None:
        """Look it up in the table of codes."""
        return self.rows[code]

    def is_oom(self, error: TaskError) -> bool:
        """Whether this raw error takes the way to a larger machine."""
        return errors.is_oom(error, by_text=self.oom_by_text)

    def is_retriable(self, error: TaskError) -> bool:
        """Whether this enhanced error may be retried at all."""
        return errors.is_retriable(error, self.rows)

    def is_looked_up(self, error: TaskError) -> bool:
        """Whether the stored policy is read for this enhanced error."""
        return errors.is_looked_up(error, self.rows)
