"""Where groups are fired: on threads of this process, or by whatever else takes pieces of work."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from harness.experiments.firing import GroupRunner, Loss
from harness.experiments.tally import Trial

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Mapping, Sequence

    from harness.dialects.protocol import Dialect
    from harness.experiments.firing import Order
    from harness.experiments.variant import Experiment, Variant
    from harness.supervisor import Stop

    Owed = tuple[Order, Future[list[Trial]]]
    OpenPool = Callable[[Experiment, Stop, Mapping[str, Dialect]], "Pool"]


class Runner(Protocol):
    """Fires one group at a time. `losses` are those of its workers."""

    losses: deque[Loss]

    def fire(self, variant: Variant, numbers: Sequence[int], until_s: float) -> list[Trial]:
        """Return the trials of these numbers; none begins after `until_s`. Raises InfraError."""

    def cancel(self) -> None:
        """From another thread: end what is running."""

    def close(self) -> None:
        """End what is kept between groups."""


class Pool(Protocol):
    """Whatever fires pieces of work. `slots` groups at a time; `gives_blocks` asks for no piece below a block."""

    slots: int
    gives_blocks: bool

    def losses(self) -> list[Loss]:
        """Workers that were lost since this was asked before."""

    def submit(self, piece: Sequence[Order], until_s: float) -> list[Future[list[Trial]]]:
        """Have these groups fired one after the other; an answer each."""

    def close(self) -> None:
        """Give up what is not begun."""


class ThreadPool:
    """As many runners as it has slots, each on a thread of its own. `stop`, once set, lets nothing more begin."""

    gives_blocks = False

    def __init__(self, slots: int, begin: Callable[[], Runner], stop: Stop) -> None:
        self.slots = slots
        self._begin, self._stop = begin, stop
        self._local, self._taken = threading.local(), list[Runner]()
        self._pool = ThreadPoolExecutor(slots)

    def submit(self, piece: Sequence[Order], until_s: float) -> list[Future[list[Trial]]]:
        """Have one runner fire these groups, one after the other; the answers come one by one."""
        answers = [Future[list[Trial]]() for _ in piece]
        self._pool.submit(self._fire, list(zip(piece, answers, strict=True)), until_s)
        return answers

    def _fire(self, owed: list[Owed], until_s: float) -> None:
        for (variant, numbers), answer in owed:
            if self._stop.is_set():
                return
            try:
                answer.set_result(self._runner().fire(variant, numbers, until_s))
            except BaseException as error:  # noqa: BLE001 -- it goes to whoever waits
                answer.set_exception(error)

    def _runner(self) -> Runner:
        """Return this thread's."""
        if not hasattr(self._local, "runner"):
            self._local.runner = self._begin()
            self._taken.append(self._local.runner)
        return self._local.runner  # type: ignore[no-any-return]  # thread-local members have no type

    def losses(self) -> list[Loss]:
        """Workers that were lost since this was asked before."""
        return [loss for runner in self._taken for loss in drained(runner.losses)]

    def close(self) -> None:
        """Give up what is not begun, end what is running and what is kept."""
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for runner in self._taken:
            runner.cancel()
        self._pool.shutdown()
        for runner in self._taken:
            runner.close()


def drained(losses: deque[Loss]) -> list[Loss]:
    """Take all that there are; another thread may add some meanwhile."""
    return [losses.popleft() for _ in range(len(losses))]


def here(experiment: Experiment, stop: Stop, dialects: Mapping[str, Dialect]) -> ThreadPool:
    """Fire in this process, on as many threads as the experiment has jobs."""
    return ThreadPool(experiment.jobs, lambda: GroupRunner(stop, dialects), stop)
