"""Before the first refusal: the recording, the reference, and every reason why there is nothing to sweep."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import msgspec

from harness.evidence import Exited
from harness.exceptions import InfraError
from harness.refusals.ownership import Ownership, askers, read
from harness.refusals.page import Order
from harness.refusals.stacks import file_name
from harness.refusals.targets import DLOPEN, Plan, Target, eligible
from harness.refusals.verdicts import Reference, last_line, signal_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.refusals.recording import Recording
    from harness.refusals.trial import Host, Trial

ALONE_S: Final = 30.0
SLACK, SLACK_S = 10, 2.0
MARK: Final = "/crash-harness/begin"
MARKED: Final = ("mark", DLOPEN)  # in whichever process of the command it comes


class Ready(msgspec.Struct, frozen=True):
    """A host that has recorded. `is_exact`: the nth call is the same each time, so that counting is enough to aim."""

    host: Host
    recording: Recording
    reference: Reference
    ownership: Ownership
    order: Order  # what all trials have in common
    deadline_s: float
    is_exact: bool
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def targets(self, plan: Plan) -> list[Target]:
        """Every call that may be refused. Raises InfraError where there is none, with the reason."""
        found = list(eligible(self.recording, plan, self.ownership.owns))
        if not found:
            raise InfraError(nothing(self.recording, self.ownership, plan))
        return found


def prepare(host: Host, plan: Plan) -> Ready:
    """Record twice, and compare. Raises InfraError where the swept code can't be judged, with the reason."""
    order = _scouted(host, plan)
    first, recording = _record(host, order, plan)
    second, again = _record(host, order, plan)
    modules = host.page.modules()
    ownership = Ownership(plan.rules, modules)
    host.page.judge(ownership.kind(path) for path in modules)
    order = msgspec.structs.replace(
        order,
        record=False,
        owners_only=True,
        other_kind="foreign" if plan.rules.libraries else "owner",
        bytecode=ownership.spans(),
    )
    deadline_s = plan.deadline_s or SLACK * max(first.duration_s, second.duration_s) + SLACK_S
    reference = _reference(host, (first, second), plan)
    if plan.leak:
        reference = msgspec.structs.replace(reference, control=_control(host, order, deadline_s))
    exact = recording.like(again)
    return Ready(
        host,
        again,
        reference,
        ownership,
        order,
        deadline_s,
        exact,
        tuple(_notes(again, second, exact=exact)),
        tuple(_doubts(reference)),
    )


def _notes(recording: Recording, trial: Trial, *, exact: bool) -> Iterator[str]:
    if not exact:
        yield "its calls are not the same each time: each is aimed at by its stack, not by its number"
    if trial.answer.forks:
        many = "a process" if trial.answer.forks == 1 else f"{trial.answer.forks} processes"
        yield f"it starts {many} of its own: not swept"
    if recording.overflowed:
        yield "the recording is cut where the page was full"


def _doubts(reference: Reference) -> Iterator[str]:
    if not reference.is_steady:
        what = "result" if reference.said else "output"
        yield f"its {what} is not the same each time: it is not deterministic, and a wrong one can't be told"


def _scouted(host: Host, plan: Plan) -> Order:
    """How to record. Of a command one life without a recording tells: it is quick, and shows its marks."""
    order = Order("call", plan.operations, record=True, least_bytes=plan.least_bytes)
    if host.reference:
        return order
    window = DLOPEN if plan.library else plan.window or "any-mark"
    trial = _unrefused(
        host, msgspec.structs.replace(order, window=window, record=False), plan, plan.deadline_s or ALONE_S
    )
    if window == "any-mark":
        window = "mark" if trial.answer.marks else "main"
    return msgspec.structs.replace(order, window=window, image=0 if window in MARKED else trial.answer.images)


def _record(host: Host, order: Order, plan: Plan) -> tuple[Trial, Recording]:
    return _unrefused(host, order, plan, host.recording_s), read(host.page)


