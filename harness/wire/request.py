"""The question after a failed attempt, and the answer: what every decision function takes and gives."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from harness.exceptions import InvalidInputError
from harness.wire.errors import TaskError, without_causes
from harness.wire.policy import EXACT_INTEGERS

if TYPE_CHECKING:
    from harness.wire.schema import Schema

MAX_ATTEMPTS = 250
"""No attempt after this one follows a policy, whatever it says (upstream §10.4)."""


class RunNotFoundError(InvalidInputError, ValueError):
    """The decision got as far as the run, and there is none (upstream §10.5)."""


class Outcome(StrEnum):
    """What becomes of the run."""

    RETRY = "retry"
    FAIL_RUN = "fail_run"
    CANCEL_RUN = "cancel_run"


class Method(StrEnum):
    """How a retry starts: through the queue, or at once in the same place."""

    QUEUE = "queue"
    IMMEDIATE = "immediate"


class Branch(StrEnum):
    """The step that decided, in the order of the steps (upstream §10)."""

    CANCELLED = "cancelled"
    OOM_NO_MACHINE = "oom-no-machine"  # no valid policy, no machine named in it, or none known of the run
    OOM_SAME_MACHINE = "oom-same-machine"
    OOM_NO_DELAY = "oom-no-delay"
    OOM_MOVED = "oom-moved"
    NOT_RETRIABLE = "not-retriable"
    ATTEMPT_CAP = "attempt-cap"
    RUN_MAX_ATTEMPTS = "run-max-attempts"  # reached, or not set at all
    WORKER_SETTINGS = "worker-settings"
    NO_LOOKUP = "no-lookup"
    NO_POLICY = "no-policy"
    POLICY_EXHAUSTED = "policy-exhausted"
    POLICY = "policy"


class Settings(msgspec.Struct, frozen=True):
    """When the next attempt starts: milliseconds since the epoch, and milliseconds from now."""

    timestamp: int | float  # with int, msgspec leaves 5 alone
    delay: int | float


def settings_after(now: float, delay: float) -> Settings:
    """Say when a delay that begins now is over: a sum of doubles, which beyond 2^53 loses its last bits."""
    timestamp = now + delay
    if isinstance(timestamp, int) and abs(timestamp) > EXACT_INTEGERS:
        timestamp = int(float(timestamp))
    return Settings(timestamp, delay)


class RunSettings(msgspec.Struct, frozen=True, rename="camel"):
    """What the store knows of the run. `locked_retry_config` is any JSON value, valid or not."""

    max_attempts: int | None = None
    locked_retry_config: Any = None
    machine_preset: str | None = None


class Request(msgspec.Struct, frozen=True, rename="camel"):
    """One question: the raw error of a failed attempt, and all the answer may depend on.

    `attempt` is counted from 1; None is unknown. `retry_settings` are those the completion brought along;
    `force_requeue` sends them through the queue. The caller's clock and draw: `now` in milliseconds since the
    epoch, `random` in [0, 1), of which None is the middle. `reported_by_platform`: the failure is reported by
    the platform, which lost the attempt, and not by a worker; only upstream-v1 asks.
    """

    error: TaskError
    attempt: int | None = None
    run: RunSettings | None = None
    retry_settings: Settings | None = None
    force_requeue: bool = False
    now: int | float = 0
    random: float | None = None
    reported_by_platform: bool = False


def parse_request(value: object, schema: Schema) -> Request:
    """Convert a decoded JSON value to a request, its error as the schema lets it through.

    Raises ValueError that says which member is wrong and what was expected there.
    """
    if isinstance(value, dict) and "error" in value:
        value = {**value, "error": without_causes(value["error"], schema)}
    return msgspec.convert(value, Request)


class Decision(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """One answer. A member that does not apply is absent; `enhanced` is there from step 3 on."""

    outcome: Outcome
    method: Method | UnsetType = UNSET
    settings: Settings | UnsetType = UNSET
    machine: str | UnsetType = UNSET
    was_oom_error: bool | UnsetType = msgspec.field(default=UNSET, name="wasOOMError")
    reason: str | UnsetType = UNSET
    enhanced: TaskError | UnsetType = UNSET
    branch: Branch
