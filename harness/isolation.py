"""harness.isolated: any call in a process of its own, so that a native crash in it is an exception."""

from __future__ import annotations

import functools
import os
import pickle
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import msgspec

from harness.child import isolated as child
from harness.evidence import EndedBy, Evidence, Exited, signature
from harness.exceptions import InfraError, InvalidInputError, NativeCrash
from harness.supervisor import Limits, check_timeout, supervise
from harness.supervisor.forked import Fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")


def isolated(
    function: Callable[P, T], *, fresh: bool = False, deadline_s: float | None = None, memory_bytes: int | None = None
) -> Callable[P, T]:
    """Wrap a function so that each call runs in a process of its own, and a native crash is an exception.

        from harness import isolated, NativeCrash
        resize = isolated(image.resize)
        with pytest.raises(NativeCrash) as caught:
            resize(broken)
        caught.value.evidence.fault.address

    The process is a fork of the calling one: closures and any argument work, and what the call changes in memory is
    lost with it. What it returns or raises comes back by pickle. As with any fork, threads of the caller are not there.
    With `fresh` it is a new process instead, for code that a fork breaks; then function and arguments must be
    picklable, and `memory_bytes` may bound it. A call that takes longer than `deadline_s` is killed. Processes that the
    call starts and leaves behind are ended with a new process only: those of a fork are left to the caller's system.

    Raises what the function raises; NativeCrash where its process was ended by a signal, by the deadline, or by
    os._exit(); InfraError where no process can be had. Crashes at different places are of different classes, all below
    NativeCrash: so that a search such as Hypothesis's tells them apart.
    """
    if not callable(function):
        raise InvalidInputError(f"isolated: expected a function, or what else can be called, not {function!r}")
    check_timeout(deadline_s, "deadline_s")
    if memory_bytes is not None and not fresh:
        raise InvalidInputError("memory_bytes: only a new process can be bounded; add fresh=True")
    limits = Limits(memory_bytes=memory_bytes)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with _memory_file() as fd:
            if fresh:
                evidence = _in_new_process(fd, (function, args, kwargs), limits, deadline_s)
            else:
                evidence = Fork(functools.partial(child.answer, fd, function, args, kwargs)).end(deadline_s)
            result: T = _result(fd, evidence)
            return result

    return call


@contextmanager
def _memory_file() -> Iterator[int]:
    try:
        fd = os.memfd_create("crash-isolated", os.MFD_CLOEXEC)
    except OSError as error:
        raise InfraError(f"no memory file for the answer: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _in_new_process(fd: int, asked: tuple[Any, ...], limits: Limits, deadline_s: float | None) -> Evidence:
    try:
        question = pickle.dumps((list(sys.path), sys.argv, pickle.dumps(asked)))
    except Exception as error:
        raise InvalidInputError(f"fresh: function and arguments must be picklable: {error}") from error
    os.pwrite(fd, question, 0)
    return supervise([sys.executable, "-P", child.__file__], limits, deadline_s, channel=fd)


def _result(fd: int, evidence: Evidence) -> Any:
    """Return or raise what the function did; raise NativeCrash where its process died instead."""
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    if evidence.termination != Exited(0) or not data:
        raise crash_of(evidence)
    how, value = pickle.loads(data)  # noqa: S301 -- the caller's own function has made it
    if how == child.RAISED:
        raise value
    return value


def crash_of(evidence: Evidence) -> NativeCrash:
    """Make the NativeCrash for a process that died; each place of a crash has a class of its own."""
    record = evidence.fault
    place = ""
    if evidence.ended_by is EndedBy.SELF and record is not None and record.module and not record.is_sent:
        place = f"{record.module}+{record.offset or 0:#x}"
    left = isinstance(evidence.termination, Exited)
    message = f"the process left with exit status {evidence.termination.status}" if left else signature(evidence)  # type: ignore[union-attr]  # it left
    return _class_of(place or message)(f"{message}{f' in {place}' if place else ''}", evidence)


@functools.cache
def _class_of(place: str) -> type[NativeCrash]:
    def reduced(self: NativeCrash) -> tuple[Any, ...]:
        return _again, (str(self), msgspec.json.encode(self.evidence), place)

    members = {"__module__": NativeCrash.__module__, "__doc__": NativeCrash.__doc__, "__reduce__": reduced}
    return type(f"NativeCrash[{place}]", (NativeCrash,), members)


def _again(message: str, evidence: bytes, place: str) -> NativeCrash:
    return _class_of(place)(message, msgspec.json.decode(evidence, type=Evidence))
