"""Programs of many kinds, each alone and under `exec`: it must end, print and write the same.

    python tests/transparency.py --write docs/transparency.md

What differs is tried alone a second time: a program that does not resemble itself proves nothing, and is told as such.
Exits 1 when a program differs that the page does not explain.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from two_ways import PROGRAMS, Comparison, builds, compare, end_what_is_left, explain, kinds, programs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def _said(*command: str) -> str:
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        lines = (done.stdout or done.stderr).strip().splitlines()
        return lines[0] if lines else ""
    return ""


NAMELESS = {"busybox", "capsh", "dash", "tclsh"}  # tools that do not say their version
VERSIONS = {"go": "version", "java": "-version", "openssl": "version"}


def versions() -> Iterator[str]:
    """The tools that the programs need, a line each, as they name themselves."""
    needs = {need for program in programs() for need in program.needs} | {n for b in builds().values() for n in b.needs}
    for need in sorted(needs - {"root"}):
        if not need.startswith("/") and need not in NAMELESS and shutil.which(need):
            yield f"{need}: {_said(need, VERSIONS.get(need, '--version'))[:100]}"


def cell(text: str) -> str:
    """A text that a table's cell can hold."""
    return text.replace("|", "\\|")


def tables(found: Iterable[Comparison]) -> Iterator[str]:
    """A table for each kind."""
    seen = {one.program.name: one for one in found}
    for kind in kinds():
        yield f"### {kind.kind}\n\n| program | what it does | alone | under `exec` |\n|---|---|---|---|"
        for program in kind.program:
            if one := seen.get(program.name):
                yield f"| {program.name} | {cell(program.about)} | {one.status or '-'} | {cell(one.word)} |"
        yield ""


def summary(found: list[Comparison]) -> str:
    """How many are the same; of those that differ, why."""
    ran = [one for one in found if not one.skipped]
    other = [one for one in ran if one.word != "same"]
    lines = [f"{len(ran)} programs ran, {len(ran) - len(other)} are the same, {len(found) - len(ran)} skipped."]
    lines += [
        f"`{one.program.name}` differs in {', '.join(one.differs)}: {one.program.differs or 'not explained'}."
        for one in other
    ]
    return "\n".join(lines)


def page(found: list[Comparison]) -> str:
    """Write docs/transparency.md: tests/programs/page.md with what was found."""
    machine = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} processors"
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    parts = {
        "@MACHINE@": f"{machine}, {' '.join(platform.libc_ver())}, as {who}",
        "@SUMMARY@": summary(found),
        "@TABLES@": "\n".join(tables(found)).rstrip(),
        "@VERSIONS@": "\n".join(versions()),
    }
    text = (PROGRAMS / "page.md").read_text()
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description="Programs bare and under exec")
    parser.add_argument("--only", nargs="*", default=[], help="these programs, told in full where they differ")
    parser.add_argument("--write", type=Path, help="write the page there; else it is printed")
    options = parser.parse_args()
    chosen = [one for one in programs() if not options.only or any(re.fullmatch(o, one.name) for o in options.only)]
    found = []
    for number, program in enumerate(chosen, 1):
        began = time.monotonic()
        found.append(compare(program))
        end_what_is_left()
        said = f"{number}/{len(chosen)} {program.name}: {found[-1].status}, {found[-1].word}"
        sys.stderr.write(f"{said}, {time.monotonic() - began:.1f} s\n")
        if found[-1].differs:
            sys.stderr.write(f"{explain(program)}\n")
    text = page(found)
    if options.write:
        options.write.write_text(text)
    elif not options.only:
        sys.stdout.write(text)
    counts = Counter(
        one.word == "same" or bool(one.skipped) or bool(one.differs and one.program.differs) for one in found
    )
    sys.exit(1 if counts[False] else 0)


if __name__ == "__main__":
    main()
