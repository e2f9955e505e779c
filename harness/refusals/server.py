"""A Python function at its call: a server below a guard, in which each trial is a fork."""

from __future__ import annotations

import marshal
import os
import socket
import struct
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import msgspec

from harness.child import swept
from harness.evidence import Signaled
from harness.exceptions import InfraError, InvalidInputError
from harness.refusals.page import Order, Page
from harness.refusals.surroundings import library_path, settled
from harness.refusals.trial import FIELDS, SEPARATOR, Said, Trial, said_of
from harness.supervisor.guard import Guard, Report
from harness.supervisor.ladder import contain
from harness.supervisor.output import Tail
from harness.supervisor.process import decode_status

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUEST = struct.Struct("<q")
REPLY = struct.Struct("<iIII4096s")
IMPORT_S, CALLS_S = 60.0, 30.0  # for what comes before the first trial
SWEEP_S = 30.0  # beyond its deadline, for what ends a child
GROWTH_BYTES = 4 << 30  # what a trial may take beyond what its server holds


class Call(msgspec.Struct, frozen=True):
    """What a server is to call: functions by `module:function`.

    `then` is the probe after a refusal: "call", "call-in-thread", or "check:module:function".
    """

    call: str
    setup: str = ""
    warmup: int = 3
    ok: str = ""
    equal: str = ""
    then: str = "call"
    leak: int = 0


class Server:
    """One server, from its start to its end. It has made its first calls when this returns.

    `call_s` is what one call may take. `command` starts another process in its place, one that comes to the same call
    by itself. Raises InvalidInputError where the function can't be imported, InfraError where it can't be swept, with
    the reason.
    """

    def __init__(self, call: Call, call_s: float | None = None, command: Sequence[str] = ()) -> None:
        self.notes: list[str] = []
        self._call = call
        self._calls_s = CALLS_S if call_s is None else call_s * (call.warmup + swept.CALLS + 1)
        with ExitStack() as stack:
            self.page = stack.enter_context(Page())
            self.page.give_text(marshal.dumps(_order(call)))
            self.page.give(Order("call", ()))
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.callback(self._socket.close)
            words = list(command) or [sys.executable, "-P", swept.__file__, library_path()]
            options = ["--preload", library_path(), *(["--namespace"] if contain("auto").namespace else [])]
            with theirs:
                self._guard = Guard(words, options, settled(os.environ), self.page.fd, theirs.fileno())
            stack.enter_context(self._guard)
            self._errors = Tail(self._guard.stderr)
            self.reference: Said | None = self._greet()
            self._close = stack.pop_all().close

    def _greet(self) -> Said:
        self._hear(IMPORT_S, "importing")
        word = self._hear(self._calls_s, "calling")[3]
        fields = self.page.answer().text.split(SEPARATOR)
        if word != swept.READY:
            raise InfraError(f"{self._call.call} fails without a refusal: {': '.join(filter(None, fields[1:]))}")
        said = said_of(fields[1 : 1 + FIELDS])
        if said is None:
            raise InfraError("the server of the sweep speaks in torn words")
        self.is_steady = fields[0] == "same"
        if not self.is_steady:
            self.notes.append(f"its result is not the same each time: {fields[-2]}, then {said.text}")
        if fields[-1] != "1":
            self.notes.append(f"its process has {fields[-1]} threads: the trials have only the one that calls")
        return said

    def _hear(self, patience_s: float | None, doing: str) -> tuple[int, int, int, int, bytes]:
        """Receive a reply. Raises InfraError for a server that is gone or silent."""
        self._socket.settimeout(patience_s)
        try:
            data = self._socket.recv(REPLY.size + 1)
        except TimeoutError:
            raise InfraError(
                f"{self._call.call}: {doing} it did not end within {patience_s:g} s without a refusal"
            ) from None
        except OSError:
            data = b""
        if len(data) != REPLY.size:
            raise InfraError(f"{self._call.call}: {doing} it, the process {self._end()}")
        reply: tuple[int, int, int, int, bytes] = REPLY.unpack(data)
        if reply[3] == swept.FAILED:
            fields = self.page.answer().text.split(SEPARATOR)
            if fields[0] == "import":
                raise InvalidInputError(f"{self._call.call}: can't be loaded: {': '.join(filter(None, fields[1:]))}")
        return reply

    def _end(self) -> str:
        heard = self._guard.receive()
        how = str(decode_status(heard.wait_status)) if isinstance(heard, Report) else "was told to end"
        self._errors.drain()
        return ": ".join([how, *self._errors.text().strip().splitlines()[-1:]])

    def live(self, order: Order, deadline_s: float | None) -> Trial:
        """Fork one child at the call, and see it end."""
        self.page.give(order)
        try:
            self._socket.send(REQUEST.pack(-1 if deadline_s is None else round(deadline_s * 1000)))
        except OSError:
            raise InfraError(f"{self._call.call}: the server {self._end()}") from None
        status, hung, length, _, tail = self._hear(None if deadline_s is None else deadline_s + SWEEP_S, "calling")
        text = tail[: min(length, len(tail))].decode("utf-8", "replace")
        end = Signaled("SIGKILL") if hung else decode_status(status)  # after one that asked where it hangs
        return Trial(end, bool(hung), self.page.answer(), text)

    def close(self) -> None:
        """End it and all that it started."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _order(call: Call) -> dict[str, object]:
    return {**msgspec.structs.asdict(call), "path": list(sys.path), "growth": GROWTH_BYTES}
