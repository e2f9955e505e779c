"""Our dialects against the published upstream package, live, on random inputs.

    make differential                   # python tests/differential.py --count 200000

Installs each version that a dialect stands for into a folder of its own, once, and needs Node 20 and npm for it. A
mismatch is shrunk to a small example, and fails. Only the last bits of a delay beyond 2^50 ms may differ: V8's pow is
not the C library's, and nothing rounds those bits away there.

    python tests/differential.py --table 4.8.3          # write the golden table of a new version
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import golden_table
import msgspec
from msgspec import UNSET

from harness.dialects import find
from harness.machine import PUBLISHED, published_folder
from harness.wire.codes import Code
from harness.wire.errors import TaskError, UnexpectedError, error_of_exit, parse_error
from harness.wire.policy import EXACT_INTEGERS, PRESETS, RetryPolicy, next_delay_ms, parse_options
from harness.wire.stored import sanitize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.dialects.builtin import BuiltIn
    from harness.wire.schema import Schema

VERSIONS = {version: find(name) for version, name in PUBLISHED.items()}
SCRIPT = Path(__file__).parent.parent / "harness" / "conformance" / "engines" / "upstream.mjs"
BATCH = 500
LAST_BITS = 1e-15
MEMBERS = {field.encode_name: field.name for field in msgspec.structs.fields(RetryPolicy)}


def install(version: str) -> None:
    """Install a version, unless it is there."""
    folder = published_folder(version)
    if (folder / "node_modules/@trigger.dev/core").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text("{}\n")
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(["npm", "install", *quiet, f"@trigger.dev/core@{version}"], check=True, cwd=folder)


# --- random inputs ---

PIECES = [
    *("SIGSEGV", "SIGTERM", "SIGKILL", "SIGABRT", "SIGBUS", "-1", "-11", "code", " after signal ", "."),
    *("OOMErrorHandler", "JavaScript heap out of memory", "Reached heap limit", "MANUAL_OOM_KILL_ERROR"),
    *("ffmpeg was killed with signal SIGKILL", "Unexpected exit with code -1", "Deadlock detected:", "\0", "\n"),
    *("\ud800", "\udc00 half", "\U0001f4a5" * 130),
    *("    at f (a.js:1:2)\n", "at g\n", "\u2028", "é", "\U0001f4a5", " " * 7, "x" * 90, "y" * 700, "\tat h\n" * 30),
]
NAMES = ["Error", "UnexpectedExitError", "TriggerApiError", "OutOfMemoryError", "AbortTaskRunError", "TypeError", ""]
WHOLE = [
    *(
        "ffmpeg was killed with signal SIGKILL",
        "MANUAL_OOM_KILL_ERROR",
        "Process exited with code -1 after signal SIGKILL.",
    ),
    *("Process exited with code -1 after signal SIGABRT.", "Unexpected exit with code -1 after signal SIGSEGV", ""),
]


class Draw(random.Random):
    """Random inputs, replayed by their seed; errors have causes where the version knows them."""

    causes = False

    def text(self) -> str:
        """Draw pieces that matter, in any order; sometimes a whole text that matters."""
        if self.random() < 0.2:
            return self.choice(WHOLE)
        return "".join(self.choice(PIECES) for _ in range(self.choice((0, 1, 2, 3, 5, 9, 20))))

    def maybe(self, value: Any, share: float = 0.2) -> Any:
        """Leave a member out now and then."""
        return UNSET if self.random() < share else value

    def error(self) -> dict[str, Any]:
        """Draw an error of one of the four types."""
        kind = self.choice(["INTERNAL_ERROR", "INTERNAL_ERROR", "BUILT_IN_ERROR", "STRING_ERROR", "CUSTOM_ERROR"])
        if kind == "INTERNAL_ERROR":
            code = Code.TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE if self.random() < 0.3 else self.choice(list(Code))
            return {
                "type": kind,
                "code": str(code),
                "message": self.maybe(self.text()),
                "stackTrace": self.maybe(self.text()),
            }
        if kind == "BUILT_IN_ERROR":
            texts = {"name": self.choice(NAMES), "message": self.text(), "stackTrace": self.text()}
            causes = {"causes": [self.cause() for _ in range(self.choice((0, 1, 2, 4, 5, 6, 7)))]}
            return {"type": kind, **texts, **(causes if self.causes and self.random() < 0.5 else {})}
        return {"type": kind, "raw": self.text()}

    def cause(self) -> dict[str, Any]:
        """Draw what led to an error."""
        texts = {"name": self.maybe(self.text()), "stackTrace": self.maybe(self.text())}
        return {"message": self.text(), **texts}

    def wild_error(self) -> Any:
        """Draw an error, and now and then a member, or a cause, that is none."""
        wild: list[Any] = [None, 3, "x", [], {}, [{"name": "x"}], [{"message": "m", "name": None}], [self.cause(), 1]]
        members = self.error()
        name = self.choice([*members, "causes", "surprise"])
        return {**members, name: self.choice([*wild, [self.cause() | {"surprise": 1}]])}

    def number(self, low: int, high: int) -> float:
        """Draw an integer, or what is nearly one; now and then one at the limit of what JavaScript tells apart."""
        value = self.randint(low, high)
        if self.random() < 0.1:
            power: int = self.choice((31, 53, 54, 63, 70))
            return int(self.choice((-1, 1)) * (2**power + self.randint(-2, 2)))
        return self.choice([value, value, value, value + 0.5, float(value), -value, 0])

    def options(self) -> dict[str, Any]:
        """Draw retry options, sound or not."""
        return {
            "maxAttempts": self.maybe(self.number(0, 12)),
            "factor": self.maybe(self.choice([1, 2, 1.5, 0, 0.01, -2, 1e300, self.number(0, 9), self.uniform(-2, 9)])),
            "minTimeoutInMs": self.maybe(self.number(0, 100_000)),
            "maxTimeoutInMs": self.maybe(self.number(0, 1_000_000)),
            "randomize": self.maybe(self.random() < 0.5),
        }

    def wild_options(self) -> Any:
        """Draw what may stand where options should."""
        wild: list[Any] = [None, "3", True, [], {}, -1, 2.5, 1e16, math.inf, -math.inf, 10**400, 2**53, 2**53 - 1]
        members: dict[str, Any] = self.options()
        for name in members:
            if self.random() < 0.1:
                members[name] = self.choice(wild)
        if self.random() < 0.3:
            members["outOfMemory"] = self.choice(
                [{}, {"machine": self.choice([*PRESETS, "huge"])}, None, "x", {"machine": None}]
            )
        return self.choice(wild) if self.random() < 0.02 else members


def _exit(draw: Draw) -> list[Any]:
    end: dict[str, Any] = {"code": draw.choice([0, 1, 137, 139, -1, draw.randint(0, 255)])}
    end["signal"] = draw.choice([None, "SIGSEGV", "SIGKILL", "SIGTERM", "SIGABRT", "SIGBUS"])
    return [end | {"stderr": draw.maybe(draw.text())}, draw.random() < 0.8]


# --- our answers ---


def _error(members: dict[str, Any]) -> TaskError:
    return msgspec.convert(_present(members), TaskError)


def _present(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _present(member) for key, member in value.items() if member is not UNSET}
    return [_present(member) for member in value] if isinstance(value, list) else value


def _policy(options: dict[str, Any]) -> RetryPolicy:
    return RetryPolicy(**{MEMBERS[key]: member for key, member in _present(options).items()})


def _sanitized(schema: Schema, members: dict[str, Any]) -> Any:
    return msgspec.to_builtins(sanitize(_error(members), schema))


def _delay(options: dict[str, Any], attempt: int, draw: float) -> Any:
    delay = next_delay_ms(_policy(options), attempt, draw)
    return UNSET if delay is None else delay


def _parsed(parse: Callable[[object, Schema], object], schema: Schema, value: Any) -> Any:
    try:
        return {"success": True, "data": msgspec.to_builtins(parse(_present(value), schema))}
    except ValueError:
        return {"success": False}


class Function(NamedTuple):
    """One function of upstream's: random arguments, and our answer."""

    arguments: Callable[[Draw], list[Any]]
    ours: Callable[..., Any]


