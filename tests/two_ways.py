"""Programs that run alone and under supervision, and how that is compared. Each is a row in tests/programs/*.toml.

Both ways have the same standard input, environment and kind of folder, and what they print goes into pipes.
"""

from __future__ import annotations

import difflib
import fcntl
import hashlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import msgspec

from harness.engine.durable import steps
from harness.journal import read
from harness.machine import no_tool
from harness.reading import read_toml
from harness.supervisor.process import decode_status

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PROGRAMS, NATIVE = HERE / "programs", HERE / "native"
BUILD = HERE.parent / "build" / "transparency"
PATIENCE_S = 60
MARK = "TRANSPARENCY"
EXEC = "@EXEC@"  # in a program's `around`: where the one who starts the command stands
OURS = re.compile(rb"\n?attempt 1: [^\n]*\n[A-Z_]+ after 1 attempt[^\n]*\n")
Part = Literal["status", "stdout", "stderr", "files"]
PARTS: tuple[Part, ...] = ("status", "stdout", "stderr", "files")


class Build(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a file is made that programs share: a command for bash, in which $SOURCES, $NATIVE and $BUILT are set."""

    name: str
    command: str
    needs: tuple[str, ...] = ()


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One program: a command as `run`, a `bash` or a `python` text, or `around`, which starts a command itself.

    `about` is one line of the page. `needs` are commands, "root", or "/a/file"; `build` names what has to be made, and
    is found on the PATH then. `stdin` is text, and nothing without it. `files` are there before it begins. `noise` are
    patterns of what differs from run to run. `differs` says why a difference can't be avoided. `quick` programs need
    nothing but a C compiler, Python, a shell and coreutils, and are among the tests.
    """

    name: str
    about: str
    run: tuple[str, ...] = ()
    bash: str = ""
    python: str = ""
    around: str = ""
    build: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    stdin: str = ""
    files: dict[str, str] = {}
    noise: tuple[str, ...] = ()
    differs: str = ""
    quick: bool = False

    def words(self) -> list[str]:
        """The command."""
        if self.bash:
            return ["bash", "-c", self.bash]
        if self.python:
            return ["python3", "-S", "-c", self.python]
        places = {"@BUILT@": BUILD, "@SOURCES@": PROGRAMS, "@PYTHON@": sys.executable}
        return [re.sub("@[A-Z]+@", lambda found: str(places[found[0]]), word) for word in self.run]


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of programs of one kind."""

    kind: str
    program: tuple[Program, ...]
    build: tuple[Build, ...] = ()


class Outcome(NamedTuple):
    """What came of a program: how it ended, what it printed, and the files that it made, changed or removed."""

    status: str
    stdout: bytes
    stderr: bytes
    files: dict[str, str]


Way: TypeAlias = Callable[[Program, Path, Path], Outcome]
"""Runs a program in a folder that was prepared, and may keep notes in another."""


@cache
def kinds() -> tuple[Kind, ...]:
    """All programs, by kind."""
    return tuple(read_toml(file, Kind) for file in sorted(PROGRAMS.glob("*.toml")))


def programs() -> Iterator[Program]:
    """All programs."""
    for one in kinds():
        yield from one.program


# --- what has to be there ---


def environment() -> dict[str, str]:
    """The same for all, so that nobody's own decides."""
    path = f"{BUILD}:{os.environ.get('PATH', os.defpath)}"
    return {
        "PATH": path,
        "HOME": str(BUILD),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "USER": "nobody",
        MARK: str(os.getpid()),
    }


def _lacks(need: str) -> str:
    if need == "root":
        return "" if os.geteuid() == 0 else "takes root"
    if need.startswith("/"):
        return "" if Path(need).exists() else f"{need} is not there"
    return no_tool(need)


@cache
def builds() -> dict[str, Build]:
    """All that can be built, by name."""
    return {build.name: build for one in kinds() for build in one.build}


@cache
def _made(name: str) -> str:
    """Make a file, unless it is there; why it can't be made, or nothing. Others may want it at the same moment."""
    build = builds()[name]
    if lacking := next(filter(None, map(_lacks, build.needs)), ""):
        return lacking
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, of_what = BUILD / f"{name}.made", f"{_newest()} {build.command}"
        if stamp.exists() and stamp.read_text() == of_what:
            return ""
        reason = _make(build)
        if not reason:
            stamp.write_text(of_what)
        return reason


def _newest() -> int:
    """When a source was changed last."""
    return max(path.stat().st_mtime_ns for folder in (PROGRAMS, NATIVE) for path in folder.rglob("*"))


def _make(build: Build) -> str:
    places = {"SOURCES": PROGRAMS, "NATIVE": NATIVE, "BUILT": BUILD, "PYTHON": os.path.realpath(sys.executable)}
    environment = os.environ | {key: str(place) for key, place in places.items()}
    command = ["bash", "-ec", build.command]
    done = subprocess.run(command, env=environment, cwd=BUILD, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{build.name}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}"


def missing(program: Program) -> str:
    """Why a program can't run here, or nothing."""
    return next(filter(None, chain(map(_lacks, program.needs), map(_made, ("teller", *program.build)))), "")


# --- two ways to run it ---


def prepare(program: Program, folder: Path) -> None:
    """Make its folder as it wants it."""
    for name, text in program.files.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755 if text.startswith("#!") else 0o644)


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        with suppress(OSError):
            data = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            yield str(path.relative_to(folder)), f"{path.lstat().st_mode:o} ".encode() + data


