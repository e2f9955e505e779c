"""The command line as a whole: one group, a command each, loaded when it is asked for."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import cast

import click
from click.exceptions import Exit
from click.shell_completion import shell_complete

from harness.cli.commands import COMMANDS, help_text
from harness.cli.mistake import worded
from harness.cli.output import write, write_error
from harness.cli.version import version_text
from harness.exceptions import HarnessError, InvalidInputError
from harness.supervisor.interrupt import terminable

NAME = "crash-harness"
COMPLETE = "_CRASH_HARNESS_COMPLETE"
"""The environment variable by which a shell asks for completions, as click spells it."""

MISTAKES = {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR}
"""What the system says of a path that can be no file's, wherever it is used first."""


class Program(click.Group):
    """All commands, by the table that --help shows."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return the names, in the order of --help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- as above
        """Load one command. From then on Ctrl-C is an exception, so that what was begun is also ended."""
        if cmd_name not in COMMANDS:
            return None
        module, _, command = COMMANDS[cmd_name][0].partition(":")
        found = getattr(import_module(f"harness.cli.{module}"), command)
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return cast("click.Command", found)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; a misspelt one is answered with the nearest."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Those are {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002 -- as above
        """Return what --help alone prints too."""
        return help_text().rstrip("\n")


def _show_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        write(version_text(), end=False)
        context.exit()


program = Program(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    params=[click.Option(["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_show_version)],
)


COERCED = ("LC_CTYPE", "C.UTF-8")
"""What Python itself puts into its environment where the locale is C (PEP 538)."""


def _give_locale_back() -> None:
    """Take out of the environment what Python put there: whatever we start is to have the user's own."""
    name, value = COERCED
    if os.environ.get(name) != value:
        return
    with suppress(OSError):
        if f"{name}=".encode() not in Path("/proc/self/environ").read_bytes():
            del os.environ[name]


def run(words: list[str]) -> int:
    """Run one command and return its exit code; a mistake of the user's is a line on stderr."""
    _give_locale_back()
    if asked := os.environ.get(COMPLETE):
        return shell_complete(program, {}, NAME, COMPLETE, asked)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name need not be text
    try:
        with terminable(), program.make_context(NAME, words) as context:
            code = program.invoke(context)
    except Exit as error:
        return error.exit_code
    except click.ClickException as error:
        write_error(f"{NAME}: {worded(error)}")
        return error.exit_code
    except HarnessError as error:
        write_error(f"{NAME}: {error}".replace("\n", "\\n"))
        return error.exit_code
    except OSError as error:
        if error.errno not in MISTAKES:
            raise
        write_error(f"{NAME}: {error.filename}: {error.strerror}".replace("\n", "\\n"))
        return InvalidInputError.exit_code
    return code if isinstance(code, int) else 0
