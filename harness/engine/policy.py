"""The retry policy that a person writes: checked when it is made, so that a slip is told and does not cost a retry.

What upstream stores is not checked here: to `decide` and `parse_options` an invalid policy means what it means there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from harness.engine.lifecycle import Task
from harness.exceptions import InvalidInputError, expected, near, shown, unknown
from harness.wire.policy import DEFAULT_PRESET, DEFAULTS, PRESETS, parse_options, unsafe_member
from harness.wire.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.dialects.protocol import Dialect

MOST_ATTEMPTS: Final = 2**63
ATTEMPTS: Final = "a whole number of attempts, 1 or more"


class Policy(Task, frozen=True, forbid_unknown_fields=True):
    """How often a job is tried, when again, and on which machine it begins.

    `max_attempts` is the run's own number of attempts, 1 or more. `retry` is the task's locked retry config, in
    upstream's words: maxAttempts, factor, minTimeoutInMs, maxTimeoutInMs, randomize, outOfMemory = {machine}. `machine`
    is the preset of the first attempt ("small-1x"). Upstream needs both numbers to retry a crash, so the one that is
    left out is filled in as a task's definition would:

        Policy()                                no policy: the first failure is final
        Policy(3)                               three attempts with the default delays; `exec --max-attempts 3`
        Policy(retry={"maxAttempts": 3})        the same, said by the config; `exec --retry-config '{"maxAttempts": 3}'`
        Policy(5, {"maxAttempts": 3})           both as written: the smaller rules for a crash
        Policy(3, retry=None)                   attempts without a locked config, which upstream makes one attempt
        Policy(None, {"maxAttempts": 3})        a config of a run without attempts: one attempt as well

    None is said on purpose, and is not filled in. A scenario's `policy` table says everything: what is absent there is
    None here. Raises InvalidInputError that names the member, what was expected and what is near.
    """

    max_attempts: int | UnsetType | None = UNSET  # type: ignore[assignment]  # never UNSET once it is made
    retry: dict[str, Any] | UnsetType | None = UNSET
    machine: str = DEFAULT_PRESET

    def __post_init__(self) -> None:
        """Check what was said, and fill in what was not."""
        attempts, config = self.max_attempts, self.retry
        if isinstance(attempts, bool) or not isinstance(attempts, int | None | UnsetType):
            raise expected("policy.max_attempts", ATTEMPTS, attempts)
        if isinstance(attempts, int):
            _check_attempts("policy.max_attempts", attempts)
        if config is not UNSET and config is not None:
            check_retry(config)
        _check_machine("policy.machine", self.machine)
        if attempts is UNSET:
            said = config.get("maxAttempts", DEFAULTS.max_attempts) if isinstance(config, dict) else None
            msgspec.structs.force_setattr(self, "max_attempts", None if said is None else int(said))
        if config is UNSET:
            filled = {"maxAttempts": attempts} if isinstance(attempts, int) else None
            msgspec.structs.force_setattr(self, "retry", filled)

    def check_for(self, dialect: Dialect) -> None:
        """Raise InvalidInputError for a number that the versions of `dialect` refuse, policy and all."""
        if not dialect.schema.safe_integers or not isinstance(self.retry, dict):
            return
        if member := unsafe_member(parse_options(self.retry, Schema())):
            what = "a finite number" if member == "factor" else "a number within 2^53 - 1"
            why = f"{what} under {dialect.name}, to which this policy would be none"
            raise expected(f"policy.retry.{member}", why, self.retry[member])


def check_retry(config: object, where: str = "policy.retry") -> None:
    """Check a retry config as a person writes it. Raises InvalidInputError.

    Stricter than upstream's schema, which has no minimum and drops what it does not know.
    """
    if not isinstance(config, dict):
        raise expected(where, "a table of upstream's retry options", config)
    for name, value in config.items():
        if name not in CHECKS:
            raise _no_member(where, name, CHECKS)
        CHECKS[name](f"{where}.{name}", value)


def _no_member(where: str, name: object, known: Iterable[str]) -> InvalidInputError:
    names = sorted(known)
    return InvalidInputError(f"{where}: there is no {shown(name)}; there are {', '.join(names)}{near(name, names)}")


def _is_whole(value: object) -> bool:
    """Whether it is an integer to JavaScript, in which 3.0 is 3."""
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _check_attempts(where: str, value: Any) -> None:
    if not _is_whole(value) or not 0 < value < MOST_ATTEMPTS:
        raise expected(where, ATTEMPTS, value)


def _check_factor(where: str, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not value >= 0:
        raise expected(where, "a number, 0 or more", value)


def _check_timeout(where: str, value: Any) -> None:
    if not _is_whole(value) or not value >= 0:
        raise expected(where, "a whole number of milliseconds, 0 or more", value)


def _check_randomize(where: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise expected(where, "true or false", value)


def _check_out_of_memory(where: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise expected(where, "a table with a machine", value)
    for name, member in value.items():
        if name != "machine":
            raise _no_member(where, name, ["machine"])
        _check_machine(f"{where}.machine", member)


def _check_machine(where: str, value: Any) -> None:
    if not isinstance(value, str) or value not in PRESETS:
        raise unknown(where, value, PRESETS)


CHECKS: Final[dict[str, Callable[[str, Any], None]]] = {
    "maxAttempts": _check_attempts,
    "factor": _check_factor,
    "minTimeoutInMs": _check_timeout,
    "maxTimeoutInMs": _check_timeout,
    "randomize": _check_randomize,
    "outOfMemory": _check_out_of_memory,
}
