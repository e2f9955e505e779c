"""crash-harness engines: real crashes inside a real retry engine, judged by what that engine declares."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from harness.cli.engines_asked import asked_of, engine_of
from harness.cli.options.common import json_option
from harness.cli.options.word import Word
from harness.cli.output import emit_pretty, write
from harness.cli.report import of_formats, write_files
from harness.conformance import check, enginefile, kept, suite
from harness.conformance.install import install
from harness.machine import environment
from harness.report import engines as words
from harness.report.reader import of_check
from harness.report.terminal import console, progress, table, tell_check

if TYPE_CHECKING:
    from harness.conformance.conductor import Engine, News

POLICIES = ("none", "max3")
MOST_TIME_S = 7 * 86_400


@click.group(invoke_without_command=True, epilog="Example: crash-harness engines check celery")
@click.pass_context
def engines(context: click.Context) -> None:
    """Engines under test: list them, install them, check one."""
    if context.invoked_subcommand is None:
        console().print(table(("engine", "what it is", "here"), words.listing(enginefile.shipped())))


@engines.command("install", epilog="Example: crash-harness engines install celery rq")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def install_engines(names: tuple[str, ...]) -> None:
    """Make the environment of each NAME, or of `all`, in a cache folder; its versions are pinned in its file."""
    wanted = enginefile.shipped() if names == ("all",) else [enginefile.find(name) for name in names]
    for one in wanted:
        missing = install(one, lambda text: write(text, err=True))
        write(f"{one.name}: {missing or 'installed'}")


@engines.command("check", epilog="Example: crash-harness engines check --property P4 rq     … check -- node my.mjs")
@click.argument("words_", nargs=-1, required=True, metavar="NAME | FILE.toml | -- PROGRAM...")
@click.option("--property", "properties", multiple=True, metavar="P4", help="Only the cells that decide it.")
@click.option("--fault", "faults", multiple=True, help="Only this fault: one of the payload's, or of the catalogue.")
@click.option("--policy", type=Word(POLICIES, "policy"), help="Only the cells under this policy.")
@click.option("--cell", "cells", multiple=True, help="Only this cell.")
@click.option("--workers", type=click.IntRange(1, 16), default=2, show_default=True, help="Jobs at once.")
@click.option(
    "--repeat", type=click.IntRange(1, 100), default=1, show_default=True, help="Lives of each cell at least."
)
@click.option("--jobs", type=click.IntRange(1), help="Cells at once; four for each processor if not given.")
@click.option(
    "--time",
    "time_s",
    type=click.IntRange(1, MOST_TIME_S),
    default=suite.TIME_S,
    show_default=True,
    metavar="S",
    help="Seconds the check may take; cells that are not settled by then prove nothing.",
)
@click.option("--history", type=click.Path(path_type=Path), help="Keep the check in this new file.")
@of_formats
@json_option
@click.pass_context
def check_engine(context: click.Context, /, words_: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Make real crashes inside an engine's workers, and judge what it does by what it declares.

    Exit status 0 for PASS, 1 for FAIL, 3 where nothing could be proved, 4 for an engine that is not installed.
    """
    file, engine = engine_of(words_, asked_of(given))
    told = _check(file, engine, given, as_json=as_json)
    if given["history"]:
        kept.keep(given["history"], engine, told, environment())
    write_files(given, of_check(told))
    if as_json:
        emit_pretty(check.record(told))
    out = console(stderr=as_json)
    tell_check(out, told, () if file else engine.command)
    context.exit(told.exit_code)


def _check(file: enginefile.EngineFile | None, engine: Engine, given: dict[str, Any], *, as_json: bool) -> check.Check:
    if file and (missing := file.missing()):
        return check.skipped(file.name, missing)
    known = file.expected(dt.datetime.now(tz=dt.UTC).date()) if file else {}
    out = console(stderr=as_json)
    with progress(out) as bar:
        task = bar.add_task("checking")

        def observe(news: News) -> None:
            if news.total:
                bar.update(task, total=news.total)
            if news.settled:
                bar.advance(task)
                out.print(escape(f"{news.settled.verdict:<5} {news.settled.name}"), soft_wrap=True)

        bounds = {"at_once": given["jobs"], "time_s": given["time_s"]}
        return suite.check_all([engine], known=known, observe=observe, **bounds)[engine.name]
