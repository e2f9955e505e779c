"""Mutants of the engine, one or more for each property of tests/test_lifecycle_properties.py, with what they break."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import msgspec
import mutants
import pytest

from harness.dialects import BUILT_IN, retry
from harness.dialects.builtin import BuiltIn
from harness.dialects.retry import decide
from harness.engine import lifecycle
from harness.engine.lifecycle import Event, Execution, Input, Rules, State, Step, step
from harness.wire.codes import CODES, Code
from harness.wire.policy import PRESETS
from harness.wire.request import Decision, Outcome, Request, RunSettings, Settings

FINAL_EVENTS = {"runSucceeded", "runFailed", "runCancelled"}


class Mutant(NamedTuple):
    """What is put in the place of `module.name`, wherever that is imported, or of `module[name]` in a table.

    `property` is the claim that it breaks.
    """

    property: str
    module: Any
    name: str
    value: Any


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """Put a mutant in the engine's place."""
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(mutant.module, dict):
            patch.setitem(mutant.module, mutant.name, mutant.value)
        else:
            mutants.replace(patch, module=mutant.module, attribute=mutant.name, value=mutant.value)
        yield


# --- other questions, and other answers ---


def _asking(change: Callable[[RunSettings], dict[str, Any]]) -> Callable[[Request, BuiltIn], Decision]:
    """Decide for a run of which something else is known."""

    def decide_other(request: Request, dialect: BuiltIn) -> Decision:
        run = request.run or RunSettings()
        run = msgspec.structs.replace(run, **change(run))
        return decide(msgspec.structs.replace(request, run=run), dialect)

    return decide_other


def _any_policy(run: RunSettings) -> dict[str, Any]:
    return {"locked_retry_config": run.locked_retry_config or {"maxAttempts": 9}}


def _one_more(run: RunSettings) -> dict[str, Any]:
    return {"max_attempts": None if run.max_attempts is None else run.max_attempts + 1}


def _one_more_configured(run: RunSettings) -> dict[str, Any]:
    config = run.locked_retry_config
    return {"locked_retry_config": config and config | {"maxAttempts": config.get("maxAttempts", 3) + 1}}


def _answering(change: Callable[[Request, Decision], dict[str, Any]]) -> Callable[[Request, BuiltIn], Decision]:
    """Change the answer where it is a retry."""

    def decide_other(request: Request, dialect: BuiltIn) -> Decision:
        made = decide(request, dialect)
        return msgspec.structs.replace(made, **change(request, made)) if made.outcome is Outcome.RETRY else made

    return decide_other


def _delayed(add: Callable[[float], float]) -> Callable[[Request, Decision], dict[str, Any]]:
    def change(_: Request, made: Decision) -> dict[str, Any]:
        if not isinstance(made.settings, Settings):
            return {}
        delay = add(made.settings.delay)
        return {"settings": Settings(made.settings.timestamp - made.settings.delay + delay, delay)}

    return change


def _next_machine(request: Request, _: Decision) -> dict[str, Any]:
    names = list(PRESETS)
    here = (request.run and request.run.machine_preset) or names[0]
    return {"machine": names[(names.index(here) + 1) % len(names)]}


_calls = count()


def _drawn_elsewhere(request: Request, dialect: BuiltIn) -> Decision:
    return decide(msgspec.structs.replace(request, random=next(_calls) % 10 / 10), dialect)


def _silent(request: Request, dialect: BuiltIn) -> Decision | None:
    return None if request.error.code is Code.POD_EVICTED else decide(request, dialect)


# --- other steps ---


def _after(change: Callable[[State, Input, Step], Step]) -> Callable[[State, Input, Rules], Step]:
    """Take the step, and change what came of it."""
    return lambda state, given, rules: change(state, given, step(state, given, rules))


def _with(taken: Step, **changes: Any) -> Step:
    return taken._replace(state=msgspec.structs.replace(taken.state, **changes))


def _twice(_: State, __: Input, taken: Step) -> Step:
    return taken._replace(events=taken.events + tuple(e for e in taken.events if e.name in FINAL_EVENTS))


def _unsaid(_: State, __: Input, taken: Step) -> Step:
    return taken._replace(events=tuple(e for e in taken.events if e.name != "runFailed"))


