"""A run judged again: what another dialect would have made of the very same ends. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.engine.loop import MISTAKE, THROWN, Engine, Life

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.dialects.protocol import Dialect
    from harness.engine.lifecycle import Task
    from harness.engine.loop import Attempt


class Rejudged(msgspec.Struct, frozen=True):
    """What a run would have come to. `status` is None where the dialect would have tried more often than was lived."""

    status: str | None
    attempts: int

    def __str__(self) -> str:
        """As a cell of a table."""
        noun = "attempt" if self.attempts == 1 else "attempts"
        return f"{self.status} after {self.attempts} {noun}" if self.status else f"tried again after {self.attempts}"


class _NoMore(Exception):  # noqa: N818 -- no error: the ends that were lived are used up
    pass


def rejudge(attempts: Sequence[Attempt], policy: Task, dialect: Dialect) -> Rejudged | None:
    """Let the dialect decide the run again, as if attempts 1, 2, … had ended as they did.

    None where that says nothing: an attempt was lost with its supervisor, or was a mistake of the caller's.
    """
    if [one.number for one in attempts] != list(range(1, len(attempts) + 1)) or any(map(_is_mistake, attempts)):
        return None

    def execute(number: int, _: str) -> Life:
        if number > len(attempts):
            raise _NoMore
        return _life(attempts[number - 1])

    engine = Engine(policy.stored(), dialect, lambda: 0.5)
    try:
        run = engine.run(execute)
    except _NoMore:
        return Rejudged(None, len(attempts))
    return Rejudged(run.status, len(run.attempts))


def _is_mistake(attempt: Attempt) -> bool:
    return attempt.rule == MISTAKE


def _life(attempt: Attempt) -> Life:
    """What the executor had answered."""
    return Life(attempt.evidence, thrown=attempt.error if attempt.rule == THROWN else None)
