"""What the user asked for: the retry policy, its schema, the delays it gives and the machines it may name."""

from __future__ import annotations

import math
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from harness.wire.schema import MAX_SAFE_INTEGER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.wire.schema import Schema

LARGEST_FACTOR = sys.float_info.max
EXACT_INTEGERS = 2**53  # up to here a delay is an int; beyond, a double may stand for several

GIBIBYTE = 2**30

_T = TypeVar("_T")


class Machine(NamedTuple):
    """The size of a machine: virtual CPUs, and memory in upstream's gigabytes, which are gibibytes."""

    vcpu: float
    gigabytes: float


PRESETS: Mapping[str, Machine] = MappingProxyType(
    {
        "micro": Machine(0.25, 0.25),
        "small-1x": Machine(0.5, 0.5),
        "small-2x": Machine(1, 1),
        "medium-1x": Machine(1, 2),
        "medium-2x": Machine(2, 4),
        "large-1x": Machine(4, 8),
        "large-2x": Machine(8, 16),
    },
)
"""The machine presets by name (upstream §12)."""

DEFAULT_PRESET = "small-1x"


def memory_bytes(preset: str, memory_scale: float = 1.0) -> int:
    """Give the memory of a preset in bytes, times `memory_scale`, rounded down.

    A scale below 1 lets a small computer play large machines. Raises ValueError for an unknown preset.
    """
    return int(PRESETS[_known_preset(preset, "machine preset")].gigabytes * GIBIBYTE * memory_scale)


class OutOfMemory(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to do when memory ran out: the preset to move to, if any."""

    machine: str | UnsetType = UNSET


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """RetryOptions (upstream §9). Nothing has a minimum or a maximum; an absent member takes its default."""

    max_attempts: int | UnsetType = UNSET
    factor: int | float | UnsetType = UNSET  # with int, msgspec leaves 2 alone
    min_timeout_in_ms: int | UnsetType = UNSET
    max_timeout_in_ms: int | UnsetType = UNSET
    randomize: bool | UnsetType = UNSET
    out_of_memory: OutOfMemory | UnsetType = UNSET


DEFAULT_MAX_ATTEMPTS = 3
DEFAULT_FACTOR = 2
DEFAULT_MIN_TIMEOUT_MS = 1_000
DEFAULT_MAX_TIMEOUT_MS = 60_000
DEFAULTS = RetryPolicy(
    max_attempts=DEFAULT_MAX_ATTEMPTS,
    factor=DEFAULT_FACTOR,
    min_timeout_in_ms=DEFAULT_MIN_TIMEOUT_MS,
    max_timeout_in_ms=DEFAULT_MAX_TIMEOUT_MS,
    randomize=True,
)
"""What absent members mean (upstream §8)."""


def parse_policy(value: object, schema: Schema) -> RetryPolicy | None:
    """Do as `parse_options`, but let null and absent mean no policy, as at the look-up (upstream §9)."""
    return None if value is None or value is UNSET else parse_options(value, schema)


def parse_options(value: object, schema: Schema) -> RetryPolicy:
    """Validate a decoded JSON value as retry options and drop unknown members (upstream §9).

    Numbers are JavaScript's: 3.0 is the integer 3, and integers beyond 2^53 lose their last bits, or are invalid where
    the schema wants safe ones.
    Raises ValueError that says which member is wrong and what was expected there.
    """
    if isinstance(value, dict):
        value = {key: _as_javascript(member) for key, member in value.items()}
    try:
        policy = msgspec.convert(value, RetryPolicy)
    except msgspec.ValidationError as reason:
        raise ValueError(f"retry policy: {reason}") from reason
    if policy.factor is not UNSET and math.isnan(policy.factor):
        raise ValueError("retry policy: Expected a number, got NaN - at `$.factor`")
    if schema.safe_integers and (member := unsafe_member(policy)):
        raise ValueError(f"retry policy: Expected a number within 2^53 - 1 - at `$.{member}`")
    if policy.out_of_memory is not UNSET and policy.out_of_memory.machine is not UNSET:
        _known_preset(policy.out_of_memory.machine, "retry policy: outOfMemory.machine")
    return policy


def unsafe_member(policy: RetryPolicy) -> str | None:
    """Name the first member that a schema with safe integers refuses: an integer too large, or an infinite factor."""
    for field in msgspec.structs.fields(RetryPolicy):
        value = getattr(policy, field.name)
        limit = LARGEST_FACTOR if field.name == "factor" else MAX_SAFE_INTEGER
        if isinstance(value, int | float) and abs(value) > limit:
            return field.encode_name
    return None


def next_delay_ms(policy: RetryPolicy, attempt: int, random: float) -> float | None:
    """Give the wait after the failed `attempt`, counted from 1, or None if no attempt is left (upstream §8).

    `random` in [0, 1) is the draw for the jitter, which is applied before the cap. Computes as JavaScript
    does: the answer is an int up to 2^53, beyond that a float, infinity or NaN. To the look-up, 0 and NaN
    mean that none is left.
    """
    if attempt >= _or_default(policy.max_attempts, DEFAULT_MAX_ATTEMPTS):
        return None
    stretch = 1 + random if _or_default(policy.randomize, True) else 1.0
    shortest = stretch * _or_default(policy.min_timeout_in_ms, DEFAULT_MIN_TIMEOUT_MS)
    delay = shortest * _power(_or_default(policy.factor, DEFAULT_FACTOR), attempt - 1)
    return _round(_least(_or_default(policy.max_timeout_in_ms, DEFAULT_MAX_TIMEOUT_MS), delay))


def _or_default(value: _T | UnsetType, default: _T) -> _T:
    return default if isinstance(value, UnsetType) else value


def _power(base: float, exponent: int) -> float:
    """Compute as Math.pow, which gives an infinity where Python raises: out of range, or 0 to a negative power."""
    try:
        return math.pow(base, exponent)
    except (OverflowError, ValueError):
        return math.copysign(math.inf, base) if exponent % 2 else math.inf


def _least(left: float, right: float) -> float:
    """Compute as Math.min, for which NaN is the least of all."""
    return math.nan if math.isnan(left) or math.isnan(right) else min(left, right)


def _round(value: float) -> float:
    """Compute as Math.round: halves go up, but 0.49999999999999994 is not a half."""
    if not math.isfinite(value) or abs(value) > EXACT_INTEGERS:
        return float(value)
    above = math.ceil(value)
    return above - 1 if above - 0.5 > value else above


def _as_javascript(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        number = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return int(number) if number.is_integer() else number


def _known_preset(preset: str, where: str) -> str:
    if preset not in PRESETS:
        raise ValueError(f"{where}: expected one of {', '.join(PRESETS)}, got {preset!r}")
    return preset
