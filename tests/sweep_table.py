"""Real packages under refused allocations: the table of docs/sweep.md.

    make sweep                                       # python tests/sweep_table.py --write docs/sweep.md
    python tests/sweep_table.py --only orjson_loads  # this again; the others from their last measurement
    make sweep ARGS=--speed                          # the last column alone: a refusal's time beside a process's for it

Packages are pinned, and installed into a folder of the cache. A row is kept under build/sweep. Each call is swept at
each site and then densely; each crash finding is looked at by gdb, in a process of its own without our handlers.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import hashlib
import inspect
import itertools
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
from harness.refusals.aim import Marksman
from harness.refusals.conduct import Tell
from harness.refusals.outcome import Report, command_line, report
from harness.refusals.preparation import prepare
from harness.refusals.server import Call
from harness.refusals.stacks import telling
from harness.refusals.surroundings import settled
from harness.refusals.targets import Plan, choose
from harness.refusals.verdicts import UNPROVED, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.refusals.conduct import MakeHost
    from harness.refusals.findings import Finding

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
TURNS = 15  # refusals in each of the two ways
LISTED = 3  # findings of a call that are spelled out
BETWEEN = "<!-- measured by `make sweep` -->", "<!-- until here -->"


class Row(msgspec.Struct):
    """One call, measured. Keys are those of findings; `by_gdb` of `deadly` findings were seen by gdb as well.

    `gain` is that of a server over fresh processes, `share` what the calls themselves take of a refusal's time there.
    """

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
    gain: float = 0.0
    share: float = 0.0
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


def swept(name: str, plan: Plan) -> Report:
    """One sweep. Raises InfraError where there is nothing to sweep."""
    one = subject.function(f"sweep_calls:{name}", Call(""))
    return report(one.name, conduct.sweep(one.host(plan), plan, Tell()), command_line([one.name]))


PROGRAM = """
import sys
sys.path[:] = {path!r}
import os, sweep_calls
for _ in range(4): sweep_calls.{name}()
os.access("/crash-harness/begin", os.F_OK)
try: sweep_calls.{name}()
finally: os.access("/crash-harness/end", os.F_OK)
sweep_calls.{name}()
"""


ALONE = """
import sys
sys.path[:] = {path!r}
import sweep_calls, time
def timed(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
print(sorted(timed(sweep_calls.{name}) for _ in range({turns}))[{turns} // 2])
"""


def alone(name: str) -> float:
    """Seconds that a call takes where nothing is refused, nor ever was."""
    program = ALONE.format(path=sys.path, name=name, turns=TURNS)
    line = [sys.executable, "-P", "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=settled(os.environ))
    return float(done.stdout)


def gain(name: str) -> tuple[float, float]:
    """How many times as long a refusal takes in a process of its own, as `sweep -- python …` makes it.

    Both do the same: the warm-up, the call with the refusal, the next call. They take turns, so that a load meets both.
    The second number is the part of a refusal's time that the two calls take by themselves.
    """
    plan = Plan(modes=("once",))
    program = PROGRAM.format(path=sys.path, name=name)
    server = subject.function(f"sweep_calls:{name}", Call("")).host(plan)
    fresh = subject.command((sys.executable, "-P", "-c", program), plan).host(plan)
    with contextlib.ExitStack() as stack:
        shots = [stack.enter_context(_shooting(host, plan)) for host in (server, fresh)]
        times = [[shoot() for shoot in shots] for _ in range(TURNS)]
    ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    found, share = float(theirs / ours), min(1.0, 2 * alone(name) / ours)
    ways = f"{ours * 1000:.1f} ms a refusal, {theirs * 1000:.0f} ms in a process of its own"
    say(f"{name}: {ways}: {found:.0f} x; {share:.0%} of a refusal are the two calls")
    return found, share


@contextlib.contextmanager
def _shooting(make_host: MakeHost, plan: Plan) -> Iterator[Callable[[], float]]:
    """What makes the next refusal of a recording, and returns the seconds it took; after the last the first again."""
    with contextlib.closing(make_host()) as host:
        ready = prepare(host, plan)
        targets = itertools.cycle(choose(ready.targets(plan), plan))
        with contextlib.closing(Marksman(make_host, plan, ready, ready)) as marksman:

            def shoot() -> float:
                began = time.monotonic()
                list(marksman.hit(next(targets)))
                return time.monotonic() - began

            yield shoot


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
    row.gain, row.share = gain(name)
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
    counted = " | ".join(SHOWN)
    yield f"| call | allocations | sites | refusals | {counted} | findings | of dense | by gdb | × fresh |"
    yield "|---|" + "---|" * (len(SHOWN) + 7)
    for row in swept_rows:
        counts = " | ".join(str(row.tally.get(verdict, "")) for verdict in SHOWN)
        found = f"{len({*row.keys} & {*row.dense_keys})} of {len(row.dense_keys)}"
        gdb = f"{row.by_gdb} of {row.deadly}" if row.deadly else ""
        yield (
            f"| `{row.name}` | {row.calls} | {row.sites} | {row.trials} | {counts} | {len(row.keys)} | {found} | {gdb}"
            f" | {row.gain:.0f} |"
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
    yield f"- {len(rows)} calls, {all_trials:,} refusals, {sum(len(row.keys) for row in rows)} findings."
    share = f"{trials:,} of its {dense:,} refusals ({trials / dense:.0%})"
    yield f"- Sites find {found} of the {wanted} findings of `--dense` with {share}."
    yield f"- gdb, in a process of its own, sees {by_gdb} of {deadly} crashes and aftershocks."
    yield f"- {proved / all_trials:.1%} of the refusals were those that were meant; any other is told as not proved."
    yield _gains([(row.gain, row.share) for row in rows])


GAINS = "times as fast as a process for each refusal"


def _gains(found: list[tuple[float, float]]) -> str:
    gains, shares = zip(*found, strict=True)
    middle, share = statistics.median(gains), statistics.median(shares)
    own = f"of a refusal's time the calls take {min(shares):.0%} to {max(shares):.0%} (median {share:.0%})"
    return f"- {min(gains):.0f} to {max(gains):.0f} {GAINS} (median {middle:.0f}), as busy as the machine was; {own}."


def write(path: Path, rows: list[Row]) -> None:
    """Put the table where it stands in the page."""
    before, _, rest = path.read_text().partition(BETWEEN[0])
    after = rest.partition(BETWEEN[1])[2]
    path.write_text("\n".join([before + BETWEEN[0], "", *page(rows), "", BETWEEN[1]]) + after)


def time_again(asked: argparse.Namespace) -> None:
    """Measure the last column alone."""
    gains = {name: gain(name) for name in names() if name in asked.only or not asked.only}
    say(_gains(list(gains.values())))
    if asked.write:
        write_gains(asked.write, gains)


def write_gains(path: Path, gains: dict[str, tuple[float, float]]) -> None:
    """Put them into the table that is there."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        name = line.removeprefix("| `").partition("`")[0]
        if name in gains and line.startswith("| `"):
            lines[number] = f"{line.removesuffix(' |').rpartition('|')[0]}| {gains[name][0]:.0f} |"
        elif GAINS in line:
            lines[number] = _gains(list(gains.values()))
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Measure what is asked for, and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--kept", action="store_true", help="measure nothing: write what was measured last")
    parser.add_argument("--speed", action="store_true", help="the last column alone, of each call or of --only")
    parser.add_argument("--dense-s", type=float, default=180.0, help="seconds that a dense sweep may take")
    asked = parser.parse_args()
    sys.path[:0] = [str(HERE), str(install())]
    KEPT.mkdir(parents=True, exist_ok=True)
    if asked.speed:
        time_again(asked)
        return
    rows = []
    for name in names():
        place = KEPT / f"{name}.json"
        is_asked = name in asked.only or not asked.only
        if is_asked and not asked.kept:
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
