"""What the versions of upstream's schemas differ in (upstream §17)."""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""The largest integer up to which JavaScript's numbers tell all integers apart."""


class Schema(NamedTuple):
    """What one version lets through; the defaults are those of 4.4 and 4.5.

    `safe_integers`: a retry config with an integer beyond 2^53 - 1, or an infinite factor, is invalid (since 4.6.0).
    `causes`: a BUILT_IN_ERROR may say what caused it (since 4.6.3); a version without them drops them.
    """

    safe_integers: bool = False
    causes: bool = False
