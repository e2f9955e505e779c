"""crash-harness completion: what makes a shell complete the commands, their options and scenarios' names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from harness.cli.options.word import Word
from harness.cli.output import write
from harness.cli.program import COMPLETE, NAME, program

SHELLS = ("bash", "zsh", "fish")


@click.command(epilog='Example: eval "$(crash-harness completion bash)"')
@click.argument("shell", type=Word(SHELLS, "shell"))
def completion(shell: str) -> None:
    """Print the lines that make SHELL complete crash-harness; put them into the file that SHELL reads at its start."""
    kind = get_completion_class(shell)
    if kind is not None:
        write(kind(program, {}, NAME, COMPLETE).source())
