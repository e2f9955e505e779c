"""Groups fired by the workers of a Dask cluster: a piece of work is a message there and one back.

The scheduler gives what a lost worker had not answered to another one. A worker is used only if its version and its
extension are ours, and if it can do what the experiment needs.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

import msgspec

from harness.exceptions import InfraError
from harness.experiments.firing import Loss
from harness.experiments.pool import drained
from harness.experiments.scheduler import connect, usable
from harness.experiments.tally import Trial
from harness.experiments.worker import Ask, AskedRunner, trials_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.experiments.firing import Order
    from harness.experiments.variant import Experiment
    from harness.experiments.where import Where
    from harness.supervisor import Stop

_LOCAL: Final = threading.local()


def fire_piece(asks: list[bytes]) -> list[bytes]:
    """On a worker: fire groups one after the other, by a runner that its thread keeps."""
    if not hasattr(_LOCAL, "runner"):
        _LOCAL.runner = AskedRunner()
    return [_LOCAL.runner.answer(ask) for ask in asks]


class Cluster:
    """The workers of one scheduler. One that ends while it has work of ours is a loss."""

    gives_blocks = True

    def __init__(self, where: Where, experiment: Experiment, stop: Stop) -> None:
        self._losses, self._stop = deque[Loss](), stop
        self._pending: dict[str, tuple[Any, Sequence[Order]]] = {}
        needs = dict.fromkeys(need for one in experiment.variants if one.case for need in one.case.needs())
        self._client = connect(where)
        try:
            self._workers = list(usable(self._client, where, tuple(needs)))
            threads = self._client.nthreads()
            self.slots = sum(threads.get(name, 0) for name in self._workers) or 1  # some may be gone since
            self._client.subscribe_topic("all", self._hear)
        except BaseException:
            self._client.close()
            raise

    def submit(self, piece: Sequence[Order], until_s: float) -> list[Future[list[Trial]]]:
        """Send a piece to one worker; the answers come all at once."""
        answers = [Future[list[Trial]]() for _ in piece]
        left_s = None if math.isinf(until_s) else max(0.0, until_s - time.monotonic())
        asks = [msgspec.json.encode(Ask(variant, numbers[0], numbers[-1], left_s)) for variant, numbers in piece]
        sent = self._client.submit(fire_piece, asks, workers=self._workers, pure=False)
        self._pending[sent.key] = sent, piece
        sent.add_done_callback(lambda done: self._deliver(done, answers))
        return answers

    def _deliver(self, done: Any, answers: list[Future[list[Trial]]]) -> None:
        if self._stop.is_set():
            return
        for number, answer in enumerate(answers):
            try:
                answer.set_result(trials_of(_result(done)[number]))
            except Exception as error:  # noqa: BLE001 -- it goes to whoever waits
                answer.set_exception(error)
        self._pending.pop(done.key, None)  # until it is here, it may be lost with the worker that had the answer

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        """Note a worker that ended while it had work of ours, which the scheduler now gives to another one."""
        told = event[1]
        if told.get("action") == "remove-worker":
            had = {*told.get("processing-tasks", ()), *told.get("lost-computed-tasks", ())}
            orders = [order for key, (_, piece) in list(self._pending.items()) if key in had for order in piece]
            if orders:
                self._losses.append(Loss(str(told.get("worker", "")), tuple(orders)))

    def losses(self) -> list[Loss]:
        """Workers that were lost since this was asked before."""
        return drained(self._losses)

    def close(self) -> None:
        """Give up what was sent, and leave. A group that a worker has begun ends there."""
        self._stop.set()
        self._client.cancel([sent for sent, _ in self._pending.values()])
        self._client.close()


def _result(done: Any) -> list[bytes]:
    """Raise InfraError where the scheduler gave a piece up, as after four workers were lost with it, or is lost."""
    if done.cancelled():  # not by us
        raise InfraError("--on: the scheduler was lost with a block that is not answered")
    try:
        found: list[bytes] = done.result()
    except Exception as error:
        raise InfraError(f"--on: the cluster gave a block up: {type(error).__name__}: {error}") from error
    return found
