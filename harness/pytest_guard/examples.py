"""Examples of a Hypothesis test in a worker: a fork that runs one after the other, until one of them ends it.

Hypothesis itself stays in the process that forked. The worker draws, runs the test, and writes down what Hypothesis has
to know, in memory that outlives it: the choices, the spans around them, what was reported. From that the example is
told to Hypothesis once more, as if it had run here; one that has ended the worker ends in a NativeCrash. A fork is made
for each example that crashes, and for none that does not.
"""

from __future__ import annotations

import mmap
import pickle
import select
import struct
import traceback
from multiprocessing import Pipe
from random import Random
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hypothesis import reporting
from hypothesis.errors import StopTest
from hypothesis.internal.conjecture.data import ConjectureData
from hypothesis.stateful import Rule

from harness.child.isolated import raised
from harness.isolation import crash_of
from harness.supervisor.forked import Fork

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
    """A fork that runs examples: the first it takes along, the others it is sent."""

    def __init__(self, request: Request, once: Once, state: object, memory: Memory) -> None:
        self.examples, self._is_late = 1, False
        memory.clear()
        self._pipe, theirs = Pipe()

        def work() -> None:
            self._pipe.close()
            _serve(request, theirs, lambda one: one.live(once, state, memory))

        self._fork = Fork(work)
        theirs.close()

    def send(self, packed: bytes) -> None:
        """Send it one more."""
        self.examples += 1
        self._pipe.send_bytes(packed)

    def answer(self, within_s: float | None) -> bytes | None:
        """Wait for what came of the example. None: the worker is dead, or was too slow, and is to be mourned."""
        poller = select.poll()
        for fd in (self._pipe.fileno(), self._fork.fd):
            poller.register(fd, select.POLLIN)
        try:
            self._is_late = not poller.poll(None if within_s is None else within_s * 1000)
            return self._pipe.recv_bytes() if self._pipe.poll(0) else None
        except (EOFError, OSError):
            return None

    def mourned(self) -> Exception:
        """Return the crash that it died of."""
        self._pipe.close()
        return crash_of(self._fork.end(0.0 if self._is_late else None))

    def end(self) -> None:
        """End it, which waits for the next."""
        self._pipe.close()
        self._fork.kill()


def _serve(request: Request, pipe: Connection, live: Callable[[Request], bytes]) -> None:
    while True:
        pipe.send_bytes(live(request))
        try:
            request = pickle.loads(pipe.recv_bytes())  # noqa: S301 -- of the process that forked this one
        except EOFError:
            return


class Examples:
    """Runs the examples of a test, each in the worker that there is, or in a fresh one."""

    def __init__(self, once: Once, deadline_s: float | None) -> None:
        self._once, self._deadline_s = once, deadline_s
        self._memory = Memory()
        self._worker: Worker | None = None
        self._state: object = None
        self._known: set[type] = set()
        self._always_fresh = False

    def execute_once(self, state: Any, data: Any, **words: Any) -> None:
        """Stand for Hypothesis's own: run one example, and raise what it raises."""
        __tracebackhide__ = True
        request = Request(data, words)
        is_final = bool(words.get("is_final"))
        is_fresh = self._always_fresh or state is not self._state or is_final
        self._state = state
        state.ever_executed = True  # a test that is never run is skipped
        answer, crash, served = self._run(request, is_fresh=is_fresh)
        if crash is not None and type(crash) not in self._known and served > 1:
            answer, crash, _ = self._run(request, is_fresh=True)
            self._always_fresh = crash is None  # what came before had made it crash
        if crash is not None:
            self._known.add(type(crash))
        self._tell(data, answer, shows_step=answer is None and is_final)
        if crash is not None:
            raise crash

    def _run(self, request: Request, *, is_fresh: bool) -> tuple[bytes | None, Exception | None, int]:
        """Return what came of it: an answer or a crash; and how many examples its worker has run."""
        packed = None if is_fresh or self._worker is None else request.packed()
        if self._worker is None or packed is None:
            self.end()
            self._worker = Worker(request, self._once, self._state, self._memory)
        else:
            self._memory.clear()
            self._worker.send(packed)
        worker, answer = self._worker, self._worker.answer(self._deadline_s)
        if answer is not None:
            return answer, None, worker.examples
        self._worker = None
        return None, worker.mourned(), worker.examples

    def _tell(self, data: Any, answer: bytes | None, *, shows_step: bool) -> None:
        """Tell the example to Hypothesis, as far as it came."""
        __tracebackhide__ = True
        error, where, random, seen = pickle.loads(answer) if answer else (None, None, None, {})  # noqa: S301 -- a fork of ours
        own = getattr(data, "_random", None)
        if own and random:
            own.setstate(random)
        elif own:
            own.getrandbits(64)  # the crash has lost it; the next example is another
        for name, value in seen.items():
            if isinstance(data, ConjectureData):
                getattr(data, name).update(value)
        _replay(data, list(self._memory), shows_step=shows_step)
        if error:
            raise_where(pickle.loads(error)[1], where)  # noqa: S301 -- as above

    def end(self) -> None:
        """End the worker."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()


def raise_where(error: BaseException, where: tuple[str, int]) -> NoReturn:
    """Raise an exception at the line where it was raised first: Hypothesis tells failures apart by that."""
    __tracebackhide__ = True
    file, line = where
    exec(compile(f"{chr(10) * (line - 1)}raise error", file, "exec"), {"error": error})  # noqa: S102 -- our own line
    raise error


def _replay(data: Any, events: list[tuple[Any, ...]], *, shows_step: bool) -> None:
    step = None
    data.prefix = tuple(event[3] for event in events if event[0] == "draw")
    for name, *more in events:
        if name == "report":
            step = None
            reporting.current_reporter()(more[0])
        elif name == "step":
            step = more[0]
        elif name == "draw":
            args, words, _, misaligned_at = more
            data._draw(*args, **words)  # noqa: SLF001 -- there is no other way
            data.misaligned_at = misaligned_at
        else:
            args, words = more
            getattr(data, name)(*args, **words)
    if shows_step and step:
        reporting.current_reporter()(step)


def check_fit() -> None:
    """Raise ImportError where this version of Hypothesis is not made of what is used here."""
    parts = ("_draw", "start_span", "stop_span", "conclude_test")
    if lacking := [name for name in parts if not hasattr(ConjectureData, name)]:
        raise ImportError(f"ConjectureData has no {', '.join(lacking)}")