def _early(_: State, __: Input, taken: Step) -> Step:
    asked = taken.state.execution is Execution.PENDING_CANCEL
    return taken._replace(events=(*taken.events, Event("runCancelled"))) if asked else taken


def _undead(state: State, _: Input, taken: Step) -> Step:
    ends = taken.state.is_final and state.execution is Execution.PENDING_CANCEL
    return _with(taken, execution=Execution.QUEUED)._replace(events=()) if ends else taken


def _skipping(_: State, given: Input, taken: Step) -> Step:
    return _with(taken, attempt=3) if given.kind == "start" and taken.state.attempt == 2 else taken


def _same_snapshot(state: State, given: Input, taken: Step) -> Step:
    return _with(taken, snapshot=state.snapshot) if given.kind == "complete" else taken


def _deaf(state: State, given: Input, rules: Rules) -> Step:
    return step(state, msgspec.structs.replace(given, snapshot=state.snapshot), rules)


def _reviving(state: State, given: Input, rules: Rules) -> Step:
    if state.is_final and given.kind == "dequeue":
        state = msgspec.structs.replace(state, execution=Execution.QUEUED)
    return step(state, given, rules)


def _forgetful(state: State, given: Input, rules: Rules) -> Step:
    """The policy is read anew at each dequeue."""
    if given.kind == "dequeue" and state.settings:
        state = msgspec.structs.replace(state, settings=None)
    return step(state, given, rules)


def _table(code: Code, dialect: str, *, lookup: bool = True) -> Mutant:
    row = CODES[code]._replace(retriable=False, lookup=lookup)
    changed = msgspec.structs.replace(BUILT_IN[dialect], rows={**BUILT_IN[dialect].rows, code: row})
    return Mutant("a code that is looked up is retriable", BUILT_IN, dialect, changed)


def _of(module: Any, name: str, table: dict[str, tuple[str, Any]]) -> dict[str, Mutant]:
    return {title: Mutant(claim, module, name, value) for title, (claim, value) in table.items()}


DECISIONS = _of(
    retry,
    "decide",
    {
        "retries without a policy": ("without a policy there is one attempt", _asking(_any_policy)),
        "one attempt more than the run allows": ("crash attempts <= min(run, config)", _asking(_one_more)),
        "one attempt more than the policy": ("crash attempts <= min(run, config)", _asking(_one_more_configured)),
        "a delay beyond the policy's": ("delays are within [min, max]", _answering(_delayed(lambda ms: ms + 60_000))),
        "a tenth of the delay": ("delays are within [min, max]", _answering(_delayed(lambda ms: ms / 10))),
        "a new machine at each retry": ("at most one machine change", _answering(_next_machine)),
        "jitter from elsewhere": ("the same seed gives the same step", _drawn_elsewhere),
    },
)
STEPS = _of(
    lifecycle,
    "step",
    {
        "an end that is told twice": ("exactly one final status", _after(_twice)),
        "an end that is not told": ("exactly one final status", _after(_unsaid)),
        "an end that is told too soon": ("exactly one final status", _after(_early)),
        "a cancelled run that goes on": ("cancelled never retries", _after(_undead)),
        "an attempt that is skipped": ("attempts count one by one", _after(_skipping)),
        "two states of one number": ("each step is a new snapshot", _after(_same_snapshot)),
        "a stale snapshot that is obeyed": ("a stale snapshot is refused", _deaf),
        "a finished run that is dequeued": ("nothing happens after the end", _reviving),
        "a policy that is read again": ("the policy is fixed at the first dequeue", _forgetful),
    },
)
LIVED = DECISIONS | STEPS
"""Found by random lives."""

SEEDED = {"jitter from elsewhere": DECISIONS["jitter from elsewhere"]._replace(property="the same seed, the same run")}
"""Found by whole runs, lived twice."""

TABLED = {
    "the version before the fix": _table(Code.TASK_PROCESS_SIGSEGV, "upstream-4.5"),
    "its like in strict": _table(Code.TASK_PROCESS_MAYBE_OOM_KILLED, "strict"),
    "a segfault that is not retried": _table(Code.TASK_PROCESS_SIGSEGV, "upstream-4.5", lookup=False)._replace(
        property="a segfault and 139 get one decision"
    ),
    "a code without a decision": Mutant("every code has a decision", retry, "decide", _silent),
}
"""Found by asking for every code."""