def functions(dialect: BuiltIn) -> dict[str, Function]:
    """Return all that are compared, by the oracle's names."""
    one_error: Callable[[Draw], list[Any]] = lambda draw: [draw.error()]  # noqa: E731 -- named for the table
    return {
        "exit": Function(
            _exit,
            lambda end, docker: msgspec.to_builtins(
                error_of_exit(end["code"], end["signal"], None if end["stderr"] is UNSET else end["stderr"], docker)
            ),
        ),
        "oom": Function(one_error, lambda members: dialect.is_oom(_error(members))),
        "retriable": Function(one_error, lambda members: dialect.is_retriable(_error(members))),
        "looked_up": Function(one_error, lambda members: dialect.is_looked_up(_error(members))),
        "enhance": Function(one_error, lambda members: msgspec.to_builtins(dialect.enhance(_error(members)))),
        "sanitize": Function(one_error, partial(_sanitized, dialect.schema)),
        "delay": Function(lambda draw: [draw.options(), draw.randint(0, 260), draw.random()], _delay),
        "options": Function(lambda draw: [draw.wild_options()], partial(_parsed, parse_options, dialect.schema)),
        "error": Function(lambda draw: [draw.wild_error()], partial(_parsed, parse_error, dialect.schema)),
    }


# --- the comparison ---


