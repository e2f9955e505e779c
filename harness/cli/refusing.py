"""The options of `sweep`, and the plan that they make."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from harness.exceptions import InvalidInputError
from harness.refusals.server import Call
from harness.refusals.stacks import Rules
from harness.refusals.targets import ERRNOS, FAMILIES, MODES, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function")
SECONDS = click.FloatRange(0, min_open=True)
EXITS: Final = re.compile(r"exit\s+(\d+(?:\s*,\s*\d+)*)")
ALIASES: Final = {"thread": "threads", "file": "files"}


def _listed(known: tuple[str, ...]) -> Any:
    """Read a repeatable option whose values may also be joined by commas, from a known few."""

    def read(_: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
        words = [ALIASES.get(word.strip(), word.strip()) for one in given for word in one.split(",")]
        for word in words:
            if word not in known:
                near = get_close_matches(word, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise click.BadParameter(f"{word!r} is not one of {', '.join(known)}{hint}", param=parameter)
        return tuple(dict.fromkeys(words))

    return read


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
        callback=_listed(tuple(FAMILIES)),
        help=f"{', '.join(FAMILIES)}; repeatable.  [default: memory]",
    ),
    click.option(
        "--errors",
        multiple=True,
        metavar="NAME",
        callback=_listed(tuple(ERRNOS)),
        help=f"Of files: {', '.join(ERRNOS)}.  [default: all]",
    ),
    click.option(
        "--mode",
        type=click.Choice([*MODES, "both"]),
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
        type=click.Choice(["start", "main", "mark"]),
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


def options(*groups: tuple[Any, ...]) -> Callable[[Function], Function]:
    """Add groups of options to a command, in their order."""

    def add(function: Function) -> Function:
        for option in reversed([one for group in groups for one in group]):
            function = option(function)
        return function

    return add


def plan_of(given: dict[str, Any]) -> Plan:
    """Read the options. Raises InvalidInputError for those that don't go together."""
    if given["site"] and not re.fullmatch(r"[0-9a-f]+(:[1-9]\d*)?", given["site"]):
        raise InvalidInputError(f"--site: expected HASH or HASH:K as a replay line has it, not {given['site']!r}")
    exits = EXITS.fullmatch(given["ok"] or "")
    return Plan(
        given["refuse"] or ("memory",),
        Rules(given["libraries"], given["also_interpreter"]),
        MODES if given["mode"] == "both" else (given["mode"],),
        given["errors"],
        given["min_size"],
        shrinks=given["shrinks"],
        dense=given["dense"],
        depth=given["depth"],
        at=given["at"],
        site=given["site"],
        window=given["window"],
        deadline_s=given["deadline"],
        time_s=given["time_s"],
        jobs=given["jobs"],
        leak=given["leak"],
        ok_exits=tuple(int(one) for one in re.findall(r"\d+", exits[1])) if exits else (),
    )


def call_of(given: dict[str, Any]) -> Call:
    """What a function's server is to do; the name comes with the arguments."""
    then = given["then"]
    if then not in ("call", "call-in-thread") and not then.startswith("check:"):
        raise InvalidInputError(f"--then: expected call, call-in-thread or check:module:function, not {then!r}")
    return Call("", given["setup"], given["warmup"], given["ok"] or "", then=then)


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
