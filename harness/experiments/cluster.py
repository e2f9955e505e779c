"""Groups fired by the workers of a Dask cluster: a piece of work is a message there and one back.

The scheduler gives what a lost worker had not answered to another one. A worker is used only if its version and its
extension are ours, and if it can do what the experiment needs.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from harness import __version__
from harness.exceptions import InfraError, InvalidInputError
from harness.experiments.tally import Trial
from harness.experiments.worker import Ask, Gunner, trials_of
from harness.machine import why_not
from harness.supervisor.launch import extension_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.experiments.gunnery import Order
    from harness.experiments.variant import Experiment
    from harness.supervisor import Stop

PATIENCE_S: Final = 10
_LOCAL: Final = threading.local()


class Introduction(msgspec.Struct, frozen=True):
    """What a worker says of itself: both must be ours; `missing` is why it can't do what is needed, or empty."""

    version: str
    extension: str
    missing: str

    def why_not(self, ours: Introduction) -> str:
        """Return why this worker can't be used, or the empty string."""
        if self.version != ours.version:
            return f"it has version {self.version}, not {ours.version}"
        if self.extension != ours.extension:
            return f"its extension is another: sha256 {self.extension[:12]}…, not {ours.extension[:12]}…"
        return self.missing


def introduce(needs: tuple[str, ...]) -> bytes:
    """On a worker: say who it is, and whether it has what is needed."""
    digest = hashlib.sha256(Path(extension_path()).read_bytes()).hexdigest()
    return msgspec.json.encode(Introduction(__version__, digest, why_not(needs)))


def fire_piece(asks: list[bytes]) -> list[bytes]:
    """On a worker: fire groups one after the other, by a gunner that its thread keeps."""
    if not hasattr(_LOCAL, "gunner"):
        _LOCAL.gunner = Gunner()
    return [_LOCAL.gunner.answer(ask) for ask in asks]


class Cluster:
    """The workers of one scheduler. `lost` counts those that ended while they had work of ours."""

    gives_blocks = True

    def __init__(self, address: str, experiment: Experiment, stop: Stop) -> None:
        self.lost, self._stop, self._pending = 0, stop, dict[str, Any]()
        self._client = _client(address)
        try:
            self._workers, self.seats = self._chosen(address, experiment)
            self._client.subscribe_topic("all", self._hear)
        except BaseException:
            self._client.close()
            raise

    def _chosen(self, address: str, experiment: Experiment) -> tuple[list[str], int]:
        """Ask all workers who they are. Raises InvalidInputError where none can be used."""
        needs = tuple(dict.fromkeys(need for one in experiment.variants if one.case for need in one.case.needs()))
        ours = msgspec.json.decode(introduce(()), type=Introduction)
        told = {
            name: msgspec.json.decode(said, type=Introduction) for name, said in self._run(introduce, needs).items()
        }
        refused = {name: why for name, one in told.items() if (why := one.why_not(ours))}
        chosen = [name for name in told if name not in refused]
        if not chosen:
            why = "; ".join(f"{name}: {reason}" for name, reason in refused.items()) or "there is none"
            raise InvalidInputError(f"--on: {address}: no worker can be used: {why}")
        threads = self._client.nthreads()
        return chosen, sum(threads[name] for name in chosen)

    def _run(self, function: Callable[..., bytes], *arguments: object) -> dict[str, bytes]:
        try:
            return dict(self._client.run(function, *arguments))
        except Exception as error:  # whatever is raised there: most often that harness is not installed
            raise InvalidInputError(f"--on: a worker can't be asked who it is: {error}") from error

    def submit(self, piece: Sequence[Order], until_s: float) -> list[Future[list[Trial]]]:
        """Send a piece to one worker; the answers come all at once."""
        answers = [Future[list[Trial]]() for _ in piece]
        left_s = None if math.isinf(until_s) else max(0.0, until_s - time.monotonic())
        asks = [msgspec.json.encode(Ask(variant, numbers[0], numbers[-1], left_s)) for variant, numbers in piece]
        sent = self._client.submit(fire_piece, asks, workers=self._workers, pure=False)
        self._pending[sent.key] = sent
        sent.add_done_callback(lambda done: self._deliver(done, answers))
        return answers

    def _deliver(self, done: Any, answers: list[Future[list[Trial]]]) -> None:
        self._pending.pop(done.key, None)
        if self._stop.is_set() or done.cancelled():
            return
        for number, answer in enumerate(answers):
            try:
                answer.set_result(trials_of(_result(done)[number]))
            except Exception as error:  # noqa: BLE001 -- it goes to whoever waits
                answer.set_exception(error)

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        """Count a worker that ended while it had work of ours, which the scheduler now gives to another one."""
        told = event[1]
        if told.get("action") == "remove-worker":
            had = {*told.get("processing-tasks", ()), *told.get("lost-computed-tasks", ())}
            self.lost += bool(had & set(self._pending))

    def close(self) -> None:
        """Give up what was sent, and leave. A group that a worker has begun ends there."""
        self._stop.set()
        self._client.cancel(list(self._pending.values()))
        self._client.close()


def _result(done: Any) -> list[bytes]:
    """Raise InfraError where the scheduler gave a piece up, as after four workers were lost with it."""
    try:
        found: list[bytes] = done.result()
    except Exception as error:
        raise InfraError(f"--on: the cluster gave a block up: {type(error).__name__}: {error}") from error
    return found


def _client(address: str) -> Any:
    try:
        from distributed import Client  # noqa: PLC0415 -- only --on dask:// needs it
    except ImportError as error:
        text = "--on dask://…: distributed is not installed: pip install 'crash-harness[cluster]'"
        raise InvalidInputError(text) from error
    try:
        return Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InfraError(f"--on: {address}: no scheduler answers: {error}") from error