class Upstream:
    """A version of the package in a process of its own."""

    def __init__(self, version: str) -> None:
        command = ["node", str(SCRIPT), str(published_folder(version)), "calls"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, name: str, calls: list[list[Any]]) -> list[Any]:
        """Answer a batch."""
        assert self._process.stdin
        assert self._process.stdout
        question = {"fn": name, "calls": _spelled(_present(calls))}
        self._process.stdin.write(json.dumps(question, allow_nan=False).encode() + b"\n")
        self._process.stdin.flush()
        answers: list[Any] = json.loads(self._process.stdout.readline(), object_hook=_decode)
        return answers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _spelled(value: Any) -> Any:
    """Mark the numbers that JSON has no words for."""
    if isinstance(value, dict):
        return {key: _spelled(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_spelled(member) for member in value]
    return {"$num": "Infinity" if value > 0 else "-Infinity"} if value in (math.inf, -math.inf) else value


def _decode(members: dict[str, Any]) -> Any:
    if "$undefined" in members:
        return UNSET
    return float(members["$num"]) if "$num" in members else members


def answer(function: Function, arguments: list[Any]) -> Any:
    """Return our answer, in the oracle's shape."""
    try:
        return {"value": function.ours(*arguments)}
    except UnexpectedError as error:
        return {"throws": str(error)}


def same(left: Any, right: Any) -> bool:
    """Equal, member by member; NaN is NaN, absent and undefined are one, and delays beyond 2^50 agree but for bits."""
    if isinstance(left, dict) and isinstance(right, dict):
        left, right = _present(left), _present(right)
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    if isinstance(left, str) and isinstance(right, str):
        return units(left) == units(right)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(itertools.starmap(same, zip(left, right, strict=True)))
    if is_inexact(left) and is_inexact(right):
        return math.isclose(left, right, rel_tol=LAST_BITS)
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def units(text: str) -> bytes:
    """A text as JavaScript has it: two halves of a surrogate pair that came together are a pair."""
    return text.encode("utf-16-le", "surrogatepass")


def is_inexact(value: Any) -> bool:
    """Whether it is so large that a last bit of pow may be a millisecond: no sound policy waits 35,000 years."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) > EXACT_INTEGERS / 8


def smaller(value: Any) -> Iterator[Any]:
    """Values like this one, with something left out."""
    if isinstance(value, str):
        for size in (len(value) // 2, len(value) // 4, 1):
            yield from (value[:at] + value[at + size :] for at in range(0, len(value), size or 1) if size)
    elif isinstance(value, dict):
        for key, member in value.items():
            if key in {"type", "code", "signal"}:
                continue
            if key != "stderr":
                yield {other: value[other] for other in value if other != key}
            yield from (value | {key: one} for one in smaller(member))
    elif isinstance(value, list):
        for at, member in enumerate(value):
            yield from ([*value[:at], one, *value[at + 1 :]] for one in smaller(member))


def shrink(upstream: Upstream, name: str, function: Function, arguments: list[Any]) -> list[Any]:
    """Leave out what the mismatch does not need."""

    def differs(candidate: list[Any]) -> bool:
        try:
            return not same(upstream.ask(name, [candidate])[0], answer(function, candidate))
        except (KeyError, TypeError, msgspec.ValidationError):
            return False

    while True:
        found = next((one for one in itertools.islice(smaller(arguments), 2000) if differs(one)), None)
        if found is None:
            return arguments
        arguments = found


def compare(version: str, count: int, seed: int, tell: Callable[[str], object]) -> int:
    """Compare `count` random calls of each function; returns the number of functions that disagree."""
    wrong = 0
    with Upstream(version) as upstream:
        for name, function in functions(VERSIONS[version]).items():
            draw, began = Draw(f"{seed}/{version}/{name}"), time.monotonic()
            draw.causes = VERSIONS[version].schema.causes
            bad = _first_mismatch(upstream, name, function, draw, count)
            if bad is None:
                tell(f"{version} {name}: {count} calls, 0 mismatches, {time.monotonic() - began:.0f} s")
                continue
            wrong += 1
            small = shrink(upstream, name, function, bad)
            theirs, ours = upstream.ask(name, [small])[0], answer(function, small)
            tell(f"{version} {name}: MISMATCH\n  asked    {small!r}\n  upstream {theirs!r}\n  ours     {ours!r}")
    return wrong


def _first_mismatch(upstream: Upstream, name: str, function: Function, draw: Draw, count: int) -> list[Any] | None:
    for done in range(0, count, BATCH):
        calls = [function.arguments(draw) for _ in range(min(BATCH, count - done))]
        for arguments, theirs in zip(calls, upstream.ask(name, calls), strict=True):
            if not same(theirs, answer(function, arguments)):
                return arguments
    return None


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description="Our dialects against the published upstream package")
    parser.add_argument("--count", type=int, default=200_000, help="calls of each function")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", metavar="VERSION", help="write the golden table of this version instead")
    options = parser.parse_args()
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            sys.stderr.write(f"{tool} is not installed\n")
            return 3
    for version in VERSIONS:
        install(version)
    if options.table:
        sys.stdout.write(f"{golden_table.write(options.table)}\n")
        return 0
    tell: Callable[[str], object] = lambda line: print(line, flush=True)  # noqa: E731, T201 -- the answer
    wrong = sum(compare(version, options.count, options.seed, tell) for version in VERSIONS)
    tell(f"{wrong} functions differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
