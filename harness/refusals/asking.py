"""A plan from what a user wrote, the same for the command line, Python and pytest."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, Final

from harness.exceptions import InvalidInputError, expected, near, unknown
from harness.refusals.stacks import Rules
from harness.refusals.targets import DLOPEN, ERRNOS, FAMILIES, MODES, Plan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

BOTH: Final = "both"
WINDOWS: Final = ("start", "main", "mark")
LIBRARY: Final = f"{DLOPEN}:LIB"
MOST_DEPTH: Final = 32
SITE: Final = re.compile(r"[0-9a-f]+(:[1-9][0-9]*)?")
EXITS: Final = re.compile(r"exit\s+(\d+(?:\s*,\s*\d+)*)")
FUNCTION: Final = re.compile(r"[\w.]+:[\w.]+")
ALIASES: Final = {"thread": "threads", "file": "files"}
PROBES: Final = ("call", "call-in-thread")
PROBE_PREFIX: Final = "check:"


def plan(
    *,
    libraries: Iterable[str] = (),
    also_interpreter: bool = False,
    refuse: Iterable[str] = ("memory",),
    errors: Iterable[str] = (),
    mode: str = BOTH,
    min_size: int = 0,
    shrinks: bool = False,
    window: str | None = None,
    dense: bool = False,
    depth: int = 4,
    at: int | None = None,
    site: str | None = None,
    ok: object = None,
    leak: int = 0,
    deadline_s: float | None = None,
    time_s: float | None = None,
    jobs: int = 1,
) -> Plan:
    """Check every word. Raises InvalidInputError, which says where it stands and what was expected."""
    exits = EXITS.fullmatch(ok) if isinstance(ok, str) else None
    if isinstance(ok, str) and not exits:
        _check_predicate(ok)
    if site is not None and not (isinstance(site, str) and SITE.fullmatch(site)):
        raise expected("site", "HASH or HASH:K, as a replay line has it", site)
    return Plan(
        _words("refuse", refuse, FAMILIES) or ("memory",),
        Rules(_names("in", libraries), also_interpreter),
        MODES if mode == BOTH else _words("mode", (mode,), (*MODES, BOTH)),  # type: ignore[arg-type]  # checked there
        _words("errors", errors, ERRNOS),
        whole("min_size", min_size, 0),
        shrinks=shrinks,
        dense=dense,
        depth=whole("depth", depth, 1, MOST_DEPTH),
        at=None if at is None else whole("at", at, 1),
        site=site,
        window=None if window is None else _window(window),
        deadline_s=_seconds("deadline", deadline_s),
        time_s=_seconds("time", time_s),
        jobs=whole("jobs", jobs, 1),
        leak=whole("leak", leak, 0),
        ok_exits=tuple(int(one) for one in re.findall(r"\d+", exits[1])) if exits else (),
    )


KNOWN: Final = tuple(inspect.signature(plan).parameters)


def plan_of(given: Mapping[str, Any]) -> Plan:
    """Make a plan of keywords. Raises InvalidInputError for one that there is not, too."""
    for name in given:
        if name not in KNOWN:
            raise InvalidInputError(f"sweep: there is no {name!r}{near(name, KNOWN)}")
    return plan(**given)


def _check_predicate(ok: str) -> None:
    """Raise InvalidInputError for what is neither the name of a function nor an expression."""
    try:
        if ok and not FUNCTION.fullmatch(ok):
            compile(ok, "ok", "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise expected("ok", "module:function, 'exit 1,2' or a Python expression over value and error", ok) from error


def _window(given: object) -> str:
    """Check where a window opens."""
    if isinstance(given, str) and (given in WINDOWS or given.removeprefix(f"{DLOPEN}:") not in ("", given)):
        return given
    raise unknown("window", given, (*WINDOWS, LIBRARY))


def probe(then: str) -> str:
    """Check what comes after a refusal."""
    if then in PROBES or (isinstance(then, str) and then.startswith(PROBE_PREFIX) and ":" in then[len(PROBE_PREFIX) :]):
        return then
    raise expected("then", "call, call-in-thread or check:module:function", then)


def _names(where: str, given: Iterable[str]) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(name, str) and name for name in names):
        raise expected(where, "parts of file names", given)
    return names


def _words(where: str, given: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """Words from a known few; several may be joined by commas."""
    parts = [part.strip() for name in _names(where, given) for part in name.split(",")]
    words = [ALIASES.get(word, word) for word in parts]
    for word in words:
        if word not in known:
            raise unknown(where, word, known)
    return tuple(dict.fromkeys(words))


def whole(where: str, given: object, least: int, most: int | None = None) -> int:
    """Check a number."""
    if isinstance(given, int) and not isinstance(given, bool) and least <= given <= (most or given):
        return given
    raise expected(where, f"a whole number from {least} on" if most is None else f"{least} to {most}", given)


def _seconds(where: str, given: object) -> float | None:
    if given is None:
        return None
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 < given < float("inf"):
        return float(given)
    raise expected(where, "a number of seconds above 0", given)
