"""Options that name a file to be written: a place where none can be is refused before anything is run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from os import PathLike


class Output(click.Path):
    """A file that the command writes in the end, which may take minutes to come. A pipe or a device will do too."""

    def convert(self, value: str | PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path. Raises BadParameter for a folder, and for a file in a folder that is not there."""
        path = Path(value)
        folder = Path(os.path.realpath(path)).parent
        try:
            if not os.fspath(value) or path.is_dir():
                self.fail(f"{os.fspath(value)!r} is a folder, expected a file", param, ctx)
            if not folder.is_dir():
                self.fail(f"{os.fspath(value)!r}: there is no folder {os.fspath(folder)!r}", param, ctx)
            path.stat()
        except FileNotFoundError:
            return path
        except OSError as error:
            self.fail(f"{os.fspath(value)!r}: {error.strerror}", param, ctx)
        return path
