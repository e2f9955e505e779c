"""Who fired how much, and whether it fails more often with one than with another. Pure.

Trials of a group may resemble each other, so groups of ten are the units: the scatter between workers is held against
that of groups within workers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from harness.experiments.statistics import fisher_sf

if TYPE_CHECKING:
    from collections.abc import Collection


class Share(NamedTuple):
    """What one worker fired: whole groups of ten with their failures, and the sum of the squares of those."""

    groups: int = 0
    failures: int = 0
    squares: int = 0

    def plus(self, failures: int) -> Share:
        """Add a group."""
        return Share(self.groups + 1, self.failures + failures, self.squares + failures * failures)

    def joined(self, other: Share) -> Share:
        """Put two together, as of one host."""
        return Share(self.groups + other.groups, self.failures + other.failures, self.squares + other.squares)

    @property
    def around(self) -> float:
        """Sum of the squared distances of the groups from their own mean."""
        return self.squares - self.failures * self.failures / self.groups


def by_host(shares: dict[str, Share]) -> dict[str, Share]:
    """Join the workers of each host: they are called HOST/PROCESS. Where there is one host, they stay apart."""
    found = dict[str, Share]()
    for name, share in shares.items():
        host, _, _ = name.rpartition("/")
        found[host] = found.get(host, Share()).joined(share)
    return found if len(found) > 1 else shares


def chance(shares: Collection[Share]) -> float:
    """Probability of as large differences between the shares among equal ones (analysis of variance, F distribution).

    1 where nothing can be told: one share, or no group more than there are shares.
    """
    parts, whole = [one for one in shares if one.groups], Share()
    for one in parts:
        whole = whole.joined(one)
    above, below = len(parts) - 1, whole.groups - len(parts)
    if above < 1 or below < 1:
        return 1.0
    within = sum(one.around for one in parts)
    between = whole.around - within
    if math.isclose(between, 0, abs_tol=1e-9):
        return 1.0
    return fisher_sf(between / above / (within / below), above, below) if within > 1e-9 else 0.0  # noqa: PLR2004 -- rounding
