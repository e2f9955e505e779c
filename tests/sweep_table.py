"""Real packages under refused allocations: the table of docs/sweep.md.

    make sweep                                       # python tests/sweep_table.py --write docs/sweep.md
    python tests/sweep_table.py --only orjson_loads  # this again; the others from their last measurement

Packages are pinned, and installed into a folder of the cache. A row is kept under build/sweep. Each call is swept at
each site and then densely; each crash finding is looked at by gdb, in a process of its own without our handlers.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import hashlib
import inspect
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.exceptions import InfraError
from harness.refusals import conduct, subject
from harness.refusals.conduct import Tell
from harness.refusals.outcome import Report, command_line, report
from harness.refusals.server import Call
from harness.refusals.stacks import telling
from harness.refusals.targets import Plan
from harness.refusals.verdicts import UNPROVED, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.refusals.findings import Finding
    from harness.refusals.preparation import Ready
    from harness.refusals.refusal import Refusal

HERE = Path(__file__).parent
KEPT = HERE.parent / "build" / "sweep"
PACKAGES = (
    *("orjson==3.13.0", "ujson==6.1.0", "simplejson==4.3.0", "msgpack==1.2.4", "PyYAML==6.0.4", "lxml==6.1.3"),
    *("pillow==13.0.0", "numpy==2.4.6", "opencv-python-headless==5.0.0.93", "h5py==3.16.0", "regex==2026.11.19"),
    *("greenlet==3.5.6", "cryptography==50.0.2", "cffi==2.1.1"),
)
DEADLY = frozenset({Verdict.CRASH, Verdict.AFTERSHOCK})
LATER = frozenset({Verdict.AFTERSHOCK, Verdict.DAMAGED, Verdict.HANG_AFTER})
SHOWN = ("handled", "absorbed", "disguised", "crash", "abort", "exit127", "hang", "wrong", "hang-after")
FRESH_RUNS = 3
LISTED = 3  # findings of a call that are spelled out
BETWEEN = "<!-- measured by `make sweep` -->", "<!-- until here -->"


class Row(msgspec.Struct):
    """One call, measured. Keys are those of findings; `by_gdb` of `deadly` findings were seen by gdb as well."""

    name: str
    date: str
    calls: int = 0
    sites: int = 0
    trials: int = 0
    dense: int = 0
    keys: tuple[str, ...] = ()
    dense_keys: tuple[str, ...] = ()
    deadly: int = 0
    by_gdb: int = 0
    proved: int = 0
    tally: dict[str, int] = {}
    a_second: float = 0.0
    fresh_s: float = 0.0
    says: tuple[str, ...] = ()
    why: str = ""


def say(line: str) -> None:
    """Say how far it is."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def install() -> Path:
    """The folder with the packages."""
    digest = hashlib.blake2b("\n".join(PACKAGES).encode(), digest_size=4).hexdigest()
    base = os.environ.get("XDG_CACHE_HOME", "")
    place = (Path(base) if base.startswith("/") else Path.home() / ".cache") / "crash-harness" / f"sweep-{digest}"
    if not (place / "installed").exists():
        say(f"{place}: {', '.join(PACKAGES)}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
        subprocess.run([*pip, "--target", str(place), *PACKAGES], check=True)
        (place / "installed").touch()
    return place


def names() -> list[str]:
    """Every call, in the order of the file."""
    module = __import__("sweep_calls")
    return [name for name, one in vars(module).items() if inspect.isfunction(one) and not name.startswith("_")]


# --- measuring ---


class Watch(Tell):
    """Knows how long the refusals took: not the start of the server, the recording, or what is lived again."""

    def __init__(self) -> None:
        self._began = self._ended = 0.0
        self._refusals = 0

    @property
    def a_second(self) -> float:
        """Refusals."""
        return self._refusals / max(self._ended - self._began, 1e-9)

    def begins(self, ready: Ready) -> None:  # noqa: ARG002 -- the moment alone
        """The recording is there."""
        self._began = time.monotonic()

    def refused(self, refusal: Refusal, done: int, total: int) -> None:  # noqa: ARG002 -- the moment alone
        """One more."""
        self._ended = time.monotonic()
        self._refusals += 1


def swept(name: str, plan: Plan, watch: Tell | None = None) -> Report:
    """One sweep. Raises InfraError where there is nothing to sweep."""
    one = subject.function(f"sweep_calls:{name}", Call(""))
    return report(one.name, conduct.sweep(one.host(plan), plan, watch or Tell()), command_line([one.name]))


def fresh_s(name: str) -> float:
    """What one trial would take in a process of its own: start, import, warm up, call."""
    program = f"import sys; sys.path[:0] = {sys.path!r}; import sweep_calls\nfor _ in range(4): sweep_calls.{name}()"
    env = {**os.environ, "PYTHONMALLOC": "malloc"}
    times = []
    for _ in range(FRESH_RUNS):
        began = time.monotonic()
        subprocess.run([sys.executable, "-P", "-c", program], check=True, env=env, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - began)
    return statistics.median(times)


def is_seen_by_gdb(name: str, finding: Finding) -> bool:
    """Whether gdb stops at the same signal, with the same function among the innermost."""
    target = finding.first.target
    plan = Plan(modes=(target.mode,), site=target.name)
    one = subject.function(f"sweep_calls:{name}", Call(""))
    try:
        text = conduct.debug(one.host(plan), plan)
    except InfraError as error:
        say(f"  gdb: {error}")
        return False
    frames = " ".join(re.findall(r"^#\d+ .*$", text, re.MULTILINE)[:8])
    wanted = [frame.partition("!")[2].split("(")[0].split("<")[0] for frame in telling(finding.first.crash, 2)]
    named = [word.rpartition("::")[2] for word in wanted if word]
    agrees = not named or any(word in frames for word in named)
    return bool(re.search(r"signal (?!0\b)\d+", text)) and agrees


def keys(told: Report) -> tuple[str, ...]:
    """Of what was found."""
    return tuple(one.key for one in told.findings if not one.is_unproved)


def measure(name: str, time_s: float) -> Row:
    """All that a row says."""
    row = Row(name, f"{dt.datetime.now(tz=dt.UTC):%Y-%m-%d}")
    try:
        sites = swept(name, Plan())
        dense = swept(name, Plan(dense=True, time_s=time_s))
    except InfraError as error:
        row.why = str(error)
        return row
    deadly = [one for one in sites.findings if one.verdict in DEADLY]
    row.calls, row.sites, row.trials, row.dense = sites.calls, sites.sites, sites.trials, dense.trials
    row.keys, row.dense_keys = keys(sites), keys(dense)
    row.deadly, row.by_gdb = len(deadly), sum(is_seen_by_gdb(name, one) for one in deadly)
    row.proved = sum(one.verdict not in UNPROVED for one in sites.refusals)
    row.tally = sites.tally
    row.says = tuple(_says(one) for one in sites.findings if one.fails)
    row.why = "" if dense.is_finished else f"dense was cut after {dense.trials} refusals"
    return measure_speed(row)


def measure_speed(row: Row) -> Row:
    """The same row with its times: what a refusal takes in the mode `once`, and a process for itself."""
    watch = Watch()
    swept(row.name, Plan(modes=("once",)), watch)
    row.a_second, row.fresh_s = watch.a_second, fresh_s(row.name)
    return row


def _says(finding: Finding) -> str:
    first = finding.first
    where = " < ".join(telling(first.crash, 2)) or first.detail
    asked = telling(first.refused, 1)
    return f"{first.verdict}: {where}; refused to {asked[0] if asked else '?'} ({', '.join(finding.modes)})"


# --- the page ---


def page(rows: list[Row]) -> Iterator[str]:
    """What stands between the marks."""
    swept_rows = [row for row in rows if row.trials]
    python = f"{platform.machine()}, Python {platform.python_version()}"
    yield f"Measured on {max(row.date for row in rows)}: {python}, glibc"
    packages = ", ".join(word.replace("==", " ") for word in PACKAGES)
    yield f"{platform.libc_ver()[1]}; {packages}; sqlite3, zlib and lzma of Python."
    yield ""
    yield from _sums(swept_rows)
    yield ""
    yield f"| call | allocations | sites | refusals | {' | '.join(SHOWN)} | findings | of dense | by gdb | × fresh |"
    yield "|---|" + "---|" * (len(SHOWN) + 7)
    for row in swept_rows:
        counts = " | ".join(str(row.tally.get(verdict, "")) for verdict in SHOWN)
        found = f"{len({*row.keys} & {*row.dense_keys})} of {len(row.dense_keys)}"
        gdb = f"{row.by_gdb} of {row.deadly}" if row.deadly else ""
        yield (
            f"| `{row.name}` | {row.calls} | {row.sites} | {row.trials} | {counts} | {len(row.keys)} | {found} | {gdb}"
            f" | {row.a_second * row.fresh_s:.0f} |"
        )
    yield ""
    yield from (f"- `{row.name}`: {row.why}" for row in rows if row.why)
    absent = [name for name in names() if name not in {row.name for row in rows}]
    yield from (f"- `{name}`: not measured" for name in absent)
    yield from ("", "What fails, by call:", "")
    for row in swept_rows:
        yield from (f"- `{row.name}` {line.replace('<', '&lt;').replace('*', '`*`')}" for line in row.says[:LISTED])
        if len(row.says) > LISTED:
            yield f"- `{row.name}`: and {len(row.says) - LISTED} more"


def _sums(rows: list[Row]) -> Iterator[str]:
    whole = [row for row in rows if not row.why]
    trials, dense = sum(row.trials for row in whole), sum(row.dense for row in whole)
    found = sum(len({*row.keys} & {*row.dense_keys}) for row in whole)
    wanted = sum(len(row.dense_keys) for row in whole)
    deadly, by_gdb = sum(row.deadly for row in rows), sum(row.by_gdb for row in rows)
    proved, all_trials = sum(row.proved for row in rows), sum(row.trials for row in rows)
    gains = sorted(row.a_second * row.fresh_s for row in rows)
    yield f"- {len(rows)} calls, {all_trials:,} refusals, {sum(len(row.keys) for row in rows)} findings."
    share = f"{trials:,} of its {dense:,} refusals ({trials / dense:.0%})"
    yield f"- Sites find {found} of the {wanted} findings of `--dense` with {share}."
    yield f"- gdb, in a process of its own, sees {by_gdb} of {deadly} crashes and aftershocks."
    yield f"- {proved / all_trials:.1%} of the refusals were those that were meant; any other is told as not proved."
    middle = statistics.median(gains)
    gain = f"{gains[0]:.0f} to {gains[-1]:.0f} times as fast as a process for each refusal"
    yield f"- {gain} (median {middle:.0f}), as busy as the machine was."


def write(path: Path, rows: list[Row]) -> None:
    """Put the table where it stands in the page."""
    before, _, rest = path.read_text().partition(BETWEEN[0])
    after = rest.partition(BETWEEN[1])[2]
    path.write_text("\n".join([before + BETWEEN[0], "", *page(rows), "", BETWEEN[1]]) + after)


def main() -> None:
    """Measure what is asked for, and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--kept", action="store_true", help="measure nothing: write what was measured last")
    parser.add_argument("--speed", action="store_true", help="time what was measured last again, and nothing else")
    parser.add_argument("--dense-s", type=float, default=180.0, help="seconds that a dense sweep may take")
    asked = parser.parse_args()
    sys.path[:0] = [str(HERE), str(install())]
    KEPT.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in names():
        place = KEPT / f"{name}.json"
        is_asked = name in asked.only or not asked.only
        if asked.speed and is_asked and place.exists():
            row = measure_speed(msgspec.json.decode(place.read_bytes(), type=Row))
            place.write_bytes(msgspec.json.encode(row))
            say(f"{name}: {row.a_second:.0f} refusals a second, {row.fresh_s:.2f} s for a process")
        elif is_asked and not (asked.kept or asked.speed):
            row = measure(name, asked.dense_s)
            place.write_bytes(msgspec.json.encode(row))
            say(f"{name}: {row.trials} of {row.dense}, {row.tally}, gdb {row.by_gdb}/{row.deadly} {row.why}")
        if place.exists():
            rows.append(msgspec.json.decode(place.read_bytes(), type=Row))
    if asked.write:
        write(asked.write, rows)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
