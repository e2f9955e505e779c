"""What the words of a `sweep` ask for: the plan, how it is judged, and the options that a replay needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from harness.exceptions import InvalidInputError
from harness.gate.known import Acceptance
from harness.gate.sweeping import Terms
from harness.refusals import asking, subject
from harness.refusals.kept import Asked
from harness.refusals.server import Call

if TYPE_CHECKING:
    from harness.refusals.targets import Plan

PLANNED: Final = (
    *("libraries", "also_interpreter", "refuse", "errors", "mode", "min_size", "shrinks", "window", "dense", "depth"),
    *("at", "site", "ok", "leak", "time_s", "jobs"),
)
INITIAL: Final = {
    "min_size": 0,
    "depth": 4,
    "setup": "",
    "warmup": 3,
    "window": None,
    "then": "call",
    "ok": None,
    "leak": 0,
}


def plan_of(given: dict[str, Any]) -> Plan:
    """Read the options. Raises InvalidInputError for words that mean nothing."""
    words = {name: given[name] for name in PLANNED}
    return asking.plan(**words, deadline_s=given["deadline"])


def asked_of(words: tuple[str, ...], command: tuple[str, ...] | None, given: dict[str, Any]) -> Asked:
    """Return the subject of the sweep, and how it is swept. Raises InvalidInputError for options that contradict it."""
    plan = plan_of(given)
    if given["gdb"] and not (plan.site or plan.at):
        raise InvalidInputError("--gdb: expected one refusal, by --site or --at; a finding's replay line has it")
    if command and not words:
        one = subject.command(command, plan)
        return Asked(one.words, None, plan, (*again(given), "--", *command))
    if plan.window and command is None:
        raise InvalidInputError("--window: it is for commands; the window of a function is its call")
    if len(words) != 1 or command is not None:
        said = " ".join((*words, *(command or ()))) or "nothing"
        raise InvalidInputError(f"expected one module:function, or '--' and a command, not {said}")
    one = subject.function(words[0], call_of(given, plan))
    return Asked(one.words, one.call, plan, (*again(given), *words))


def call_of(given: dict[str, Any], plan: Plan) -> Call:
    """Return what the server of a function is to do, without the function's name."""
    ok = "" if plan.ok_exits else given["ok"] or ""
    return Call("", setup=given["setup"], warmup=given["warmup"], ok=ok, then=asking.probe(given["then"]))


def terms_of(given: dict[str, Any]) -> Terms:
    """Return how the sweep is judged. Raises InvalidInputError for options that don't go together."""
    if bool(given["accept"]) != bool(given["because"].strip()):
        raise InvalidInputError("--accept, --because: each needs the other")
    if given["accept"] and not given["baseline"]:
        raise InvalidInputError("--accept: expected a --baseline to add to")
    wanted = Acceptance(given["accept"], given["because"], given["owner"], given["review"]) if given["accept"] else None
    return Terms(given["strict"], given["baseline"], wanted)


def again(given: dict[str, Any]) -> list[str]:
    """The options that a replay needs, since they decide what is recorded and what counts."""
    words = [word for name in given["libraries"] for word in ("--in", name)]
    words += [word for name in given["refuse"] if given["refuse"] != ("memory",) for word in ("--refuse", name)]
    words += [f"--{name.replace('_', '-')}" for name in ("also_interpreter", "shrinks") if given[name]]
    for name, initial in INITIAL.items():
        if given[name] != initial:
            words += [f"--{name.replace('_', '-')}", str(given[name])]
    return words
