"""Examples of a Hypothesis test in a worker: a fork that runs one after the other, until one of them ends it.

Hypothesis itself stays in the process that forked. The worker draws, runs the test, and writes down what Hypothesis has
to know, in memory that outlives it: the choices, the spans around them, what was reported. From that the example is
told to Hypothesis once more, as if it had run here; one that has ended the worker ends in a NativeCrash. A fork is made
for each example that crashes, and for none that does not.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, NoReturn

from hypothesis import reporting
from hypothesis.internal.conjecture.data import ConjectureData

from harness.pytest_guard.workers import Memory, Request, Worker, Workers

if TYPE_CHECKING:
    from harness.pytest_guard.workers import Once


class Examples:
    """Runs the examples of a test, each in the worker that there is, or in a fresh one."""

    def __init__(self, once: Once, deadline_s: float | None) -> None:
        self._once, self._deadline_s = once, deadline_s
        self._memory = Memory()
        self._workers: Workers | None = None
        self._worker: Worker | None = None
        self._state: object = None
        self._known: set[type] = set()
        self._always_fresh = False

    def execute_once(self, state: Any, data: Any, **words: Any) -> None:
        """Stand for Hypothesis's own: run one example, and raise what it raises."""
        __tracebackhide__ = True
        if state is not self._state:
            self.end()
            self._memory = Memory()  # a test that runs in an example of another has one of its own
            self._state, self._workers = state, Workers(self._once, state, self._memory)
        state.ever_executed = True  # a test that is never run is skipped
        request = Request(data, words)
        is_final = bool(words.get("is_final"))
        answer, crash, served = self._run(request, is_fresh=self._always_fresh or is_final)
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
        packed = request.packed()
        if is_fresh or packed is None:
            self._dismiss()
        self._memory.clear()
        worker = self._worker = self._given(request, packed)
        answer = worker.answer(self._deadline_s)
        if answer is not None:
            return answer, None, worker.examples
        self._worker = None
        return None, worker.mourned(), worker.examples

    def _given(self, request: Request, packed: bytes | None) -> Worker:
        """Return the worker that has the example now."""
        assert self._workers is not None  # noqa: S101 -- for the type checker
        if packed is None:
            return self._workers.with_example(request)
        worker = self._worker or self._workers.fresh()
        worker.send(packed)
        return worker

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

    def _dismiss(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def end(self) -> None:
        """End the worker, and those that wait."""
        self._dismiss()
        workers, self._workers, self._state = self._workers, None, None
        if workers is not None:
            workers.end()


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
