"""The options of `sweep`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options.word import Number, Word, day
from harness.refusals import asking
from harness.refusals.targets import ERRNOS, FAMILIES, MODES

SECONDS = Number(0, min_open=True)

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
    click.option("--errors", multiple=True, metavar="NAME", help=f"Of files: {', '.join(ERRNOS)}.  [default: all]"),
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
        metavar="|".join((*asking.WINDOWS, asking.LIBRARY)),
        help="Of a command: from where on; LIB is a part of a file name that dlopen is given.  [default: its mark, if "
        "it makes one, else main]",
    ),
    click.option(
        "--dense", is_flag=True, help="Refuse every call, not the first of each site (of a loop also the second)."
    ),
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
    click.option("--review", callback=day, metavar="YYYY-MM-DD", help="When it is looked at again."),
)
KEPT = (
    click.option(
        "--history", type=click.Path(path_type=Path), metavar="FILE", help="Journal refusals in this new file."
    ),
    click.option("--resume", "old", type=click.Path(path_type=Path), metavar="FILE", help="Go on with that history."),
    click.option("--gdb", is_flag=True, help="Of one refusal (--site or --at): what gdb says, in a new process."),
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
