"""Where groups are fired: on threads here, or by whatever else takes a seat."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Protocol

from harness.experiments.firing import GroupRunner
from harness.experiments.tally import Trial

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Mapping, Sequence

    from harness.dialects.protocol import Dialect
    from harness.experiments.variant import Experiment, Variant
    from harness.supervisor import Stop

    Order = tuple[Variant, Sequence[int]]
    Owed = tuple[Order, Future[list[Trial]]]
    Gunneries = Callable[[Experiment, Stop, Mapping[str, Dialect]], "Guns"]


class Loss(NamedTuple):
    """A worker that was lost, and the groups that it had: they are fired again."""

    worker: str
    orders: tuple[Order, ...]


class Seat(Protocol):
    """Fires one group at a time. `losses` are those of its workers."""

    losses: deque[Loss]

    def fire(self, variant: Variant, numbers: Sequence[int], until_s: float) -> list[Trial]:
        """Return the trials of these numbers; none begins after `until_s`. Raises InfraError."""

    def cancel(self) -> None:
        """From another thread: end what is running."""

    def close(self) -> None:
        """End what is kept between groups."""


class Guns(Protocol):
    """Whatever fires pieces of work. `seats` groups at a time; `gives_blocks` asks for no piece below a block."""

    seats: int
    gives_blocks: bool

    def losses(self) -> list[Loss]:
        """Workers that were lost since this was asked before."""

    def submit(self, piece: Sequence[Order], until_s: float) -> list[Future[list[Trial]]]:
        """Have these groups fired one after the other; an answer each."""

    def close(self) -> None:
        """Give up what is not begun."""


class Gunnery:
    """As many seats as it says, each on a thread of its own. `stop`, once set, lets nothing more begin."""

    gives_blocks = False

    def __init__(self, seats: int, sit: Callable[[], Seat], stop: Stop) -> None:
        self.seats = seats
        self._sit, self._stop = sit, stop
        self._local, self._taken = threading.local(), list[Seat]()
        self._pool = ThreadPoolExecutor(seats)

    def submit(self, piece: Sequence[Order], until_s: float) -> list[Future[list[Trial]]]:
        """Have one seat fire these groups, one after the other; the answers come one by one."""
        answers = [Future[list[Trial]]() for _ in piece]
        self._pool.submit(self._fire, list(zip(piece, answers, strict=True)), until_s)
        return answers

    def _fire(self, owed: list[Owed], until_s: float) -> None:
        for (variant, numbers), answer in owed:
            if self._stop.is_set():
                return
            try:
                answer.set_result(self._seat().fire(variant, numbers, until_s))
            except BaseException as error:  # noqa: BLE001 -- it goes to whoever waits
                answer.set_exception(error)

    def _seat(self) -> Seat:
        """Return this thread's."""
        if not hasattr(self._local, "seat"):
            self._local.seat = self._sit()
            self._taken.append(self._local.seat)
        return self._local.seat  # type: ignore[no-any-return]  # thread-local members have no type

    def losses(self) -> list[Loss]:
        """Workers that were lost since this was asked before."""
        return [loss for seat in self._taken for loss in drained(seat.losses)]

    def close(self) -> None:
        """Give up what is not begun, end what is running and what is kept."""
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for seat in self._taken:
            seat.cancel()
        self._pool.shutdown()
        for seat in self._taken:
            seat.close()


def drained(losses: deque[Loss]) -> list[Loss]:
    """Take all that there are; another thread may add some meanwhile."""
    return [losses.popleft() for _ in range(len(losses))]


def here(experiment: Experiment, stop: Stop, dialects: Mapping[str, Dialect]) -> Gunnery:
    """Fire in this process, on as many threads as the experiment has jobs."""
    return Gunnery(experiment.jobs, lambda: GroupRunner(stop, dialects), stop)
