"""One guarded process, from its start to its evidence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from harness.child import guarded
from harness.evidence import EndedBy, Evidence
from harness.pytest_guard.channel import Channel, ChannelClosed
from harness.supervisor import Limits, Stop, supervise

if TYPE_CHECKING:
    import pytest

LEFTOVER_BYTES: Final = 256 * 1024
PARTING_S: Final = 5.0
WITHOUT_TEXT: Final = {"process", "bell"}  # of the descriptors that come from a guarded process
FAREWELL_S: Final = 10.0  # what fixtures may take to end after Ctrl-C


class Death(msgspec.Struct, frozen=True):
    """How a guarded process ended. `output` is what it had printed since its last report, by stream.

    `python` is what faulthandler wrote: the stacks of its threads. `main_thread` is the id of its main thread, as the
    records of its faults name threads. `finished` is the exit status that it announced, None where it announced none.
    """

    evidence: Evidence
    output: tuple[tuple[str, str], ...] = ()
    python: str = ""
    main_thread: int | None = None
    finished: int | None = None


class Child:
    """A guarded process: told what to run by send(), heard by receive(), ended by end() or kill()."""

    def __init__(self, orders: dict[str, Any], memory: int | None, *, backtrace: bool = False) -> None:
        self.memory, self._has_begun = memory, False
        self.ran: list[pytest.Item] = []
        self.is_shown = True
        self.began_s: float | None = None
        self._channel, self._stop = Channel(), Stop()
        self._files: dict[str, int] = {}
        self._main_thread: int | None = None
        self._finished: int | None = None
        self._evidence: Evidence | None = None
        self._error: BaseException | None = None
        self._deadline_s: float | None = None
        command = [sys.executable, *subprocess._args_from_interpreter_flags(), guarded.__file__]  # type: ignore[attr-defined]  # noqa: SLF001 -- as multiprocessing does
        self._thread = threading.Thread(
            target=self._live, args=(command, Limits(memory_bytes=memory), backtrace), daemon=True, name="crash-guard"
        )
        self._thread.start()
        with suppress(ChannelClosed):  # what ended it is told when it is asked for
            self.send("orders", **orders)

    def _live(self, command: list[str], limits: Limits, backtrace: bool) -> None:
        try:
            self._evidence = supervise(
                command,
                limits,
                channel=self._channel.theirs.fileno(),
                stop=self._stop,
                relay=self._relay,
                backtrace=backtrace,
            )
        except BaseException as error:  # noqa: BLE001 -- raised where the end is asked for
            self._error = error
        finally:
            self._channel.hand_over()

    def _relay(self, fd: int, data: bytes) -> None:
        """Show what a test writes past pytest's capture, or without one, as it would be shown.

        What is said before the first test, of the configuration and the modules, the parent says too.
        """
        with suppress(OSError):
            while data and self._has_begun and self.is_shown:
                data = data[os.write(fd, data) :]

    def send(self, word: str, **more: object) -> None:
        """Tell it something. Raises ChannelClosed."""
        self._channel.send(word, **more)

    def receive(self, until_s: float | None = None) -> tuple[str, dict[str, Any]]:
        """Hear what it says. Raises TimeoutError at `until_s`, and ChannelClosed when it is dead or talks nonsense."""
        while True:
            try:
                word, more, fds = self._channel.receive(until_s)
            except ChannelClosed:
                self._part()
                raise
            if word == "start" and not self._has_begun:
                self._has_begun, self.began_s = True, time.monotonic()
            if word == "files":
                self._channel.hand_over()
                self._files |= dict(zip(more["names"], fds, strict=True))
                self._main_thread = more["thread"]
                if "bell" in self._files:
                    self._channel.wait_for(self._files["bell"])
            elif word == "finish":
                self._finished = more["status"]
                raise ChannelClosed(word)
            else:
                return word, more

    def _part(self) -> None:
        """It is dead, as a rule. One that has only closed its end of the channel is of no use any more."""
        self._thread.join(PARTING_S)
        self._stop.set()

    def dies_within(self, seconds: float) -> bool:
        """Wait whether it dies of itself in that time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def interrupt(self) -> None:
        """Pass Ctrl-C on, and let it end its fixtures; kill it when that takes too long, or at the next Ctrl-C."""
        try:
            signal.pidfd_send_signal(self._files["process"], signal.SIGINT)
            self._thread.join(FAREWELL_S)
        except (KeyError, OSError):
            pass
        finally:
            self._stop.set()

    def kill(self, deadline_s: float | None = None) -> None:
        """End it from outside."""
        self._deadline_s = deadline_s
        self._stop.set()

    def end(self) -> Death:
        """Wait for its end. Raises InfraError where it could not be started or watched."""
        self._thread.join()
        try:
            if self._error:
                raise self._error
            assert self._evidence is not None  # noqa: S101 -- for the type checker: it is one or the other
            evidence = self._evidence
            if self._deadline_s is not None and evidence.ended_by is EndedBy.CANCEL:
                evidence = msgspec.structs.replace(evidence, ended_by=EndedBy.DEADLINE, deadline_s=self._deadline_s)
            return Death(evidence, *self._leftover(), self._main_thread, self._finished)
        finally:
            self._channel.close()
            for fd in self._files.values():
                os.close(fd)

    def _leftover(self) -> tuple[tuple[tuple[str, str], ...], str]:
        """Read what its capture held, and the Python stacks that faulthandler wrote."""
        found = {name: _end_of(fd) for name, fd in self._files.items() if name not in WITHOUT_TEXT}
        python = found.pop("stacks", "")
        return tuple((name, text) for name, text in found.items() if text), python


def death_of_fork(evidence: str, output: dict[str, str], python: str, thread: int) -> Death:
    """Read what a guarded process says of a fork of it that has died. Raises ChannelClosed for nonsense."""
    try:
        known = msgspec.json.decode(evidence, type=Evidence)
    except msgspec.MsgspecError as error:
        raise ChannelClosed(str(error)) from error
    return Death(known, tuple((name, text) for name, text in output.items() if text), python, thread)


def _end_of(fd: int) -> str:
    size = os.fstat(fd).st_size
    return os.pread(fd, LEFTOVER_BYTES, max(0, size - LEFTOVER_BYTES)).decode("utf-8", "replace")


def wait(seconds: float | None) -> float | None:
    """Return the moment in so many seconds, by the clock that receive() goes by."""
    return None if seconds is None else time.monotonic() + seconds
