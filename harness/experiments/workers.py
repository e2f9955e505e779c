"""Worker processes that fire groups in our place: one that is lost is replaced, and its group fired again."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from harness.exceptions import InfraError
from harness.experiments.cluster import Cluster
from harness.experiments.firing import Loss
from harness.experiments.pool import ThreadPool, here
from harness.experiments.worker import Ask, trials_of
from harness.supervisor.dialogue import Dialogue, DialogueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.experiments.pool import OpenPool
    from harness.experiments.tally import Trial
    from harness.experiments.variant import Variant
    from harness.experiments.where import Where

COMMAND: Final = (sys.executable, "-m", "harness.experiments.worker")
PATIENCE_S: Final = 1e6  # a trial takes as long as it takes; a worker that is gone is noticed at once
HERE: Final = "local"
MOST_LOST: Final = 3  # workers that one group may cost


class Worker:
    """A worker process on this machine. Where the process is lost, its group is fired again by a new one."""

    def __init__(self) -> None:
        self.losses, self._is_cancelled = deque[Loss](), False
        self._process = Dialogue(COMMAND, PATIENCE_S)

    def fire(self, variant: Variant, numbers: Sequence[int], until_s: float) -> list[Trial]:
        """Have it fire a group. Raises InfraError, also where one worker after the other is lost with it."""
        left_s = None if math.isinf(until_s) else max(0.0, until_s - time.monotonic())
        line = msgspec.json.encode(Ask(variant, numbers[0], numbers[-1], left_s))
        for _ in range(MOST_LOST):
            try:
                answer = self._process.ask(line)
            except (DialogueError, InfraError) as error:  # it is gone, or the guard above it
                self._process.close()
                why = error
                if self._is_cancelled:
                    break
                self.losses.append(Loss(HERE, ((variant, numbers),)))
            else:
                return trials_of(answer)
        raise InfraError(f"--on: {MOST_LOST} workers were lost with one group; the last one {why}")

    def cancel(self) -> None:
        """End the worker, and what it runs."""
        self._is_cancelled = True
        self._process.cancel()

    def close(self) -> None:
        """The same, where it is idle."""
        self._process.close()


def pool_on(where: Where | None) -> OpenPool:
    """Return who fires groups there; None is threads of this process."""
    if where is None:
        return here
    if where.address:
        return lambda experiment, stop, _: Cluster(where, experiment, stop)
    return lambda _, stop, __: ThreadPool(where.workers, Worker, stop)
