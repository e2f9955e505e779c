"""Attends to a guard from its start to its report: follows the output, journals, answers, and never waits in vain."""

from __future__ import annotations

import select
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec

from harness.evidence import EndedBy
from harness.exceptions import InfraError
from harness.supervisor import box, terminal
from harness.supervisor.guard import ALIVE, STOPPED, Guard, Note, Report
from harness.supervisor.output import Tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.supervisor.stop import Stop

ASK_EVERY_S = 5.0
ANSWER_S = 2.0
RESUMED_S = 15.0  # longer than a guard takes for its last step, in which it does not answer
INTENTS = [EndedBy.SELF, EndedBy.DEADLINE, EndedBy.CANCEL, EndedBy.CLEANUP]


class Journal(Protocol):
    """Is told before something irreversible happens, so that it can be written down first."""

    def started(self) -> None:
        """Note that a victim is about to be spawned."""

    def kill_intent(self, ended_by: EndedBy, signal: str) -> None:
        """Note that `signal` is about to be sent."""


class Audience(msgspec.Struct, frozen=True):
    """Who follows a life, each where given: `stop` may end it, `relay` gets its output, `journal` its intents."""

    stop: Stop | None = None
    relay: Callable[[int, bytes], object] | None = None
    journal: Journal | None = None


class Pulse:
    """Whether a guard still answers. One that was stopped is let go on; one that says nothing then is given up."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._unanswered = 0
        self._next_s = time.monotonic() + ASK_EVERY_S

    def left_ms(self) -> float:
        """Milliseconds until beat() is due."""
        return max(0.0, self._next_s - time.monotonic()) * 1000

    def heard(self) -> None:
        """Note that the guard has answered."""
        self._unanswered = 0
        self._next_s = time.monotonic() + ASK_EVERY_S

    def beat(self) -> None:
        """Ask the guard for a sign of life, if it is time to. Raises InfraError when it does not answer."""
        if self.left_ms() > 0:
            return
        if self._unanswered > 1:
            raise InfraError("status lost: the guard does not answer")
        if self._unanswered == 1:
            self._guard.resume()
        self._guard.ask()
        self._unanswered += 1
        self._next_s = time.monotonic() + (ANSWER_S if self._unanswered == 1 else RESUMED_S)


def attend(guard: Guard, audience: Audience) -> tuple[Report, str, str]:
    """Follow the output until the report comes, so that a flood can't block the victim or fill our memory.

    Raises InfraError when the guard is gone or does not answer, and whatever the relay or the journal raise.
    """
    relay, stop = audience.relay, audience.stop
    tails = {
        guard.stdout: Tail(guard.stdout, partial(relay, 1) if relay else None),
        guard.stderr: Tail(guard.stderr, partial(relay, 2) if relay else None),
    }
    poller = select.poll()
    for fd in (*tails, guard.control, *((stop.fileno(),) if stop else ())):
        poller.register(fd, select.POLLIN)
    report, pulse = None, Pulse(guard)
    while report is None:
        ready = {fd for fd, _ in poller.poll(pulse.left_ms())}
        pulse.beat()
        for fd in ready & tails.keys():
            if tails[fd].read() == b"":
                poller.unregister(fd)
        if guard.control in ready:
            report = _heed(guard, audience.journal, pulse)
        if stop and stop.fileno() in ready:
            poller.unregister(stop.fileno())
            guard.cancel()
    for tail in tails.values():
        tail.drain()
    return report, tails[guard.stdout].text(), tails[guard.stderr].text()


def _heed(guard: Guard, journal: Journal | None, pulse: Pulse) -> Report | None:
    """Take the report; or do what a note asks for, and let the guard go on."""
    heard = guard.receive()
    pulse.heard()
    if isinstance(heard, Note):
        _answer(guard, heard, journal)
        return None
    return heard


def _answer(guard: Guard, note: Note, journal: Journal | None) -> None:
    if note.subject == ALIVE:
        return
    if note.subject == STOPPED:
        terminal.suspend()
        guard.let_go_on()
        return
    if journal:
        journal.kill_intent(INTENTS[note.intent], box.signal_name(note.signal_number))
    guard.acknowledge()
