"""Dialects by their names. A dialect is classification and decision; each takes what it does not say from its parent.

A new release of upstream is a file beside the others and a line in RELEASES; nothing else names dialects one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.dialects import strict, upstream_4_4, upstream_4_5, upstream_4_8, upstream_v1
from harness.exceptions import unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.dialects.builtin import BuiltIn

RELEASES: Final = (
    upstream_4_4.DIALECT,
    upstream_4_5.DIALECT,
    upstream_4_8.DIALECT,
)
"""Upstream's, the newest last: it is the default, and the one that strict goes by."""

NEWEST: Final = RELEASES[-1]
DEFAULT: Final = NEWEST.name
BUILT_IN: Final[dict[str, BuiltIn]] = {one.name: one for one in (*RELEASES, strict.beside(NEWEST), upstream_v1.DIALECT)}

_LIKE: Final = " like "


def find(name: str, where: str = "dialect") -> BuiltIn:
    """Return the built-in dialect of this name. Raises InvalidInputError, which says `where`, for an unknown one."""
    if found := BUILT_IN.get(name):
        return found
    raise unknown(where, name, BUILT_IN)


def spelled(judge: str | None, like: str) -> str:
    """Name the dialect of a user's own judge that is like a built-in one; without a judge, that one."""
    return f"{judge}{_LIKE}{like}" if judge else like


def parted(name: str, where: str = "dialect") -> tuple[str | None, str]:
    """Part a name into the user's own judge, or None, and the built-in dialect that answers what it does not.

    "strict" is that; "my.module:judge" is like the default; "my.module:judge like strict" says so itself. Raises
    InvalidInputError, which says `where`, for what is no dialect's name.
    """
    judge, said, like = name.rpartition(_LIKE)
    if said and like in BUILT_IN:
        return judge, like
    return (name, DEFAULT) if ":" in name else (None, find(name, where).name)


def lineage(name: str) -> Iterator[str]:
    """Give the built-in dialects that a name goes back to, the nearest first: itself or its parent, then theirs."""
    _, parent = parted(name)
    one: str | None = parent
    while one:
        yield one
        one = find(one).like
