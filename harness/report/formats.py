"""The formats of a report: one module each, with a function `render`, and a line here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from harness.report.reader import HistoryReport


class Renderer(Protocol):
    """The interface of a format's module."""

    def render(self, report: HistoryReport) -> str:
        """Write the whole document."""


class Format(NamedTuple):
    """The module of a format, and what is said of it in `report --help`; empty where it goes to stdout."""

    module: str
    about: str = ""


FORMATS = {
    "terminal": Format("terminal"),
    "json": Format("document"),
    "html": Format("html", "Write one self-contained page."),
    "junit": Format("junit", "Write JUnit XML."),
    "markdown": Format("markdown", "Write Markdown, for a CI summary."),
}


def render(name: str, report: HistoryReport) -> str:
    """Write a report in one format. Only its module is loaded."""
    return cast("Renderer", import_module(f"harness.report.{FORMATS[name].module}")).render(report)