def cleaned(program: Program, folder: Path, data: bytes) -> bytes:
    """Without what differs from run to run."""
    data = data.replace(str(folder).encode(), b"FOLDER")
    for pattern in program.noise:
        data = re.sub(pattern.encode(), b"*", data)
    return data


def outcome(program: Program, folder: Path, status: str, stdout: bytes, stderr: bytes) -> Outcome:
    """Put together what came of it."""
    files = {
        cleaned(program, folder, name.encode()).decode(): hashlib.sha256(cleaned(program, folder, data)).hexdigest()[
            :16
        ]
        for name, data in _contents(folder)
    }
    return Outcome(status, cleaned(program, folder, stdout), cleaned(program, folder, stderr), files)


def end_what_is_left() -> None:
    """End what a bare program left behind; it has our mark in its environment."""
    mark = f"{MARK}={os.getpid()}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)


def _start(program: Program, starter: list[str], folder: Path) -> tuple[bytes, bytes]:
    """Run a command behind who starts it, and return its output."""
    words = ["bash", "-c", program.around.replace(EXEC, shlex.join(starter))] if program.around else []
    with tempfile.TemporaryFile() as stdin:
        stdin.write(program.stdin.encode())
        stdin.seek(0)
        try:
            done = subprocess.run(
                words or [*starter, *program.words()],
                cwd=folder,
                env=environment(),
                stdin=stdin if program.stdin else subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=PATIENCE_S,
            )
        except subprocess.TimeoutExpired as late:
            return late.stdout or b"", f"no end in {PATIENCE_S} s".encode()
    return done.stdout, done.stderr


def bare(program: Program, folder: Path, notes: Path) -> Outcome:
    """With nothing between but a parent that tells its wait status."""
    told = notes / "status"
    stdout, stderr = _start(program, [str(BUILD / "teller"), str(told)], folder)
    said = told.read_text() if told.exists() else ""
    status = str(decode_status(int(said))) if said else "nothing was told"
    return outcome(program, folder, status, stdout, stderr)


def executed(program: Program, folder: Path, notes: Path) -> Outcome:
    """Under `crash-harness exec`, whose history has the wait status."""
    kept = notes / "history"
    ours = [str(Path(sys.executable).with_name("crash-harness")), "exec", "--max-attempts", "1", "--stdin", "inherit"]
    stdout, stderr = _start(program, [*ours, "--history", str(kept), "--"], folder)
    said = OURS.sub(b"\n", stderr).rstrip(b"\n")
    return outcome(program, folder, _status(kept) or said.decode(errors="replace"), stdout, said)


def _status(kept: Path) -> str:
    if not kept.exists():
        return ""
    with read(kept) as reading:
        job = reading.job
        attempts = [one.attempt for one in steps(reading, job.titles[0])] if job else []
    return next((str(one.evidence.termination) for one in attempts if one), "")


# --- compared ---


class Comparison(NamedTuple):
    """What was found of one program. `skipped` is why it could not run; `unsteady`: its own two bare runs differ."""

    program: Program
    status: str = ""
    differs: tuple[Part, ...] = ()
    unsteady: tuple[Part, ...] = ()
    skipped: str = ""

    @property
    def word(self) -> str:
        """What the table says."""
        if self.skipped:
            return f"skipped: {self.skipped}"
        if self.unsteady:
            return f"**unsteady**: {', '.join(self.unsteady)}"
        return f"**differs**: {', '.join(self.differs)}" if self.differs else "same"


def differences(one: Outcome, other: Outcome) -> tuple[Part, ...]:
    """The parts in which two outcomes differ; a last line that `exec` had to end is no difference."""
    pair = [way._replace(stderr=way.stderr.rstrip(b"\n")) for way in (one, other)]
    return tuple(part for part in PARTS if getattr(pair[0], part) != getattr(pair[1], part))


def live(program: Program, way: Way) -> Outcome:
    """Run it in a new folder."""
    with tempfile.TemporaryDirectory(prefix="program-") as folder, tempfile.TemporaryDirectory() as notes:
        prepare(program, Path(folder))
        Path(folder).chmod(0o755)
        return way(program, Path(folder), Path(notes))


def compare(program: Program, way: Way = executed) -> Comparison:
    """Run it both ways; where they differ, alone once more, to see whether it differs from itself."""
    if reason := missing(program):
        return Comparison(program, skipped=reason)
    alone, under = live(program, bare), live(program, way)
    differs = differences(alone, under)
    unsteady = differences(alone, live(program, bare)) if differs else ()
    return Comparison(program, alone.status, differs, unsteady)


def unlike(one: Outcome, other: Outcome) -> list[str]:
    """Return the lines that two outcomes do not share: "-" before those of the first, "+" before the second's."""
    lines = list[str]()
    for part in differences(one, other):
        told = difflib.ndiff(_lines(getattr(one, part)), _lines(getattr(other, part)))
        lines += [part, *(line for line in told if line[0] in "-+")]
    return lines


def _lines(value: str | bytes | dict[str, str]) -> list[str]:
    return value.decode(errors="backslashreplace").splitlines() if isinstance(value, bytes) else [str(value)]


def explain(program: Program) -> str:
    """Run it both ways once more, and tell in what they differ, for whoever has to find out why."""
    return "\n".join((program.name, *unlike(live(program, bare), live(program, executed))))
