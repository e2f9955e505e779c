"""Options that take one of several words, a number or a day, and refuse anything else in words of ours."""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from harness.exceptions import shown, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence


class Word(click.Choice[str]):
    """One of `words`. `where` is what the API calls the value: "policy.machine"."""

    def __init__(self, words: Sequence[str], where: str) -> None:
        super().__init__(list(words))
        self._where = where

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word. Raises BadParameter with the nearest one."""
        if value not in self.choices:
            self.fail(str(unknown(self._where, value, self.choices)), param, ctx)
        return str(value)


class Number(click.FloatRange):
    """A number in a range. Infinity is in none, nor is NaN, which click lets through: it is neither below nor above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number. Raises BadParameter."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"expected a number {self._describe_range()}, not {shown(value)}", param, ctx)
        return number


def day(_: click.Context, parameter: click.Parameter, value: str | None) -> date | None:
    """Read an option as a day; None where it was not given."""
    try:
        return None if value is None else date.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(f"expected a day as YYYY-MM-DD, not {shown(value)}", param=parameter) from error
