"""The harness's own way to a Python function in a victim: one file of fixed size, never the victim's output."""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from harness.child import function
from harness.exceptions import InfraError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Caused(msgspec.Struct, frozen=True):
    """An exception that led to another."""

    name: str
    message: str
    stack: str


class Thrown(Caused, frozen=True):
    """What the function raised, and what led to it, the nearest first."""

    causes: tuple[Caused, ...] = ()


class Returned(msgspec.Struct, frozen=True):
    """What came back: a value, what was raised, or what the caller did wrong."""

    value: Any = None
    thrown: Thrown | None = None
    mistake: str | None = None


def command() -> tuple[str, ...]:
    """Return the command of a victim that calls a function."""
    return sys.executable, "-P", function.__file__


@contextmanager
def open_channel(question: bytes) -> Iterator[int]:
    """Yield the descriptor that asks for one call, to be read by harness.child.function. Its size is fixed."""
    request = function.pack(question)
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


def answer(fd: int) -> Returned | None:
    """Read what came back; None where it is no whole answer. Never raises for what a victim wrote there."""
    payload = function.unpack(os.pread(fd, function.CHANNEL_BYTES, 0))
    try:
        return msgspec.json.decode(payload, type=_Answered).checked() if payload else None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


class _Answered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer as it is written: exactly one of these members.

    The question has another shape, and is not mistaken.
    """

    value: Any = msgspec.UNSET
    thrown: Thrown | msgspec.UnsetType = msgspec.UNSET
    mistake: str | msgspec.UnsetType = msgspec.UNSET

    def checked(self) -> Returned | None:
        there = {
            name: getattr(self, name) for name in self.__struct_fields__ if getattr(self, name) is not msgspec.UNSET
        }
        return Returned(**there) if len(there) == 1 else None
