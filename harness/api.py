"""harness.run: a fault, a command or a Python function, under the supervisor and the engine."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from harness.dialects import DEFAULT
from harness.dialects.custom import opened
from harness.engine.draw import draw
from harness.engine.loop import Attempt, Clock, Engine, Life, Policy, Run, VirtualClock
from harness.evidence import Exited
from harness.exceptions import InvalidInputError
from harness.journal import History
from harness.supervisor import Command, Limits, Shot, Stop, channel, supervise
from harness.wire.errors import Kind, TaskError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.dialects.protocol import Dialect

Job = Shot | Sequence[str] | Callable[..., object]
UNANSWERED = TaskError(Kind.BUILT_IN, name="NoAnswer", message="the function ended its process without an answer")


def run(
    job: Job,
    policy: Policy = Policy(),  # noqa: B008 -- frozen
    *args: Any,
    dialect: Dialect | str = DEFAULT,
    limits: Limits = Limits(),  # noqa: B008 -- frozen
    timeout_s: float | None = None,
    seed: int = 0,
    clock: Clock | None = None,
    stop: Stop | None = None,
    observe: Callable[[Attempt], object] | None = None,
    history: Path | None = None,
    name: str = "run",
    **kwargs: Any,
) -> Run:
    """Run `job` until the engine says stop, each attempt in a process of its own, and return all of it.

    A job is a fault (`Fault("null_read")`), a command (a list of words), or a function that can be imported by module
    and name; it gets `args` and `kwargs`, which like its result travel as JSON. A result is in the run's `value`; what
    the function raises is a thrown error, retried as a worker would have it. Delays between attempts pass on `clock`:
    computed and recorded only, unless another clock is given. `seed` draws their jitter. `timeout_s` bounds an
    attempt, `limits` what it may use. `dialect` says who classifies and decides: a built-in one by its name, a judge
    of yours as "module:function" or "cmd:PROGRAM", or an object that is a dialect.
    `observe` gets each attempt as it ends; `stop` ends it all.

    With a `history`, each step is committed to that file under `name` before anything follows from it. Called again
    after the process was killed, it goes on: no attempt twice, none forgotten. The attempt that was under way then
    has ended without a word, which to the engine is a stall. A run that had ended is returned as it was.

    Raises InvalidInputError for a job that is none, InfraError when the harness could not do its part. A crash raises
    nothing: it is in the run.
    """
    live = _executor(job, args, kwargs, _Bounds(limits, timeout_s, stop))
    with ExitStack() as stack:
        chosen = stack.enter_context(opened(dialect))
        book = stack.enter_context(History(history)) if history else None
        steps = book.steps(name) if book else []
        draws = count(1 + len(steps))
        engine = Engine(policy, chosen, lambda: draw(seed, next(draws), "delay"), clock or VirtualClock())
        save = partial(book.save, name) if book else None
        return engine.run(lambda _, __: live(), observe, save=save, saved=steps)


async def run_async(job: Job, policy: Policy = Policy(), *args: Any, **options: Any) -> Run:  # noqa: B008 -- frozen
    """Do as run() does, beside the event loop; a task that is cancelled ends its victims first."""
    with Stop() as stop:
        running = asyncio.ensure_future(asyncio.to_thread(run, job, policy, *args, stop=stop, **options))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([running])
            raise


class _Bounds(msgspec.Struct, frozen=True):
    limits: Limits
    timeout_s: float | None
    stop: Stop | None

    def supervise(self, victim: Shot | Command, fd: int | None = None) -> Life:
        return Life(supervise(victim, self.limits, self.timeout_s, stop=self.stop, channel=fd))


def _executor(job: Job, args: tuple[Any, ...], kwargs: dict[str, Any], bounds: _Bounds) -> Callable[[], Life]:
    if callable(job):
        module, name = importable(job)
        return lambda: _call(module, name, args, kwargs, bounds)
    if args or kwargs:
        raise InvalidInputError("arguments are for functions; a fault has parameters, a command its words")
    if isinstance(job, Shot):
        return lambda: bounds.supervise(job)
    if isinstance(job, str) or not all(isinstance(word, str) for word in job):
        raise InvalidInputError(f"job: expected a fault, a list of words or a function, not {job!r}")
    return lambda: bounds.supervise(Command(tuple(job)))


def importable(function: Callable[..., object]) -> tuple[str, str]:
    """Return module and name. Raises InvalidInputError for what another process could not find by them."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not name or "<" in name or module == "__main__":
        raise InvalidInputError(
            f"job: {function!r} can't be imported: it must stand in a module, not in a function or __main__"
        )
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not function:
        raise InvalidInputError(f"job: {module}:{name} is not {function!r}: it can't be found by its name")
    return module, name


def _call(module: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], bounds: _Bounds) -> Life:
    with channel.open_channel(module, name, args, kwargs) as fd:
        life = bounds.supervise(Command(channel.command()), fd)
        answer = channel.answer(fd)
    if answer is None or life.evidence.termination != Exited(0):
        silent = life.evidence.termination == Exited(0)
        return msgspec.structs.replace(life, thrown=UNANSWERED if silent else None)
    thrown = answer.thrown
    if thrown is None:
        return msgspec.structs.replace(life, value=answer.value)
    error = TaskError(Kind.BUILT_IN, name=thrown.name, message=thrown.message, stack_trace=thrown.stack)
    return msgspec.structs.replace(life, thrown=error)
