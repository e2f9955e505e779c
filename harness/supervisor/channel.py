"""The harness's own way to a Python function in a victim: one file of fixed size, never the victim's output."""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from harness.child import function
from harness.exceptions import InfraError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Thrown(msgspec.Struct, frozen=True):
    """What the function raised."""

    name: str
    message: str
    stack: str


class Answer(msgspec.Struct, frozen=True):
    """What came back: a value, or what was raised."""

    value: Any = None
    thrown: Thrown | None = None


def command() -> tuple[str, ...]:
    """Return the command of a victim that calls a function."""
    return sys.executable, "-P", function.__file__


@contextmanager
def open_channel(module: str, name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> Iterator[int]:
    """Yield the descriptor that asks for one call. Raises InvalidInputError for arguments that JSON can't hold."""
    asked = {"path": sys.path, "module": module, "name": name, "args": list(args), "kwargs": dict(kwargs)}
    try:
        request = function.pack(msgspec.json.encode(asked))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise InvalidInputError(f"arguments of {module}:{name}: {error}") from error
    if len(request) > function.CHANNEL_BYTES:
        raise InvalidInputError(
            f"arguments of {module}:{name}: {len(request)} bytes, of which {function.CHANNEL_BYTES} fit"
        )
    try:
        fd = os.memfd_create("crash-job", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        raise InfraError(f"the channel can't be made: {error.strerror}") from error
    try:
        os.ftruncate(fd, function.CHANNEL_BYTES)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        os.pwrite(fd, request, 0)
        yield fd
    finally:
        os.close(fd)


def answer(fd: int) -> Answer | None:
    """Read what came back; None where it is no whole answer. Never raises for what a victim wrote there."""
    payload = function.unpack(os.pread(fd, function.CHANNEL_BYTES, 0))
    try:
        return msgspec.json.decode(payload, type=_Answered).checked() if payload else None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


class _Answered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The wire's shape: what was asked does not look like it."""

    value: Any = msgspec.UNSET
    thrown: Thrown | msgspec.UnsetType = msgspec.UNSET

    def checked(self) -> Answer | None:
        if self.thrown is not msgspec.UNSET:
            return Answer(thrown=self.thrown)
        return None if self.value is msgspec.UNSET else Answer(self.value)
