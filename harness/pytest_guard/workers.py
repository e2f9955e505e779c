"""Workers: forks that run examples of a Hypothesis test, one after the other, until one of them ends its worker."""

from __future__ import annotations

import mmap
import pickle
import struct
import traceback
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from random import Random
from typing import TYPE_CHECKING, Any, Final

from hypothesis import reporting
from hypothesis.errors import StopTest
from hypothesis.internal.conjecture.data import ConjectureData
from hypothesis.internal.entropy import deterministic_PRNG
from hypothesis.stateful import Rule

from harness.child.isolated import raised
from harness.evidence import EndedBy
from harness.isolation import crash_of
from harness.supervisor.ahead import Source
from harness.supervisor.forked import Fork, ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    Once = Callable[..., object]  # execute_once() of Hypothesis: state, data, and words

MOST_BYTES: Final = 1 << 26  # of an example; Hypothesis's own bound for its choices is far below
USED, SIZE = struct.Struct("=Q"), struct.Struct("=I")


class Memory:
    """Events, written by a worker and read when it may be dead."""

    def __init__(self) -> None:
        self._bytes = mmap.mmap(-1, MOST_BYTES)
        self.clear()

    def clear(self) -> None:
        """Forget them."""
        USED.pack_into(self._bytes, 0, USED.size)

    def write(self, *event: object) -> None:
        """Add one. Raises MemoryError when there is no room."""
        data = pickle.dumps(event)
        start = USED.unpack_from(self._bytes)[0]
        end = start + SIZE.size + len(data)
        if end > MOST_BYTES:
            raise MemoryError("an example with too many choices to be told")
        self._bytes[start:end] = SIZE.pack(len(data)) + data
        USED.pack_into(self._bytes, 0, end)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        at, end = USED.size, min(USED.unpack_from(self._bytes)[0], MOST_BYTES)
        while at < end:
            size = SIZE.unpack_from(self._bytes, at)[0]
            at += SIZE.size + size
            yield pickle.loads(self._bytes[at - size : at])  # noqa: S301 -- a fork of ours has written it


class Told(ConjectureData):
    """The data of an example in a worker: all that changes it is written down."""

    memory: Memory | None = None

    def _tell(self, *event: object) -> None:
        if self.memory is not None and not self.frozen:
            self.memory.write(*event)

    def _draw(self, *args: Any, **words: Any) -> Any:
        value = super()._draw(*args, **words)
        if words["observe"]:
            self._tell("draw", args, words, value, self.misaligned_at)
        return value

    def draw(self, *args: Any, **words: Any) -> Any:
        """Draw a value; the step of a state machine is told before it is taken, for Hypothesis prints it after."""
        value = super().draw(*args, **words)
        if type(value) is tuple and len(value) == 2 and isinstance(value[0], Rule):  # noqa: PLR2004 -- a rule and its arguments
            told = (f"{name}={getattr(one, 'name', None) or repr(one)}" for name, one in dict(value[1]).items())
            self._tell("step", f"state.{value[0].function.__name__}({', '.join(told)})")
        return value

    def start_span(self, *args: Any, **words: Any) -> None:
        """Begin a part of the example."""
        self._tell("start_span", args, words)
        super().start_span(*args, **words)

    def stop_span(self, *args: Any, **words: Any) -> None:
        """End it."""
        self._tell("stop_span", args, words)
        super().stop_span(*args, **words)

    def conclude_test(self, *args: Any, **words: Any) -> Any:
        """End the example: it is invalid, or too large."""
        self._tell("conclude_test", args, words)
        super().conclude_test(*args, **words)


