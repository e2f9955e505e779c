"""The command line: crash-harness, or python -m harness."""

from __future__ import annotations

import os
import sys

import click

from harness.cli.doctor import doctor
from harness.cli.exec import exec_command
from harness.cli.export import export
from harness.cli.faults import faults
from harness.cli.filters import classify_lines, decide_lines
from harness.cli.run import run
from harness.exceptions import HarnessError

INTERRUPTED = 130


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 all as expected, 1 a FAIL, 2 wrong use, 3 the harness could not do its job, 4 UNKNOWN.",
)
@click.version_option(package_name="crash-harness")
def cli() -> None:
    """Make native code crash for real, and prove that a retry engine classifies and retries the crashes correctly."""


for command in (doctor, faults, run, exec_command, classify_lines, decide_lines, export):
    cli.add_command(command)


def main() -> None:
    """Run the command line; a user's mistake gets one line and an exit code, never a traceback."""
    try:
        code = cli(prog_name="crash-harness", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except HarnessError as error:
        click.echo(f"crash-harness: {error}", err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the last flush is quiet
        code = 0
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
