"""JSON texts as V8 reads and writes them: half a surrogate pair is a character, every number is a double."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

HALF_PAIR = re.compile("[\ud800-\udfff]")
_TOO_DEEP = "it is nested too deep"


def read(line: bytes, *, exact: bool = False) -> Any:
    """Decode one JSON text. A number too long for a double is infinite, and 1.0 is 1.

    `exact`: an integer keeps the digits that a double has no room for. Raises ValueError for what is no JSON, and for
    what is nested deeper than can be read.
    """
    integer = exact_number if exact else number
    try:
        return json.loads(line.decode(), parse_int=integer, parse_float=number, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"JSON is malformed: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error


def number(text: str) -> int | float:
    """Convert a number's text to the double that it stands for, and that to an integer where it is one."""
    value = float(text)
    return int(value) if math.isfinite(value) and value.is_integer() else value


def exact_number(text: str) -> int | float:
    """Convert an integer's text to that integer; one too long for a double is infinite all the same."""
    value = float(text)
    return int(text) if math.isfinite(value) else value


def write(value: object) -> bytes:
    """Encode as JSON. Half a surrogate pair is written as its escape, since UTF-8 has no bytes for it."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        plain = json.dumps(_finite(msgspec.to_builtins(value)), ensure_ascii=False, separators=(",", ":"))
        return escape_halves(plain).encode()


def write_indented(value: object) -> bytes:
    """Encode likewise, as a person reads it."""
    document = write(value)
    try:
        return msgspec.json.format(document, indent=2)
    except msgspec.DecodeError:  # it knows no half of a pair
        return escape_halves(json.dumps(json.loads(document), ensure_ascii=False, indent=2)).encode()


def escape_halves(text: str) -> str:
    """Write each half of a surrogate pair in a JSON text as its escape, as JSON.stringify does."""
    return HALF_PAIR.sub(lambda half: f"\\u{ord(half[0]):x}", text)


def _refuse(name: str) -> object:
    raise ValueError(f"JSON is malformed: there is no {name}")


def _finite(value: Any) -> Any:
    """Put null for a number that JSON can't hold, as both encoders do."""
    if isinstance(value, dict):
        return {key: _finite(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_finite(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
