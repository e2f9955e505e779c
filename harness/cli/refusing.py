"""The options of `sweep`, and the plan that they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from harness.cli.word import Word
from harness.exceptions import InvalidInputError
from harness.gate.known import Acceptance
from harness.gate.sweeping import Terms
from harness.refusals import asking, subject
from harness.refusals.kept import Asked
from harness.refusals.server import Call
from harness.refusals.targets import ERRNOS, FAMILIES, MODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.refusals.targets import Plan

Function = TypeVar("Function")
SECONDS = click.FloatRange(0, min_open=True)
PLANNED: Final = (
    *(
        "libraries",
        "also_interpreter",
        "refuse",
        "errors",
        "mode",
        "min_size",
        "shrinks",
        "window",
        "dense",
        "depth",
        "at",
    ),
    *("site", "ok", "leak", "time_s", "jobs"),
)


WHAT = (
    click.option(
        "--in",
        "libraries",
        multiple=True,
        metavar="LIB",
        help="Only what LIB asks for, a part of its file name; repeatable.",
    ),
    click.option("--also-interpreter", is_flag=True, help="Also memory that Python asks for itself."),
    click.option(
        "--refuse",
        multiple=True,
        metavar="FAMILY",
        help=f"{', '.join(FAMILIES)}; repeatable.  [default: memory]",
    ),
    click.option(
        "--errors",
        multiple=True,
        metavar="NAME",
        help=f"Of files: {', '.join(ERRNOS)}.  [default: all]",
    ),
    click.option(
        "--mode",
        type=Word([*MODES, asking.BOTH], "mode"),
        default="both",
        show_default=True,
        help="One call, or each from it on.",
    ),
    click.option(
        "--min-size", type=click.IntRange(0), default=0, metavar="BYTES", help="Leave smaller requests alone."
    ),
    click.option("--shrinks", is_flag=True, help="Also a realloc that would fit where it is."),
)
WHERE = (
    click.option(
        "--window",
        type=Word(asking.WINDOWS, "window"),
        help="Of a command: from where on.  [default: its mark, if it makes one, else main]",
    ),
    click.option("--dense", is_flag=True, help="Refuse every call, not one for each site."),
    click.option(
        "--depth", type=click.IntRange(1, 32), default=4, show_default=True, help="Frames of a stack that make a site."
    ),
    click.option("--at", type=click.IntRange(1), metavar="N", help="The Nth call alone."),
    click.option("--site", metavar="HASH[:K]", help="The Kth call of one site alone."),
)
JUDGED = (
    click.option(
        "--ok",
        metavar="EXPR",
        help="What counts as handled too. Of a command: 'exit 1,2'. Of a function: module:check, called with value and "
        "error, or an expression over these two.",
    ),
    click.option(
        "--then",
        "then",
        default="call",
        show_default=True,
        metavar="PROBE",
        help="After it, in the same process: call, call-in-thread, or check:module:function.",
    ),
    click.option(
        "--setup",
        default="",
        metavar="MODULE:FUNCTION",
        help="Called once; what it returns, if anything, is given to the function.",
    ),
    click.option(
        "--warmup", type=click.IntRange(0), default=3, show_default=True, help="Calls before the first refusal."
    ),
    click.option(
        "--leak",
        type=click.IntRange(0),
        default=0,
        metavar="K",
        help="Repeat each handled refusal K times, and look for blocks left behind.",
    ),
    click.option("--strict", is_flag=True, help="A disguised refusal and a leak fail as well."),
)
KNOWN = (
    click.option(
        "--baseline", type=click.Path(path_type=Path), metavar="FILE", help="Findings that are known, as TOML."
    ),
    click.option("--accept", multiple=True, metavar="KEY", help="Add a finding to the baseline, or 'all'; repeatable."),
    click.option("--because", default="", metavar="TEXT", help="The reason, which --accept needs."),
    click.option("--owner", default="", metavar="NAME", help="Who answers for what is accepted."),
    click.option("--review", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="When it is looked at again."),
)
KEPT = (
    click.option(
        "--history", type=click.Path(path_type=Path), metavar="FILE", help="Journal refusals in this new file."
    ),
    click.option("--resume", "old", type=click.Path(path_type=Path), metavar="FILE", help="Go on with that history."),
    click.option(
        "--gdb", is_flag=True, help="Of one refusal (--site or --at): what gdb says, in a process of its own."
    ),
)
BOUNDS = (
    click.option(
        "--deadline",
        type=SECONDS,
        metavar="S",
        help="Seconds a trial may take.  [default: 10 times the recording, and 2]",
    ),
    click.option("--time", "time_s", type=SECONDS, metavar="S", help="Seconds the sweep may take."),
    click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Trials at a time."),
)


GROUPS = (WHAT, WHERE, JUDGED, KNOWN, KEPT, BOUNDS)


class WithCommand(click.Command):
    """Remembers whether there was a '--': what follows it is a command, and no function's name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look before click takes it away."""
        ctx.meta["is_command"] = "--" in args
        return super().parse_args(ctx, args)


