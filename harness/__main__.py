"""The command line: crash-harness, or python -m harness."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130
INFRA = 3


def run() -> int:
    """Run the command line; a user's mistake gets one line and an exit code, never a traceback."""
    import click  # noqa: PLC0415 -- so that Ctrl-C while this is loaded is no traceback either

    from harness.cli.program import program  # noqa: PLC0415 -- as above
    from harness.exceptions import HarnessError  # noqa: PLC0415 -- as above
    from harness.supervisor.interrupt import terminable  # noqa: PLC0415 -- as above

    try:
        with terminable():
            code = program(prog_name="crash-harness", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except HarnessError as error:
        click.echo(f"crash-harness: {error}", err=True)
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _silence() -> None:
    """Let the last flush go nowhere: whoever read our output is gone, or there is no room for it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def main() -> None:
    """Run, flush, and leave with the exit code."""
    try:
        code = run()
        if sys.stdout:
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        _silence()
        code = 0
    except OSError as error:
        _silence()
        if sys.stderr:
            sys.stderr.write(f"crash-harness: {error}\n")
        code = INFRA
    sys.exit(code)


if __name__ == "__main__":
    main()
