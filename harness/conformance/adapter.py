"""The kit for adapters in Python: the protocol's lines, the processes that it starts, and their end.

An adapter subclasses Adapter, says what its engine declares, fills in the verbs, and ends with `serve(MyAdapter())`.
The suite offers this file to every adapter as the module `chadapter`; it may also be copied. It needs the standard
library alone, of Python 3.8 or later. docs/engine-protocol.md shows a whole adapter.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CLASSES = "exc segv abrt kill term exit0 exit139 nomem timeout oom".split()
CAUSE_BYTES = 4096
PATIENCE_S = 0.05


def table(answer: str, **others: str) -> dict[str, str]:
    """The declared table: `answer` for every class but those in `others`."""
    return dict(dict.fromkeys(CLASSES, answer), **others)


class Adapter:
    """One engine instance. The class attributes are the declaration; every verb may raise, which is an error reply.

    While it lives: `order` is the whole `start` request, `folder` the cell's own folder, `policy` what the user asks of
    every job, `workers` how many jobs at once, `jobs` whatever `submit` returned, by job id.
    """

    name = "?"
    version = "?"
    caps: Sequence[str] = ()
    table = table("fail")
    default_attempts: int | dict[str, int] = 1
    counts = "starts"
    oom_move_counts = True
    detect_s: float = 5
    timeout_grace_s: float = 0
    start_s: float = 30
    stop_s: float = 10
    backoff_min_s: float = 0
    timeout_min_s: float = 0
    adds: Sequence[str] = ()

    def __init__(self) -> None:
        self.order: dict[str, Any] = {}
        self.policy: dict[str, Any] = {}
        self.folder, self.workers = "", 1
        self.jobs: dict[str, Any] = {}
        self.processes: list[subprocess.Popen[bytes]] = []

    # --- what an adapter fills in ---

    def start(self) -> None:
        """Start the engine; return when a job submitted now would be run."""

    def submit(self, job: str, last: bool) -> Any:
        """Hand over a job, and return whatever look() needs of it."""
        raise NotImplementedError

    def look(self, job: str, handle: Any) -> dict[str, Any]:
        """Say what the engine says of it now: a dict with state, and cause, attempts, history, result if it tells."""
        raise NotImplementedError

    def cancel(self, job: str, handle: Any) -> None:
        """Cancel it: from the return on no attempt of it starts."""
        raise NotImplementedError

    def is_alive(self) -> bool:
        """Whether the engine lives."""
        return all(process.poll() is None for process in self.processes)

    def pids(self) -> list[int]:
        """Pids that run or supervise jobs."""
        return [process.pid for process in self.processes if process.poll() is None]

    def revive(self) -> None:
        """Start what a process manager would restart."""

    def stop(self) -> None:
        """Bring the engine down. The default ends what spawn() has started."""
        self.end_processes()

    # --- what it may use ---

    def call(self) -> Callable[[str], str]:
        """The payload as a function of this process."""
        module, name = self.order["payload"]["python"]["call"].split(":")
        function: Callable[[str], str] = getattr(importlib.import_module(module), name)
        return function

    def dotted(self) -> str:
        """The payload's name, as engines that import it by name want it."""
        return str(self.order["payload"]["python"]["call"]).replace(":", ".")

    def argv(self, job: str) -> list[str]:
        """The payload as a command."""
        return [*self.order["payload"]["argv"], job]

    def spawn(self, *argv: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a process of the engine in a session of its own: nothing on stdin, its output in the log."""
        options = dict({"stdin": subprocess.DEVNULL, "stdout": 2, "cwd": self.folder}, **options)
        process = subprocess.Popen(argv, start_new_session=True, **options)
        self.processes.append(process)
        return process

    def spawn_redis(self) -> str:
        """Start a Redis on a socket in the cell's folder, and return the socket's path once it answers."""
        path = self.folder + "/redis"
        quiet = ["--save", "", "--appendonly", "no", "--dir", self.folder, "--loglevel", "warning"]
        self.spawn("redis-server", "--port", "0", "--unixsocket", path, *quiet)
        self.wait(lambda: os.path.exists(path), "redis-server does not listen")
        return path

    def wait(self, is_so: Callable[[], object], why: str, limit_s: float | None = None) -> None:
        """Wait until `is_so()`. Raises RuntimeError with `why` after `limit_s` seconds, or those of start."""
        end = time.monotonic() + (limit_s or self.start_s)
        while not is_so():
            if time.monotonic() > end:
                raise RuntimeError(why)
            time.sleep(PATIENCE_S)

    def end_processes(self) -> None:
        """SIGTERM to each process group, SIGKILL after two seconds; the last one started goes first."""
        for number, limit_s in ((signal.SIGTERM, 2), (signal.SIGKILL, 2)):
            left = [
                process for process in reversed(self.processes) if number == signal.SIGKILL or process.poll() is None
            ]
            for process in left:
                try:
                    os.killpg(process.pid, number)
                except (ProcessLookupError, PermissionError):
                    pass
            end = time.monotonic() + limit_s
            for process in left:
                try:
                    process.wait(max(0.01, end - time.monotonic()))
                except subprocess.TimeoutExpired:
                    pass


def declare(adapter: Adapter) -> dict[str, Any]:
    """The reply to hello."""
    names = "name version caps table default_attempts counts oom_move_counts detect_s timeout_grace_s".split()
    names += "start_s stop_s backoff_min_s timeout_min_s adds".split()
    return dict({name: getattr(adapter, name) for name in names}, protocol=1)


def answer(adapter: Adapter, request: dict[str, Any]) -> dict[str, Any]:
    """Answer one request. What a verb raises becomes an error reply."""
    verb = VERBS.get(str(request.get("do")))
    if verb is None:
        return {"error": "unknown request: %r" % request.get("do")}
    try:
        return verb(adapter, request)
    except Exception as error:
        return {"error": "%s: %s" % (type(error).__name__, error)}


def _start(adapter: Adapter, request: dict[str, Any]) -> dict[str, Any]:
    adapter.order, adapter.folder, adapter.policy = request, request["folder"], request["policy"]
    adapter.workers = request["workers"]
    adapter.start()
    return {}


def _submit(adapter: Adapter, request: dict[str, Any]) -> dict[str, Any]:
    adapter.jobs[request["job"]] = adapter.submit(request["job"], bool(request.get("last")))
    return {}


def _claim(adapter: Adapter, request: dict[str, Any]) -> dict[str, Any]:
    known = [job for job in request["jobs"] if job in adapter.jobs]
    return {"jobs": {job: _cut(adapter.look(job, adapter.jobs[job])) for job in known}}


def _cut(claim: dict[str, Any]) -> dict[str, Any]:
    cause = claim.get("cause")
    return dict(claim, cause=cause.encode(errors="replace")[:CAUSE_BYTES].decode(errors="ignore")) if cause else claim


def _cancel(adapter: Adapter, request: dict[str, Any]) -> dict[str, Any]:
    adapter.cancel(request["job"], adapter.jobs[request["job"]])
    return {}


def _alive(adapter: Adapter, request: dict[str, Any]) -> dict[str, Any]:
    if request.get("revive"):
        adapter.revive()
    return {"alive": bool(adapter.is_alive()), "workers": list(adapter.pids())}


def _stop(adapter: Adapter, _: dict[str, Any]) -> dict[str, Any]:
    adapter.stop()
    return {}


VERBS = {
    "hello": lambda adapter, _: declare(adapter),
    "start": _start,
    "submit": _submit,
    "claim": _claim,
    "cancel": _cancel,
    "alive": _alive,
    "stop": _stop,
}


def take_pipes() -> tuple[int, int]:
    """Move both pipes to the suite out of the way: whatever prints goes into the log, and no child holds a pipe."""
    source, out = os.dup(0), os.dup(1)
    for descriptor in (source, out):
        os.set_inheritable(descriptor, False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    for descriptor in (source, out):
        os.register_at_fork(after_in_child=partial(os.close, descriptor))
    return source, out


def serve(adapter: Adapter) -> None:
    """Answer until `stop`, or until the suite is gone. It ends the process."""
    source, out = take_pipes()
    with os.fdopen(source, "rb", closefd=False) as lines, os.fdopen(out, "wb", closefd=False) as replies:
        for line in lines:
            request = json.loads(line)
            reply = dict(answer(adapter, request), id=request.get("id"))
            replies.write(json.dumps(reply).encode() + b"\n")
            replies.flush()
            if request.get("do") == "stop":
                os._exit(0)
    answer(adapter, {"do": "stop"})
    os._exit(0)


def last_line(text: str | None) -> str:
    """The last line of a traceback, which says what was raised."""
    lines = (text or "").strip().splitlines()
    return lines[-1] if lines else ""
