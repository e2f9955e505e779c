"""Seeded draws: the same on every machine."""

from __future__ import annotations

import hashlib
from typing import Final

_DRAW_BYTES: Final = 8


def draw(seed: int, attempt: int, purpose: str) -> float:
    """Return a number in [0, 1) that is the same on every machine, and independent across attempts."""
    digest = hashlib.blake2b(f"{purpose}/{seed}/{attempt}".encode(), digest_size=_DRAW_BYTES).digest()
    return int.from_bytes(digest, "big") / (1 << 8 * _DRAW_BYTES)