def _unrefused(host: Host, order: Order, plan: Plan, limit_s: float) -> Trial:
    """Live once without a refusal. Raises InfraError where that is not possible."""
    trial = host.live(order, limit_s)
    if trial.hung:
        raise InfraError(_endless(host, limit_s))
    if not trial.answer.pid:
        raise InfraError(_unarmed(trial, order, plan))
    _refuse_failure(trial, host, plan)
    return trial


def _endless(host: Host, limit_s: float) -> str:
    if not host.reference:
        return f"it did not end within {limit_s:g} s without a refusal; --deadline gives it longer"
    return (
        f"in a fork of its server it did not end within {limit_s:.0f} s without a refusal: it may need a thread that "
        "was there before its first call, and a fork has none of them; sweep it as a command: sweep -- python …"
    )


def _unarmed(trial: Trial, order: Order, plan: Plan) -> str:
    if order.window == "mark":
        return f"the mark never came: nobody asked for the file {MARK}"
    if order.window == DLOPEN:
        return f"nobody opened a library called like {plan.library} by dlopen; --window main opens with the program"
    return f"the library was not loaded: {last_line(trial.stderr) or 'a static program, or one that drops LD_PRELOAD'}"


def _refuse_failure(trial: Trial, host: Host, plan: Plan) -> None:
    """Raise InfraError where it fails by itself."""
    how, says = signal_of(trial) or str(trial.termination), last_line(trial.stderr)
    first = trial.said[0]
    if host.reference:
        if signal_of(trial) or first is None:
            raise InfraError(f"it fails without a refusal, in a child of its server: {how}: {says}".rstrip(": "))
        if host.is_steady and (first.kind, first.what) != (host.reference.kind, host.reference.what):
            raise InfraError(f"in a child of its server it gives {first}, not {host.reference}")
    elif signal_of(trial) or (trial.termination != Exited(0) and _status(trial) not in plan.ok_exits):
        raise InfraError(f"it fails without a refusal: {how}: {says}".rstrip(": "))


def _status(trial: Trial) -> int:
    return trial.termination.status if isinstance(trial.termination, Exited) else -1


def _reference(host: Host, trials: tuple[Trial, Trial], plan: Plan) -> Reference:
    first, second = trials
    if host.reference:
        return Reference(host.reference, is_steady=host.is_steady)
    return Reference(
        None,
        _status(first),
        first.output,
        first.errors,
        is_steady=first.output == second.output or _status(first) in plan.ok_exits,
        ok_exits=plan.ok_exits,
    )


def _control(host: Host, order: Order, deadline_s: float) -> int:
    """The most that a repetition leaves behind when nothing is refused."""
    slopes = host.live(order, deadline_s).said[2]
    return max(slopes[len(slopes) // 2 :], default=0)


# --- nothing to sweep ---


def nothing(recording: Recording, ownership: Ownership, plan: Plan) -> str:
    """Why no call of a recording may be refused."""
    families = ", ".join(plan.families)
    if not recording.calls:
        own = "; a library with an allocator of its own asks by --refuse mmap" if plan.families == ("memory",) else ""
        return f"nothing to refuse: the window asked for nothing of {families}{own}"
    asked = askers(recording, ownership)
    who = ", ".join(f"{name} {count}" for name, count in asked.most_common(5))
    if plan.rules.libraries:
        return f"nothing to refuse: {_absent(recording, plan)}; those that asked: {who}"
    return (
        f"nothing to refuse: none of its {len(recording.calls)} calls was asked for by an extension ({who}); "
        "--also-interpreter takes those of the interpreter"
    )


def _absent(recording: Recording, plan: Plan) -> str:
    known = sorted({file_name(path) for stack in recording.stacks for path, _ in stack})
    wanted = " or ".join(plan.rules.libraries)
    if any(part in name for part in plan.rules.libraries for name in known):
        return f"{wanted} asked for nothing; with an allocator of its own it asks by --refuse mmap"
    near = get_close_matches(plan.rules.libraries[0], known, 1, 0.4)
    return f"no library on the stacks is called like {wanted}" + (f"; did you mean {near[0]}?" if near else "")
