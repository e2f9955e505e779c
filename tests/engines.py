"""Every installed engine, judged on this machine: the table of docs/engines.md.

    make engines                                  # python tests/engines.py --write docs/engines.md
    make engines ARGS='--only rq --only arq'      # these again; what the page says of the others stays

The page is the record: each check is written into it at once, so that what ends a run early costs one engine. What the
page says of an engine that is not installed stays.
With --rounds N the reference engine is checked N times beside a load of two busy processes a processor: all must pass.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from harness.conformance import enginefile, suite
from harness.conformance.check import Asked, Check
from harness.conformance.properties import BY_NAME, ORDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.conformance.enginefile import EngineFile

COLUMNS = len(ORDER) + 5
SIGNS = {"PASS": "✓", "FAIL": "✗", "INFRA": "?", "SKIP": "·"}
BUSY = "while True: pass"
SHOWN = 110


def say(line: str) -> None:
    """Say how far it is."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Said(NamedTuple):
    """What the page says of an engine: its row of the table, and what failed there."""

    row: str
    failures: tuple[str, ...]


def checked(file: EngineFile, cells: tuple[str, ...] = ()) -> Said | None:
    """Check an engine; None for one that is not installed."""
    began = time.monotonic()
    if missing := file.missing():
        say(f"{file.name}: {missing}")
        return None
    known = file.expected(dt.datetime.now(tz=dt.UTC).date())
    engine = msgspec.structs.replace(file.engine(), asked=Asked(cells=cells))
    told = suite.check_all([engine], known=known)[file.name]
    seconds = time.monotonic() - began
    say(f"{file.name}: {told.verdict} {' '.join(told.fails)} ({seconds:.0f} s)")
    for name, one in told.properties.items():
        if one.verdict in ("FAIL", "INFRA"):
            say(f"  {name} {one.verdict}: {one.reason}")
    return Said(_row(file, told), tuple(_failures(file, told, seconds)))


# --- the page ---


def read(page: str) -> dict[str, Said]:
    """What it says of each engine."""
    _, _, table = page.partition("\n## Table\n")
    table, _, failed = table.partition("\n## What failed, and where\n")
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines() if line.count("|") > COLUMNS}
    parts = [part.strip().splitlines() for part in re.split(r"^(?=\*\*)", failed, flags=re.MULTILINE) if part.strip()]
    failures = {lines[0].removeprefix("**").partition("**")[0]: tuple(lines) for lines in parts}
    return {name: Said(row, failures.get(name, ())) for name, row in rows.items()}


def page(found: dict[str, Said]) -> Iterator[str]:
    """The whole page."""
    files = list(enginefile.shipped())
    yield "# What retry engines do with native crashes"
    yield ""
    yield (
        "Measured by `make engines` on this tree, with real crashes inside each engine's own workers, and judged by"
        " what each engine's adapter declares. [The protocol](engine-protocol.md) says what each property claims."
    )
    yield ""
    cpus = len(os.sched_getaffinity(0))
    yield (
        f"Machine: Linux {platform.release().partition('-')[0]}, {platform.machine()}, {cpus} processors, Python"
        f" {platform.python_version()}. No seed bears on it: every fault is forced. Seconds are of a busy machine, and"
        " decide nothing: a limit of time is in counted seconds, and a miss must be seen twice."
    )
    yield from ("", "## In words", "")
    for file in files:
        yield from _words(file)
    yield from ("## Table", "", "✓ PASS, ✗ FAIL, ? INFRA (nothing proved), · SKIP (not declared)", "")
    yield f"| engine | version | {' | '.join(ORDER)} | cells | notices within | date |"
    yield "|---|---|" + "---|" * (len(ORDER) + 3)
    yield from (found[file.name].row for file in files if file.name in found)
    yield ""
    yield from (f"- {name}: {BY_NAME[name].claim}" for name in ORDER)
    yield from ("", "## What failed, and where", "")
    for file in files:
        if file.name not in found:
            yield from (f"**{file.name}**: not measured", "")
        elif found[file.name].failures:
            yield from (*found[file.name].failures, "")


def _words(file: EngineFile) -> Iterator[str]:
    table = file.table
    if not table.does:
        return
    yield from (f"**{table.title}** (`{file.name}`). {table.does}", "")
    if table.docs:
        yield f"- Documentation: {table.docs}"
    if table.better:
        yield f"- Better: {table.better}"
    if table.docs or table.better:
        yield ""


def _row(file: EngineFile, told: Check) -> str:
    signs = " | ".join(SIGNS[told.properties[name].verdict] for name in ORDER)
    version, detect = (told.declared.version, f"{told.declared.detect_s:g} s") if told.declared else ("", "")
    version = file.table.declare.get("version", version)
    date = f"{dt.datetime.now(tz=dt.UTC):%Y-%m-%d}"
    return f"| {file.name} | {version} | {signs} | {len(told.settled)} | {detect} | {date} |"


def _failures(file: EngineFile, told: Check, seconds: float) -> Iterator[str]:
    if told.infra:
        yield f"**{file.name}**: {_clean(told.infra)}"
        return
    rows = [(name, one) for name, one in told.properties.items() if one.verdict in ("FAIL", "INFRA")]
    if not rows:
        return
    yield from (f"**{file.name}** ({len(told.settled)} cells, {seconds:.0f} s)", "")
    known = {one.property: one.reason for one in file.known}
    for name, one in rows:
        why = f" Known: {known[name]}." if name in known else ""
        yield f"- {name} {one.verdict}: {_clean(one.reason)}{why}"


def _clean(reason: str) -> str:
    first = " ".join(reason.split("; ", maxsplit=1)[0].split())
    return first[:SHOWN].replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def rounds(count: int) -> int:
    """Check the reference engine so often, under load. How many did not pass."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2 * len(os.sched_getaffinity(0)))]
    failed = 0
    try:
        for number in range(1, count + 1):
            told = suite.check_all([enginefile.find("reference").engine()])["reference"]
            failed += told.verdict != "PASS"
            say(f"reference, round {number} of {count}: {told.verdict} {' '.join(told.fails)}")
    finally:
        for one in busy:
            one.kill()
            one.wait()
    return failed


def write(place: Path | None, found: dict[str, Said]) -> None:
    """Write the page, if it is asked for."""
    if place:
        place.write_text("\n".join(page(found)) + "\n")


def main() -> int:
    """Check what is asked for, and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument(
        "--cell", action="append", default=[], help="only this cell; the table says how many there were"
    )
    parser.add_argument("--words", action="store_true", help="check nothing: write again what is said in words")
    parser.add_argument("--rounds", type=int, default=0)
    asked = parser.parse_args()
    found = read(asked.write.read_text()) if asked.write and asked.write.exists() else {}
    for file in enginefile.shipped():
        again = file.name in asked.only or not (asked.only or asked.rounds or asked.words)
        if again and (said := checked(file, tuple(asked.cell))):
            found[file.name] = said
            write(asked.write, found)
    write(asked.write, found)
    return rounds(asked.rounds)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
