"""What a guarded session was asked for: by command line, ini file or default; and by a test's own marks."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 -- msgspec reads the annotations of records
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec

from harness.dialects import parted
from harness.engine.policy import Policy
from harness.exceptions import InvalidInputError, expected, near, unknown
from harness.reading import read_toml
from harness.supervisor import check_timeout, parse_bytes
from harness.wire.policy import DEFAULT_PRESET, PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

Scope = Literal["session", "module", "test", "fork"]
Confirm = Literal["always", "doubtful", "never"]
Flaky = Literal["pass", "fail"]
AtExit = Literal["error", "warn", "ignore"]
DIALECT: Final = "strict"
EXCEPTIONS: Final = "exceptions"
DEADLINE: Final = "deadline"
MARKED: Final = "marked"
MARK: Final = "crash"


class Settings(msgspec.Struct, frozen=True):
    """What holds for a session. `deadline_s` is a test's, setup and teardown included; None is no bound."""

    scope: str = "session"
    retries: int = 0
    policy: Policy | None = None
    retry_on: frozenset[str] = frozenset()
    confirm: Confirm = "doubtful"
    memory: int | None = None
    deadline_s: float | None = None
    flaky: Flaky = "pass"
    at_exit: AtExit = "error"
    dialect: str = DIALECT
    history: Path | None = None
    backtrace: bool = False


class Wish(msgspec.Struct, frozen=True):
    """What holds for one test. `expect` is the signal that it must die of."""

    scope: str
    retries: int | None = None
    memory: int | None = None
    deadline_s: float | None = None
    expect: str | None = None
    guard: bool = True


def settings_of(config: pytest.Config) -> Settings:
    """Read the options. Raises InvalidInputError that names the option, what was expected and what was given."""

    def asked(name: str) -> Any:
        return config.getoption(f"crash_{name}", None) or config.getini(f"crash_{name}") or None

    policy, retries = asked("policy"), asked("retries")
    if policy and retries is not None:
        raise InvalidInputError("--crash-retries and --crash-policy both say how often: give one of them")
    said: dict[str, Any] = {
        "scope": _one_of((*get_args(Scope), MARKED), "crash_guard", asked("guard")),
        "retries": read_retries("crash_retries", retries),
        "policy": read_toml(_path(config, "policy", policy), Policy) if policy else None,
        "retry_on": _read_retry_on(asked("retry_on")),
        "confirm": _one_of(get_args(Confirm), "crash_confirm", asked("confirm")),
        "memory": read_memory("crash_memory", asked("memory")),
        "deadline_s": read_deadline("crash_deadline", asked("deadline")),
        "flaky": _one_of(get_args(Flaky), "crash_flaky", asked("flaky")),
        "at_exit": _one_of(get_args(AtExit), "crash_at_exit", asked("at_exit")),
        "history": _path(config, "history", asked("history")) if asked("history") else None,
        "backtrace": asked("backtrace"),
        "dialect": config.getoption("--crash-dialect", None),
    }
    if said["scope"] == MARKED:
        said["scope"] = None
    settings = Settings(**{name: value for name, value in said.items() if value is not None})
    parted(settings.dialect)
    return settings


def _path(config: pytest.Config, option: str, name: str) -> Path:
    """A file of the command line is meant from where pytest was called, and one of the ini file from beside it."""
    if config.getoption(f"crash_{option}", None) or not config.inipath:
        return config.invocation_params.dir / name
    return config.inipath.parent / name


def _one_of(known: tuple[str, ...], where: str, value: str | None) -> str | None:
    if value is not None and value not in known:
        raise unknown(where, value, known)
    return value


def _read_retry_on(value: str | None) -> frozenset[str] | None:
    if value is None:
        return None
    words = [word.strip() for word in value.split(",")]
    return frozenset(filter(None, (_one_of((EXCEPTIONS, DEADLINE), "crash_retry_on", word) for word in words)))


def read_retries(where: str, value: object) -> int | None:
    """Read a number of retries. Raises InvalidInputError."""
    if value is None:
        return None
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise expected(where, "a whole number of retries, 0 or more", value)
    return number


def read_memory(where: str, value: object) -> int | None:
    """Read a size. Raises InvalidInputError."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise expected(where, "a size such as '512MiB'", value)
    try:
        size = parse_bytes(value)
    except InvalidInputError as error:
        raise InvalidInputError(f"{where}: {error}") from error
    if size <= 0:
        raise expected(where, "a size above 0", value)
    return size


def read_deadline(where: str, value: object) -> float | None:
    """Read seconds. Raises InvalidInputError."""
    if value is None:
        return None
    seconds = value
    if isinstance(value, str):
        try:
            seconds = float(value)
        except ValueError as error:
            raise expected(where, "a number of seconds", value) from error
    check_timeout(seconds, where)
    return float(seconds)  # type: ignore[arg-type]  # it is a number now


def _read_scope(where: str, value: object) -> str:
    if value not in get_args(Scope):
        raise unknown(where, value, get_args(Scope))
    return str(value)


def _read_expect(where: str, value: object) -> str:
    if not isinstance(value, str) or not value.startswith("SIG"):
        raise expected(where, "the name of a signal such as 'SIGSEGV'", value)
    return value


def _read_guard(where: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise expected(where, "True or False", value)
    return value


READERS: Final[dict[str, tuple[str, Callable[[str, Any], Any]]]] = {
    "scope": ("scope", _read_scope),
    "retries": ("retries", read_retries),
    "memory": ("memory", read_memory),
    "deadline": ("deadline_s", read_deadline),
    "expect": ("expect", _read_expect),
    "guard": ("guard", _read_guard),
}


def wish_of(item: pytest.Item, settings: Settings, *, is_foreign: bool = False) -> Wish:
    """Read a test's marks; the nearest wins, word by word. Raises InvalidInputError that names the test.

    `is_foreign`: the project has a mark of the same name, so one that does not read as ours is passed over.
    """
    said: dict[str, Any] = {"scope": settings.scope, "memory": settings.memory, "deadline_s": settings.deadline_s}
    for mark in reversed(list(item.iter_markers(MARK))):
        if is_foreign and (mark.args or not READERS.keys() >= mark.kwargs.keys()):
            continue
        if mark.args:
            raise InvalidInputError(f"{item.nodeid}: @pytest.mark.{MARK} takes words such as scope='test' only")
        for name, value in mark.kwargs.items():
            if name not in READERS:
                known = ", ".join(READERS)
                raise InvalidInputError(
                    f"{item.nodeid}: @pytest.mark.{MARK}: there is no {name!r}; there are {known}{near(name, READERS)}"
                )
            member, read = READERS[name]
            said[member] = read(f"{item.nodeid}: @pytest.mark.{MARK}({name}=)", value)
    if said["scope"] == "fork" and said["memory"]:
        said["scope"] = "test"  # a limit holds for a process with all its forks
    return Wish(**said)


def policy_of(settings: Settings, wish: Wish) -> Policy:
    """Return how often a test is tried. With a memory limit, one that is out of memory is tried on the next size."""
    if wish.retries is None and settings.policy is not None:
        return settings.policy
    attempts = 1 + (settings.retries if wish.retries is None else wish.retries)
    larger = {"outOfMemory": {"machine": _next_size(DEFAULT_PRESET)}} if wish.memory else {}
    return Policy(attempts, {"maxAttempts": attempts, **larger}) if attempts > 1 else Policy()


def _next_size(machine: str) -> str:
    names = list(PRESETS)
    return names[min(names.index(machine) + 1, len(names) - 1)]
