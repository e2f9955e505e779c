"""An option that takes one of several words, and refuses another as the API does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from harness.exceptions import unknown

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
