"""TOML as it reviews well in a diff: keys in their order, one row of a list a line. `tomllib` reads it back."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def document(table: Mapping[str, Any], remark: str = "") -> str:
    """Write a table of plain values: dicts, lists, strings, numbers and booleans. `remark` goes on top, a line each."""
    head = [f"# {line}" for line in remark.splitlines()]
    return "\n".join([*head, *_table(table, ())]) + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Write plain keys first, then tables, then arrays of tables, as TOML's grammar asks for."""
    for key, value in table.items():
        if not _is_section(value):
            yield f"{_key(key)} = {_value(value)}"
    for key, value in table.items():
        if _is_section(value):
            yield from _sections(value, (*path, key))


def _sections(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    name = ".".join(map(_key, path))
    if isinstance(value, dict):
        yield from ("", f"[{name}]", *_table(value, path))
        return
    for one in value:
        yield from ("", f"[[{name}]]", *_table(one, path))


def _is_section(value: Any) -> bool:
    """Whether it has rows of its own, so that it is too much for one line."""
    if isinstance(value, dict):
        return any(isinstance(member, dict) or _is_rows(member) for member in value.values())
    return _is_rows(value) and any(_is_rows(member) for one in value for member in one.values())


def _is_rows(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, dict) for one in value)


def _value(value: Any) -> str:
    if _is_rows(value):
        return "\n".join(["[", *(f"    {_inline(row)}," for row in value), "]"])
    return _inline(value)


def _inline(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return str(value) if math.isfinite(value) else _special(value)
        case str():
            return _string(value)
        case dict():
            return f"{{ {', '.join(f'{_key(key)} = {_inline(member)}' for key, member in value.items())} }}"
    return _list(value)


def _list(value: Sequence[Any]) -> str:
    return f"[{', '.join(map(_inline, value))}]"


def _special(value: float) -> str:
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _string(value: str) -> str:
    """Write a string as JSON does, which is TOML too once DEL is escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)
