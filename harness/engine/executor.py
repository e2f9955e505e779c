"""What lives an attempt: the executor of a fault or command, of a function, or of whatever a room above hands in."""

from __future__ import annotations

import os
from collections.abc import Callable  # noqa: TC003 -- msgspec reads the annotations of records
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec

from harness.engine.call import Call  # noqa: TC001 -- as above
from harness.engine.loop import Life
from harness.evidence import Evidence, Exited
from harness.supervisor import Command, Limits, Shot, channel, check_timeout, supervise
from harness.supervisor.schedule import scheduled
from harness.wire.errors import Cause, Kind, TaskError
from harness.wire.policy import DEFAULT_PRESET, memory_bytes

if TYPE_CHECKING:
    from harness.supervisor import Victim

NO_ANSWER = TaskError(
    Kind.BUILT_IN, name="NoAnswer", message="the function ended its process without an answer", stack_trace=""
)


class Bounds(msgspec.Struct, frozen=True):
    """What bounds each attempt of a job, and how it is supervised.

    `limits` are those of `machine`, on which the job begins. `supervise` is supervisor.supervise, or a partial of it
    with options of the caller's.
    """

    limits: Limits = Limits()
    timeout_s: float | None = None
    machine: str = DEFAULT_PRESET
    supervise: Callable[..., Evidence] = supervise

    def __post_init__(self) -> None:
        """Raise InvalidInputError for a time that can't be a deadline."""
        check_timeout(self.timeout_s)

    def on(self, machine: str) -> Bounds:
        """Return the bounds of another machine: it has more memory in proportion. The only place that says so."""
        share = memory_bytes(machine) / memory_bytes(self.machine)
        return msgspec.structs.replace(self, limits=self.limits.scaled(share), machine=machine)

    def live(self, victim: Victim, fd: int | None = None) -> Evidence:
        """Let a victim live within them; `fd` becomes its channel."""
        return self.supervise(victim, self.limits, self.timeout_s, channel=fd)


class Executor(Protocol):
    """Runs single attempts of a job, each within the bounds that it is given."""

    def live(self, number: int, bounds: Bounds) -> Life:
        """Live attempt `number`, counted from 1. Raises InfraError when the harness could not do its part."""


class OfVictim(msgspec.Struct, frozen=True):
    """The executor of a fault or a command: every attempt is the same."""

    victim: Shot | Command

    def live(self, _: int, bounds: Bounds) -> Life:
        """Supervise it."""
        return Life(bounds.live(self.victim))


class OfSchedule(msgspec.Struct, frozen=True):
    """Runs the attempts of another executor with their threads delayed, as a seed draws it for each attempt."""

    inner: Executor
    seed: int

    def live(self, number: int, bounds: Bounds) -> Life:
        """Live it in an environment that brings the schedule."""
        env = scheduled(os.environ, self.seed, number)
        return self.inner.live(number, msgspec.structs.replace(bounds, supervise=partial(bounds.supervise, env=env)))


class OfCall(msgspec.Struct, frozen=True):
    """The executor of a function: asks on a channel of its own, and reads the result or the exception there."""

    call: Call

    def live(self, _: int, bounds: Bounds) -> Life:
        """Call it in a process of its own. The wait status outranks the answer."""
        with channel.open_channel(self.call.question()) as fd:
            evidence = bounds.live(Command(channel.command()), fd)
            answer = channel.answer(fd)
        if evidence.termination != Exited(0):
            return Life(evidence)
        if answer is None:
            return Life(evidence, thrown=NO_ANSWER)
        if answer.mistake is not None:
            return Life(evidence, mistake=f"{self.call.title}: {answer.mistake}")
        if answer.thrown is None:
            return Life(evidence, value=answer.value)
        return Life(evidence, thrown=_error_of(answer.thrown))


def _error_of(thrown: channel.Thrown) -> TaskError:
    causes = tuple(Cause(one.message, one.name, one.stack) for one in thrown.causes)
    return TaskError(
        Kind.BUILT_IN,
        name=thrown.name,
        message=thrown.message,
        stack_trace=thrown.stack,
        causes=causes or msgspec.UNSET,
    )