class Request:
    """An example to be run: what its data are made of, and the words of execute_once()."""

    def __init__(self, data: Any, words: dict[str, Any]) -> None:
        # The data of an explicit example are of another type, and only a fresh fork has them.
        self._other = None if isinstance(data, ConjectureData) else data
        self._made = None if self._other else (data.prefix, data.max_choices)
        random = getattr(data, "_random", None)
        self._random = random and random.getstate()
        self._words = dict(words)
        if words.get("expected_failure"):
            self._words["expected_failure"] = RuntimeError("the crash"), words["expected_failure"][1]

    def packed(self) -> bytes | None:
        """Return what a worker is sent. None: it can't be sent, so that a fresh fork has to take it along."""
        try:
            return None if self._other else pickle.dumps(self)
        except Exception:  # noqa: BLE001 -- it may hold values of the user's
            return None

    def live(self, once: Once, state: object, memory: Memory) -> bytes:
        """Run it, and return what came of it besides events."""
        random = Random()  # noqa: S311 -- Hypothesis's own choice
        if self._random:
            random.setstate(self._random)
        data = self._other or self._data(random, memory)
        answer = where = None
        try:
            with reporting.with_reporter(lambda text: memory.write("report", text)):
                once(state, data, **self._words)
        except StopTest:
            pass
        except BaseException as error:  # noqa: BLE001 -- whatever it is, it is the answer
            answer, where = raised(error), traceback.extract_tb(error.__traceback__)[-1]
        seen = {name: getattr(data, name, {}) for name in ("target_observations", "events")}
        return pickle.dumps(
            (answer, where and (where.filename, where.lineno), self._random and random.getstate(), seen)
        )

    def _data(self, random: Random, memory: Memory) -> Told:
        assert self._made is not None  # noqa: S101 -- for the type checker
        prefix, most = self._made
        data = Told(random=random if self._random else None, prefix=prefix, max_choices=most)
        data.memory = memory
        return data


class Worker:
    """A fork that has run so many `examples`, or has begun with the first, and is sent more."""

    def __init__(self, pipe: Connection, fork: Fork, examples: int = 0) -> None:
        self.examples = examples
        self._missed_s: float | None = None
        self._pipe, self._fork = pipe, fork

    def send(self, packed: bytes) -> None:
        """Send it an example."""
        self.examples += 1
        with suppress(OSError):  # it is dead, as is found out when it is to answer
            self._pipe.send_bytes(packed)

    def answer(self, within_s: float | None) -> bytes | None:
        """Wait for what came of the example. None: the worker is dead, or was too slow, and is to be mourned."""
        if not ready(within_s, self._pipe.fileno(), self._fork.fd):
            self._missed_s = within_s
            return None
        try:
            return self._pipe.recv_bytes() if self._pipe.poll(0) else None
        except (EOFError, OSError):
            return None

    def mourned(self) -> Exception:
        """Return the crash that it died of."""
        self._pipe.close()
        if self._missed_s is None:
            return crash_of(self._fork.end())
        return crash_of(self._fork.kill(EndedBy.DEADLINE, self._missed_s))

    def end(self) -> None:
        """End it, which waits for the next."""
        self._pipe.close()
        self._fork.kill()


class Workers:
    """Workers of one test: each is ready before it is needed."""

    def __init__(self, once: Once, state: Any, memory: Memory) -> None:
        self._live = partial(_live, once, state, memory)

        def prepare() -> None:
            with deterministic_PRNG():  # its first use collects garbage
                if hasattr(state, "_proxied_test"):
                    state._proxied_test(timed=state.settings.deadline is not None)  # noqa: SLF001 -- as Hypothesis does for the first example

        self._source = Source(partial(_serve, self._live), prepare)

    def fresh(self) -> Worker:
        """Return one that has run nothing."""
        return Worker(*self._source.take())

    def with_example(self, request: Request) -> Worker:
        """Return one that is forked here and now, and has an example in its memory that could not be sent."""
        ours, theirs = Pipe()

        def work() -> None:
            ours.close()
            _serve(self._live, theirs, request)

        fork = Fork(work)
        theirs.close()
        return Worker(ours, fork, 1)

    def end(self) -> None:
        """End what makes them, and those that wait."""
        self._source.end()


def _live(once: Once, state: object, memory: Memory, request: Request) -> bytes:
    return request.live(once, state, memory)


def _serve(live: Callable[[Request], bytes], pipe: Connection, request: Request | None = None) -> None:
    while True:
        if request is not None:
            pipe.send_bytes(live(request))
        try:
            request = pickle.loads(pipe.recv_bytes())  # noqa: S301 -- of the process that forked this one
        except EOFError:
            return
