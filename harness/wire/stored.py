"""What upstream keeps of an error: texts bounded, NULs gone, causes cut (upstream §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from harness.wire.errors import UNKNOWN_TYPE, Cause, Kind, TaskError, UnexpectedError
from harness.wire.truncation import (
    CAUSE_FRAMES,
    MAX_CAUSE_NAME_UNITS,
    MAX_CAUSES,
    MAX_FINAL_UNITS,
    MAX_FRAMES,
    MAX_NAME_UNITS,
    first_units,
    mend_pairs,
    truncate_message,
    truncate_raw_json,
    truncate_stack,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.wire.schema import Schema

_Texts = TypeVar("_Texts", bound=msgspec.Struct)


def sanitize(error: TaskError, schema: Schema) -> TaskError:
    """Bound the texts of an error for storage (upstream §7). A cut may leave half a surrogate pair.

    msgspec refuses to encode such a half: see `well_formed`. Raises UnexpectedError for an unknown type, to
    which upstream gives no answer.
    """
    message, stack = _without_nul(error.message), _without_nul(error.stack_trace)
    raw = _without_nul(error.raw) or ""
    match error.type:
        case Kind.BUILT_IN:
            texts = _without_nul(error.name), truncate_message(message), truncate_stack(stack, MAX_FRAMES)
            causes = tuple(map(_sanitized, error.causes[:MAX_CAUSES])) if schema.causes and error.causes else UNSET
            return TaskError(error.type, UNSET, *texts, causes=causes)
        case Kind.STRING:
            return TaskError(error.type, raw=truncate_message(raw))
        case Kind.CUSTOM:
            return TaskError(error.type, raw=truncate_raw_json(raw))
        case Kind.INTERNAL:
            known = _if_set(truncate_message, message), _if_set(lambda text: truncate_stack(text, MAX_FRAMES), stack)
            return TaskError(error.type, error.code, UNSET, *known)
    raise UnexpectedError(UNKNOWN_TYPE)


def _sanitized(cause: Cause) -> Cause:
    """Bound a cause; a name or a stack that is empty is absent."""
    name, stack = _without_nul(cause.name), _without_nul(cause.stack_trace)
    return Cause(
        truncate_message(_without_nul(cause.message)),
        first_units(name, MAX_CAUSE_NAME_UNITS) if name else UNSET,
        truncate_stack(stack, CAUSE_FRAMES) if stack else UNSET,
    )


def final_cut(error: TaskError) -> TaskError:
    """What a run that has failed for good keeps of a sanitized BUILT_IN error: 1,024 and 16,384 units (upstream §7)."""
    if error.type != Kind.BUILT_IN:
        return error
    name, message = _cut(error.name, MAX_NAME_UNITS), _cut(error.message, MAX_FINAL_UNITS)
    return msgspec.structs.replace(
        error, name=name, message=message, stack_trace=_cut(error.stack_trace, MAX_FINAL_UNITS)
    )


def _cut(text: str | UnsetType, units: int) -> str | UnsetType:
    return UNSET if text is UNSET else first_units(text, units)


def well_formed(error: TaskError) -> TaskError:
    """Put U+FFFD for each half of a surrogate pair, as JavaScript does when it encodes UTF-8."""
    causes = tuple(map(_mended, error.causes)) if error.causes else error.causes
    return msgspec.structs.replace(_mended(error), causes=causes)


def _mended(texts: _Texts) -> _Texts:
    whole = {key: mend_pairs(text) for key, text in msgspec.structs.asdict(texts).items() if isinstance(text, str)}
    return msgspec.structs.replace(texts, **whole)


def _without_nul(text: str | UnsetType) -> str | UnsetType:
    return _if_set(lambda known: known.replace("\0", ""), text)


def _if_set(change: Callable[[str], str], text: str | UnsetType) -> str | UnsetType:
    return UNSET if text is UNSET else change(text)
