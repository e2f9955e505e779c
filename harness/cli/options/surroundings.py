"""The options that say in what surroundings a user's command lives."""

from __future__ import annotations

import fcntl
import os
import stat
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, get_args

import click

from harness.cli.options.word import Word
from harness.supervisor.confinement import Wanted
from harness.supervisor.observe import FORMERLY, Observe
from harness.supervisor.process import Stdin

if TYPE_CHECKING:
    from harness.cli.options.common import Function


BLACK_BOX = "harness.black_box"


def containment_option(command: Function) -> Function:
    """Add --containment."""
    return click.option(
        "--containment",
        type=Word(get_args(Wanted), "containment"),
        default="auto",
        show_default=True,
        help="PID and mount namespaces of its own: where we may (auto), or else INFRA (namespace), or never (bare).",
    )(command)


def stdin_option(command: Function) -> Function:
    """Add --stdin."""
    return click.option(
        "--stdin",
        type=Word(get_args(Stdin), "stdin"),
        default="null",
        show_default=True,
        help="COMMAND's standard input: empty, or ours.",
    )(command)


def is_fed() -> bool:
    """Whether our standard input is a pipe or a file with data that nobody has read."""
    with suppress(OSError, ValueError):
        found = os.fstat(0)
        if stat.S_ISFIFO(found.st_mode):
            return any(fcntl.ioctl(0, termios.FIONREAD, bytes(4)))
        return stat.S_ISREG(found.st_mode) and found.st_size > 0
    return False


def witnesses(command: Function) -> Function:
    """Add --observe, and --black-box, which is what it was called before; the command gets `witnesses`."""
    command = click.option(
        "--black-box",
        type=Word(list(FORMERLY), "black-box"),
        hidden=True,
        is_eager=True,
        expose_value=False,
        callback=lambda context, _, value: context.meta.__setitem__(BLACK_BOX, FORMERLY.get(value)),
        help="What --observe was called before.",
    )(command)
    return click.option(
        "--observe",
        "witnesses",
        type=Word(get_args(Observe), "observe"),
        default="auto",
        show_default=True,
        callback=lambda context, _, value: context.meta.get(BLACK_BOX) or value,
        help="Who sees a crash: a preloaded library, perf events, both (auto), a tracer (COMMAND may notice), nobody.",
    )(command)
