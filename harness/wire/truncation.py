"""How upstream shortens texts. Lengths and cuts count UTF-16 code units, as JavaScript does (upstream §7)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness.wire.javascript import HALF_PAIR, escape_halves

if TYPE_CHECKING:
    from msgspec import UnsetType

MAX_MESSAGE_UNITS = 1_000
MAX_LINE_UNITS = 1_024
KEPT_TOP_FRAMES = 5  # of a stack that has too many
MAX_FRAMES, CAUSE_FRAMES = 50, 10  # of an error, and of each of its causes
MAX_CAUSES, MAX_CAUSE_NAME_UNITS = 5, 256
MAX_NAME_UNITS, MAX_FINAL_UNITS = 1_024, 16_384  # once a run has failed for good

_MARK = "...[truncated]"
# What String.prototype.trimStart strips; str.lstrip() also strips \x1c-\x1f and \x85, but not \ufeff.
_JS_SPACE = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)


def first_units(text: str, limit: int) -> str:
    """Return the first `limit` UTF-16 units of `text`. The cut may leave half a surrogate pair at the end."""
    units = text.encode("utf-16-le", "surrogatepass")
    return text if len(units) <= 2 * limit else units[: 2 * limit].decode("utf-16-le", "surrogatepass")


def mend_pairs(text: str) -> str:
    """Put U+FFFD for every half of a surrogate pair, so that the text can be encoded as UTF-8."""
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return HALF_PAIR.sub("\ufffd", whole)


def truncate_message(message: str | UnsetType) -> str:
    """Shorten a message to 1,000 units and a mark; an absent one becomes empty (upstream §7)."""
    return _truncate(message or "", MAX_MESSAGE_UNITS)


def truncate_stack(stack: str | UnsetType, most_frames: int) -> str:
    """Shorten each line to 1,024 units, and too many frames to the first 5 and the last of them (upstream §7).

    `most_frames` are kept: MAX_FRAMES of an error's stack, CAUSE_FRAMES of a cause's. Lines before the first frame
    belong to the message and are never dropped. An absent stack becomes empty.
    """
    lines = (stack or "").split("\n")
    start = next((index for index, line in enumerate(lines) if _is_frame(line)), len(lines))
    shortened = [_truncate(line, MAX_LINE_UNITS) for line in lines]
    return "\n".join(shortened[:start] + _omit_middle(shortened[start:], most_frames))


def truncate_raw_json(raw: str) -> str:
    """Replace the JSON text of a thrown value by a preview of it, if it is over 1,000 units (upstream §7)."""
    preview = first_units(raw, MAX_MESSAGE_UNITS)
    if preview == raw:
        return raw
    text = json.dumps({"truncated": True, "preview": preview}, ensure_ascii=False, separators=(",", ":"))
    return escape_halves(text)


def _truncate(text: str, limit: int) -> str:
    start = first_units(text, limit)
    return text if start == text else start + _MARK


def _is_frame(line: str) -> bool:
    return line.lstrip(_JS_SPACE).startswith("at ")


def _omit_middle(frames: list[str], most: int) -> list[str]:
    if len(frames) <= most:
        return frames
    note = f"    ... {len(frames) - most} frames omitted ..."
    return [*frames[:KEPT_TOP_FRAMES], note, *frames[KEPT_TOP_FRAMES - most :]]
