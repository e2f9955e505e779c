"""harness.sweep: refuse what a function of the user's asks for, from Python."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from harness.engine.call import Call as Job
from harness.engine.call import call as with_arguments
from harness.engine.call import importable, refuse_unguarded
from harness.exceptions import InfraError, expected
from harness.refusals import asking, conduct
from harness.refusals.conduct import Tell
from harness.refusals.outcome import Report, command_line, infra, keywords, report
from harness.refusals.server import Call
from harness.refusals.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.refusals.refusal import Refusal


NO_ARGUMENTS: Final[dict[str, object]] = {"args": [], "kwargs": {}}


def sweep(
    call: Callable[..., object] | Job,
    *,
    setup: Callable[[], object] | None = None,
    warmup: int = 3,
    ok: Callable[[object, BaseException | None], object] | str | None = None,
    equal: Callable[[object, object], object] | None = None,
    then: Callable[[], object] | str = "call",
    strict: bool = False,
    observe: Callable[[Refusal], object] | None = None,
    **plan: Any,
) -> Report:
    """Refuse what `call` asks for, one call at a time, and return what became of it.

    `call` is a function that another process can import, or one with its arguments: harness.call(function, …). It runs
    in forks of a process of its own, never in this one. `setup` runs there first; what it returns, if anything, is
    given to the function. `warmup` calls come before the first refusal.

        report = harness.sweep(load, libraries=["_mymodule"])
        assert report.verdict == "PASS", str(report)

    `ok(value, error)` says what counts as handled beside a MemoryError, `equal(reference, value)` which results are
    right where their contents don't tell. `then` is what is tried after each refusal in the same process: the same
    call, "call-in-thread", or a function whose False or exception is damage. `strict` fails what is only told
    otherwise: an error that hides the shortage, and a leak. `observe` gets each refusal as it is judged.

    The rest is as on the command line: `libraries`, `also_interpreter`, `refuse`, `errors`, `mode`, `min_size`,
    `shrinks`, `dense`, `depth`, `at`, `site`, `leak`, `deadline_s`, `time_s` and `jobs`.

    The report's `verdict` is PASS, FAIL, UNKNOWN where something could not be refused, or INFRA with its reason where
    nothing could. Raises InvalidInputError for what the caller did wrong. A crash raises nothing: it is in the report.
    """
    refuse_unguarded()
    asked = asking.plan_of(plan | {"ok": ok if isinstance(ok, str) else None})
    job = call if isinstance(call, Job) else with_arguments(call)
    said = {"setup": setup, "warmup": warmup, "ok": None if asked.ok_exits else ok, "equal": equal, "then": then}
    order = _order(job, **said)
    subject = Subject((job.title,), order)
    try:
        swept = conduct.sweep(subject.host(asked), asked, _Observing(observe))
    except InfraError as error:
        return infra(subject.name, error)
    if swept.interrupted:
        raise KeyboardInterrupt
    plain = not (job.file or plan or ok or equal or callable(then) or setup or order.arguments != NO_ARGUMENTS)
    return report(subject.name, swept, command_line([job.title]) if plain else keywords, strict=strict)


def _order(job: Job, *, setup: object, warmup: object, ok: object, equal: object, then: object) -> Call:
    """Write down what the process that is swept is to call. Raises InvalidInputError."""
    probe = then if isinstance(then, str) else f"{asking.PROBE_PREFIX}{_name('then', then)}"
    return Call(
        job.title,
        setup=_name("setup", setup),
        warmup=asking.whole("warmup", warmup, 0),
        ok=ok if isinstance(ok, str) else _name("ok", ok),
        equal=_name("equal", equal),
        then=asking.probe(probe),
        module=job.module,
        name=job.name,
        file=job.file or "",
        package=job.package or "",
        arguments=json.loads(job.arguments),
    )


class _Observing(Tell):
    """Hands each refusal on."""

    def __init__(self, observe: Callable[[Refusal], object] | None) -> None:
        self._observe = observe

    def refused(self, refusal: Refusal, done: int, total: int) -> None:  # noqa: ARG002 -- who asks for it counts itself
        """Hand one on."""
        if self._observe:
            self._observe(refusal)


def _name(where: str, function: object) -> str:
    """Where another process finds a function; the empty string for none. Raises InvalidInputError."""
    if function is None:
        return ""
    if not callable(function):
        raise expected(where, "a function", function)
    return importable(function)
