"""A Python function at its call: a server below a guard, in which each trial is a fork."""

from __future__ import annotations

import marshal
import os
import sys
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Self

import msgspec

from harness.child import swept
from harness.evidence import Signaled
from harness.exceptions import InfraError, InvalidInputError
from harness.refusals.debugger import GDB_S, gdb_words
from harness.refusals.line import Line
from harness.refusals.page import Order, Page
from harness.refusals.surroundings import library_path
from harness.refusals.trial import FIELDS, SEPARATOR, Said, Trial, said_of
from harness.supervisor.process import decode_status

if TYPE_CHECKING:
    from collections.abc import Sequence

IMPORT_S, CALLS_S = 60.0, 30.0  # for what comes before the first trial
RECORDING_S, PROBE_S, SLOWER = 20.0, 2.0, 20  # the last: how many times as long as the first calls took
SWEEP_S = 30.0  # beyond its deadline, for what ends a child
QUIET = Order("call", ())
LATE_NOTE = "it needs threads that its first calls start, which a fork lacks: each trial makes its first calls itself"
RENEW_EVERY = 10_000  # trials: what a trial does outside of its memory, as to its files, may add up
GROWTH_BYTES = 4 << 30  # what a trial may take beyond what its server holds


class Call(msgspec.Struct, frozen=True):
    """What a server is to call. `call` is its name in reports; a function of a script is told by its `file`.

    `setup`, `ok` and `equal` are functions by `module:function`; `ok` may also be an expression. `then` is the probe
    after a refusal: "call", "call-in-thread", or "check:module:function". `late`: each trial makes the first calls
    itself, since a fork lacks the threads that they start.
    """

    call: str
    module: str = ""
    name: str = ""
    file: str = ""
    package: str = ""
    arguments: dict[str, Any] | None = None
    setup: str = ""
    warmup: int = 3
    ok: str = ""
    equal: str = ""
    then: str = "call"
    leak: int = 0
    late: bool = False


class Process(msgspec.Struct, frozen=True):
    """Another process that comes to a call by itself, and becomes its server: a test of the user's.

    In the end it gets `farewell_s` to leave by itself, so that what it has set up is taken down.
    """

    words: tuple[str, ...]
    environment: dict[str, str]
    farewell_s: float = 10.0


class Server:
    """One server, from its start to its end. It has made its first calls when this returns, unless they are to be late.

    `call_s` is what one call may take. Of a late call `called` knows the reference. Raises InvalidInputError where the
    function can't be imported, InfraError where it can't be swept, with the reason.
    """

    def __init__(self, call: Call, call_s: float | None, process: Process | None, called: Server | None = None) -> None:
        self.notes: list[str] = []
        self.reference: Said | None = None
        self.is_steady = True
        self.starts_threads = False
        self.calls_s = 0.0
        self.most_lives = float(RENEW_EVERY)
        self._call = call
        self._patience_s = CALLS_S if call_s is None else call_s * (call.warmup + swept.CALLS + 1)
        script = (sys.executable, "-P", swept.__file__, library_path())
        self._process = process or Process(script, dict(os.environ), farewell_s=0.0)
        with ExitStack() as stack:
            self.page = stack.enter_context(Page())
            self.page.give_text(marshal.dumps(_order(call)))
            self.page.give(QUIET)
            self._line = self._start(self._process.words, ["--preload", library_path()])
            stack.callback(self._line.close, self._process.farewell_s)
            fields = self._greet(self._line)
            if called:
                self._follow(called)
            else:
                self._read(fields)
            self._close = stack.pop_all().close

    def _start(self, words: Sequence[str], options: Sequence[str]) -> Line:
        return Line(self._call.call, words, options, self.page.fd, self._process.environment)

    def _greet(self, line: Line) -> list[str]:
        """Wait until the server is ready; hear what the call gives without a refusal, in words."""
        words = [line.hear(IMPORT_S, "importing").word]
        if words[0] == swept.IMPORTED:
            began = time.monotonic()
            words.append(line.hear(self._patience_s, "calling").word)
            self.calls_s = time.monotonic() - began
        fields = self.page.answer().text.split(SEPARATOR)
        why = ": ".join(filter(None, fields[1:]))
        if words == [swept.FAILED]:
            raise InvalidInputError(f"{self._call.call}: can't be loaded: {why}")
        if fields[0] == swept.GIVES:
            raise InfraError(
                f"{self._call.call} gives a {fields[1]}: nothing was done yet; expected a function that does"
            )
        if words[-1] != swept.READY:
            raise InfraError(f"{self._call.call} fails without a refusal: {why}")
        return fields

    def _read(self, fields: list[str]) -> None:
        """What the call gives, and what is odd about it."""
        self.reference = said_of(fields[1 : 1 + FIELDS])
        if self.reference is None:
            raise InfraError("the server of the sweep speaks in torn words")
        self.is_steady = fields[0] == "same"
        if not self.is_steady:
            self.notes.append(f"its result is not the same each time: {fields[-3]}, then {self.reference.text}")
        before, after = fields[-2:]
        self.starts_threads = before != after
        if after != "1":
            self.notes.append(f"its process has {after} threads: the trials have only the one that calls")

    def _follow(self, called: Server) -> None:
        self.reference, self.is_steady, self.calls_s = called.reference, called.is_steady, called.calls_s
        self.notes += [*called.notes[: not called.is_steady], LATE_NOTE]

    @property
    def recording_s(self) -> float:
        """What a life without a refusal may take: each call is unwound, and so it is slower than the first were."""
        return RECORDING_S + SLOWER * self.calls_s

    def lacks_threads(self) -> bool:
        """Whether the call does not end in a fork, which lacks the threads that the first calls have started."""
        return self.starts_threads and self.live(QUIET, PROBE_S + SLOWER * self.calls_s).hung

    def live(self, order: Order, deadline_s: float | None) -> Trial:
        """Fork one child at the call, and see it end."""
        self.page.give(order)
        began = time.monotonic()
        self._line.ask(deadline_s)
        reply = self._line.hear(None if deadline_s is None else deadline_s + SWEEP_S, "calling")
        hung = bool(reply.hung)
        end = Signaled("SIGKILL") if hung else decode_status(reply.wait_status)  # after one that asked where it hangs
        return Trial(end, hung, self.page.answer(), reply.text, duration_s=time.monotonic() - began)

    def debug(self, order: Order, deadline_s: float) -> str:
        """Live the same trial in another process, under gdb, and return what gdb prints."""
        self.page.give(QUIET)
        with closing(self._start(gdb_words(self._process.words, "sweep_serve"), [])) as line:
            self._greet(line)
            self.page.give(order)
            line.ask(deadline_s, GDB_S)
            return line.finish(deadline_s + GDB_S)

    def close(self) -> None:
        """End it and all that it started."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(call: Call, call_s: float | None = None, process: Process | None = None) -> Server:
    """Start a server; one whose forks lack threads makes way for one that has not called yet. Raises like Server."""
    server = Server(call, call_s, process)
    with ExitStack() as stack:
        stack.push(server)
        if not server.lacks_threads():
            stack.pop_all()
            return server
        return Server(msgspec.structs.replace(call, late=True), call_s, process, server)


def _order(call: Call) -> dict[str, object]:
    return {**msgspec.structs.asdict(call), "path": list(sys.path), "growth": GROWTH_BYTES}