def options(*groups: tuple[Any, ...]) -> Callable[[Function], Function]:
    """Add groups of options to a command, in their order."""

    def add(function: Function) -> Function:
        for option in reversed([one for group in groups for one in group]):
            function = option(function)
        return function

    return add


def plan_of(given: dict[str, Any]) -> Plan:
    """Read the options. Raises InvalidInputError for words that mean nothing."""
    words = {name: given[name] for name in PLANNED}
    return asking.plan(**words, deadline_s=given["deadline"])


def asked_of(words: tuple[str, ...], given: dict[str, Any], *, is_command: bool) -> Asked:
    """What is swept, and how. Raises InvalidInputError for what makes no sense."""
    plan = plan_of(given)
    if given["gdb"] and not (plan.site or plan.at):
        raise InvalidInputError("--gdb: expected one refusal, by --site or --at; a finding's replay line has it")
    if is_command and words:
        one = subject.command(words, plan)
        return Asked(one.words, None, plan, (*again(given), "--", *words))
    if len(words) != 1 or plan.window:
        raise InvalidInputError(
            f"expected one module:function, or '--' and a command, not {' '.join(words) or 'nothing'}"
        )
    one = subject.function(words[0], call_of(given, plan))
    return Asked(one.words, one.call, plan, (*again(given), *words))


def call_of(given: dict[str, Any], plan: Plan) -> Call:
    """What a function's server is to do; the name comes with the arguments."""
    ok = "" if plan.ok_exits else given["ok"] or ""
    return Call("", setup=given["setup"], warmup=given["warmup"], ok=ok, then=asking.probe(given["then"]))


def terms_of(given: dict[str, Any]) -> Terms:
    """How it is judged. Raises InvalidInputError for options that don't go together."""
    if bool(given["accept"]) != bool(given["because"].strip()):
        raise InvalidInputError("--accept, --because: each needs the other")
    if given["accept"] and not given["baseline"]:
        raise InvalidInputError("--accept: expected a --baseline to add to")
    review = given["review"].date() if given["review"] else None
    wanted = Acceptance(given["accept"], given["because"], given["owner"], review) if given["accept"] else None
    return Terms(given["strict"], given["baseline"], wanted)


def again(given: dict[str, Any]) -> list[str]:
    """The options that a replay needs, since they decide what is recorded and what counts."""
    words = [word for name in given["libraries"] for word in ("--in", name)]
    words += [word for name in given["refuse"] if given["refuse"] != ("memory",) for word in ("--refuse", name)]
    words += [f"--{name.replace('_', '-')}" for name in ("also_interpreter", "shrinks") if given[name]]
    for name, initial in (
        ("min_size", 0),
        ("depth", 4),
        ("setup", ""),
        ("warmup", 3),
        ("window", None),
        ("then", "call"),
        ("ok", None),
        ("leak", 0),
    ):
        if given[name] != initial:
            words += [f"--{name.replace('_', '-')}", str(given[name])]
    return words
