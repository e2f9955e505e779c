"""The one runner: a job under the supervisor and the engine, attempt by attempt. What varies is handed in."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from harness.dialects import DEFAULT
from harness.dialects.custom import opened
from harness.engine.call import Call, call, refuse_unguarded
from harness.engine.draw import draw
from harness.engine.durable import PYTHON, Durable
from harness.engine.executor import Bounds, Executor, OfCall, OfVictim
from harness.engine.loop import Attempt, Clock, Engine, Life, Run, VirtualClock
from harness.engine.policy import Policy
from harness.exceptions import InvalidInputError, expected, unknown
from harness.faults.shot import Fault, check_limits
from harness.journal import here, job_of
from harness.machine import environment
from harness.supervisor import Command, Journal, Limits, Stop, supervise
from harness.supervisor.interrupt import terminable
from harness.supervisor.observe import Observe

if TYPE_CHECKING:
    from harness.dialects.protocol import Dialect
    from harness.engine.lifecycle import Task

Job = Fault | Sequence[str] | Call | Callable[..., object]


def run(
    job: Job,
    policy: Policy = Policy(),  # noqa: B008 -- frozen
    *,
    dialect: Dialect | str = DEFAULT,
    limits: Limits = Limits(),  # noqa: B008 -- frozen
    timeout_s: float | None = None,
    seed: int = 0,
    clock: Clock | None = None,
    stop: Stop | None = None,
    observe: Callable[[Attempt], object] | None = None,
    history: str | Path | None = None,
    witnesses: Observe = "auto",
) -> Run:
    """Run `job` until the engine says stop, each attempt in a process of its own, and return all of it.

    A job is a function (`harness.call` gives it arguments; without any it may stand alone), a command (a list of
    words), or a fault of the catalogue (`harness.Fault`). What a function returns is in the run's `value`; what it
    raises is a thrown error, retried as a worker would have it.

        run = harness.run(harness.call(resize, "cat.png"), harness.Policy(3), timeout_s=60)
        print(run)  # the decision trail, a line an attempt, and the status; also run.status, run.value, run.is_flaky

    `policy` says how often it is tried, `dialect` who classifies and decides: a built-in one by its name, a judge of
    yours as "module:function" or "cmd:PROGRAM", or an object that is a dialect. `limits` and `timeout_s` bound each
    attempt; a machine larger than the policy's has more memory in proportion. `seed` draws the jitter of delays, which
    are computed and recorded only, unless another `clock` is given. `observe` gets each attempt as it ends; `stop`,
    once set, ends it all. `witnesses` says who looks for the crash of a command, as `exec --observe` does.

    With a `history`, each step is committed to that file before anything follows from it, and a later call goes on: an
    attempt that was under way when the process was killed has stalled, to the engine; one that Ctrl-C, SIGTERM or
    `stop` ended does not count. A run that had ended is returned as it was. The file belongs to this job alone.

    Raises InvalidInputError for what the caller did wrong, a result that can't travel or another job's history
    included; InfraError when the harness could not do its part. A crash raises nothing: it is in the run.
    """
    refuse_unguarded()
    _check_options(policy, limits, seed, witnesses)
    title, executor = executor_of(job, limits)
    bounds = Bounds(limits, timeout_s, policy.machine, partial(supervise, stop=stop, observe=witnesses))
    options = {"policy": policy, "limits": limits, "timeout_s": timeout_s, "dialect": dialect, "seed": seed}
    options |= {"witnesses": witnesses} if witnesses != "auto" else {}
    with ExitStack() as stack:
        kept = None if history is None else stack.enter_context(_kept(_path(history), title, job, options))
        chosen = stack.enter_context(opened(dialect))
        finished = live(executor, policy, bounds, chosen, seed, clock=clock, observe=observe, kept=kept)
    if finished.mistake is not None:
        raise InvalidInputError(finished.mistake)
    return finished


def _check_options(policy: object, limits: object, seed: object, witnesses: str) -> None:
    """Raise InvalidInputError for an option of another type; what it means, its type has checked already."""
    if not isinstance(policy, Policy):
        raise expected("policy", "a harness.Policy; a function's arguments go into harness.call", policy)
    if not isinstance(limits, Limits):
        raise expected("limits", "a harness.Limits", limits)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise expected("seed", "a whole number", seed)
    if witnesses not in get_args(Observe):
        raise unknown("witnesses", witnesses, get_args(Observe))


@contextmanager
def _kept(history: Path, title: str, job: Job, options: Mapping[str, object]) -> Iterator[Durable]:
    """Yield what the history has of this job's run. Raises InvalidInputError where it is another job's."""
    asked = job_of(PYTHON, (title,), job=_asked(job), **options)
    with terminable(), Durable.open(history, asked, environment()) as kept:
        yield kept


async def run_async(job: Job, policy: Policy = Policy(), **options: Any) -> Run:  # noqa: B008 -- frozen
    """Do as run() does, with the same options, beside the event loop; a task that is cancelled ends its victims first.

        first, second = await asyncio.gather(harness.run_async(["./one"]), harness.run_async(["./two"]))

    SIGTERM is left to the program: one that does not handle it dies at once, and an attempt of a history then counts.
    """
    import asyncio  # noqa: PLC0415 -- a command that waits for one job need not pay for it

    with Stop() as stop:
        running = asyncio.ensure_future(asyncio.to_thread(run, job, policy, stop=stop, **options))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([running])
            raise


def live(
    executor: Executor,
    policy: Task,
    bounds: Bounds,
    dialect: Dialect,
    seed: int,
    *,
    clock: Clock | None = None,
    observe: Callable[[Attempt], object] | None = None,
    kept: Durable | None = None,
    journal: Callable[[int], Journal] | None = None,
) -> Run:
    """Run the attempts of one job; run(), `exec`, scenarios, fixtures and the gate call this, each with its executor.

    The bounds are scaled to the machine of each attempt. `kept` is what a history has of the run, and keeps what
    follows; without one, `journal(number)` is told before attempt `number` starts and before it is killed.
    """
    draws = count(1 + (kept.decisions if kept else 0))
    journal = kept.attempt if kept else journal
    engine = Engine(policy, dialect, lambda: draw(seed, next(draws), "delay"), clock or VirtualClock())

    def execute(number: int, machine: str) -> Life:
        own = bounds.on(machine)
        if journal:
            own = msgspec.structs.replace(own, supervise=partial(own.supervise, journal=journal(number)))
        return executor.live(number, own)

    return engine.run(execute, observe, **kept.options()) if kept else engine.run(execute, observe)


def executor_of(job: Job, limits: Limits) -> tuple[str, Executor]:
    """Return the title of a job in a history, and the executor that runs it.

    Raises InvalidInputError if it is not a job.
    """
    if isinstance(job, Fault):
        check_limits(job.fault, limits)
        return " ".join(job.words()), OfVictim(job)
    if isinstance(job, Call) or callable(job):
        called = job if isinstance(job, Call) else call(job)
        return called.title, OfCall(called)
    words = job if isinstance(job, Sequence) and not isinstance(job, str | bytes) else ()
    if not words or not all(isinstance(word, str) for word in words):
        raise expected("job", "a fault, a list of words, a function or a harness.call", job)
    return shlex.join(words), OfVictim(Command(tuple(words)))


def _asked(job: Job) -> object:
    """What a history keeps of a job: a function with its arguments, a command with its folder, or a fault."""
    if isinstance(job, Fault):
        return job
    if isinstance(job, Call) or callable(job):
        called = job if isinstance(job, Call) else call(job)
        return {"function": called.title, "arguments": called.arguments}
    return {"command": job, "folder": here()}


def _path(history: object) -> Path:
    if not isinstance(history, str | Path):
        raise expected("history", "a path", history)
    return Path(history)
