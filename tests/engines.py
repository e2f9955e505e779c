"""Every installed engine, judged on this machine: the table of docs/engines.md.

    make engines                                  # python tests/engines.py --write docs/engines.md
    python tests/engines.py --only rq --only arq  # these again; the others from their last check

Checks are kept under build/engines, an engine each; an engine that is not installed keeps its line, with the reason.
With --rounds N the reference engine is checked N times beside a load of two busy processes a processor: all must pass.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.conformance import check, enginefile, suite
from harness.conformance.check import Asked, Check
from harness.conformance.properties import BY_NAME, ORDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.conformance.enginefile import EngineFile

KEPT = Path(__file__).parent.parent / "build" / "engines"
SIGNS = {"PASS": "✓", "FAIL": "✗", "INFRA": "?", "SKIP": "·"}
BUSY = "while True: pass"
SHOWN = 110


def say(line: str) -> None:
    """Say how far it is."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Kept(msgspec.Struct):
    """A check, and when it was made."""

    date: str
    seconds: float
    check: Check


def checked(file: EngineFile, cells: tuple[str, ...] = ()) -> Kept:
    """Check an engine, or say what is missing; keep the answer."""
    began = time.monotonic()
    if missing := file.missing():
        told = check.skipped(file.name, missing)
    else:
        known = file.expected(dt.datetime.now(tz=dt.UTC).date())
        engine = msgspec.structs.replace(file.engine(), asked=Asked(cells=cells))
        told = suite.check_all([engine], known=known)[file.name]
    made = Kept(f"{dt.datetime.now(tz=dt.UTC):%Y-%m-%d}", time.monotonic() - began, told)
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{file.name}.json").write_bytes(msgspec.json.encode(made))
    say(f"{file.name}: {told.verdict} {' '.join(told.fails)} ({made.seconds:.0f} s)")
    return made


def kept(file: EngineFile) -> Kept | None:
    """The last check of an engine."""
    place = KEPT / f"{file.name}.json"
    return msgspec.json.decode(place.read_bytes(), type=Kept) if place.exists() else None


def page(found: list[tuple[EngineFile, Kept]]) -> Iterator[str]:
    """The whole page."""
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
    for file, _ in found:
        yield from _words(file)
    yield from _table(found)
    yield from _failures(found)


def _words(file: EngineFile) -> Iterator[str]:
    table = file.table
    if not table.does:
        return
    yield from (f"**{table.title}** (`{file.name}`). {table.does}", "")
    if table.docs:
        yield f"- Documentation: {table.docs}"
    if table.better:
        yield f"- Better: {table.better}"
    yield ""


def _table(found: list[tuple[EngineFile, Kept]]) -> Iterator[str]:
    yield from ("## Table", "", "✓ PASS, ✗ FAIL, ? INFRA (nothing proved), · SKIP (not declared)", "")
    yield f"| engine | version | {' | '.join(ORDER)} | cells | notices within | date |"
    yield "|---|---|" + "---|" * (len(ORDER) + 3)
    for file, made in found:
        told = made.check
        signs = " | ".join(SIGNS[told.properties[name].verdict] for name in ORDER)
        version, detect = (told.declared.version, f"{told.declared.detect_s:g} s") if told.declared else ("", "")
        version = file.table.declare.get("version", version)
        yield f"| {file.name} | {version} | {signs} | {len(told.settled)} | {detect} | {made.date} |"
    yield ""
    yield from (f"- {name}: {BY_NAME[name].claim}" for name in ORDER)


def _failures(found: list[tuple[EngineFile, Kept]]) -> Iterator[str]:
    yield from ("", "## What failed, and where", "")
    for file, made in found:
        told = made.check
        if told.infra or told.missing:
            yield from (f"**{file.name}**: {_clean(told.infra or told.missing)}", "")
            continue
        rows = [(name, one) for name, one in told.properties.items() if one.verdict in ("FAIL", "INFRA")]
        if not rows:
            continue
        yield f"**{file.name}** ({len(told.settled)} cells, {made.seconds:.0f} s)"
        yield ""
        known = {one.property: one.reason for one in file.known}
        for name, one in rows:
            why = f" Known: {known[name]}." if name in known else ""
            yield f"- {name} {one.verdict}: {_clean(one.reason)}{why}"
        yield ""


def _clean(reason: str) -> str:
    first = reason.split("; ", maxsplit=1)[0]
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


def main() -> int:
    """Check what is asked for, and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument(
        "--cell", action="append", default=[], help="only this cell; the table says how many there were"
    )
    parser.add_argument("--rounds", type=int, default=0)
    asked = parser.parse_args()
    found = []
    for file in enginefile.shipped():
        again = file.name in asked.only or (not asked.only and not asked.rounds)
        made = checked(file, tuple(asked.cell)) if again else kept(file)
        if made:
            found.append((file, made))
    if asked.write:
        asked.write.write_text("\n".join(page(found)) + "\n")
    return rounds(asked.rounds)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
