"""Words of scenarios that other records use too. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

Tier = Literal["forced", "dosed", "wild"]
"""A fault takes effect on every attempt, by a seeded draw, or as real threads on a real schedule have it."""

Probability = Annotated[float, Meta(ge=0, le=1)]
