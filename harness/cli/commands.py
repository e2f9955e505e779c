"""The commands by name, and what `--help` and `--version` say. It imports nothing, so that they cost nothing."""

COMMANDS = {
    "doctor": ("doctor:doctor", "Say what this machine can do, what is skipped, and why."),
    "exec": ("exec:exec_command", "Run a command of yours, classify how it ends, and retry it."),
    "run": ("run:run", "Run scenarios: what was observed against what was expected."),
    "experiment": ("experiment:experiment", "Fire many trials: how often they fail, and what to do."),
    "sweep": ("sweep:sweep", "Refuse the nth allocation of your own code: does it survive?"),
    "engines": ("engines:engines", "Make real crashes inside a real retry engine, and judge it."),
    "replay": ("replay:replay", "Run one trial of an experiment again."),
    "calibrate": ("calibrate:calibrate_race", "Find the window at which a race strikes as often as wanted."),
    "gate": ("gate:gate", "Record a baseline for CI, and check against it."),
    "report": ("report:report", "Tell what a history has: terminal, HTML, JUnit, Markdown."),
    "export": ("export:export", "Write a history as JSON lines."),
    "faults": ("faults:faults", "List the native faults, or tell all about one."),
    "dialects": ("dialects:dialects", "Say where two dialects differ."),
    "classify": ("filters:classify_lines", "Classify evidence: JSON lines in, JSON lines out."),
    "decide": ("filters:decide_lines", "Decide what becomes of runs: JSON lines in, JSON lines out."),
    "completion": ("completion:completion", "Print what makes a shell complete these commands."),
}
"""Name: the module in this room and the command in it; one line about it."""

_HELP = """\
Usage: crash-harness [OPTIONS] COMMAND [ARGS]...

  Make native code crash for real, and prove that a retry engine classifies and
  retries the crashes correctly.

Options:
  --version   Show the version, the commit and the dialects.
  -h, --help  Show this, or all about a command: crash-harness COMMAND --help.

Commands:
{commands}

  Example: crash-harness exec --max-attempts 3 -- python job.py

  Exit codes: 0 all as expected, 1 a FAIL, 2 wrong use, 3 the harness could not
  do its job, 4 UNKNOWN.
"""


def help_text() -> str:
    """Return the page of the whole command line."""
    widest = max(map(len, COMMANDS))
    return _HELP.format(commands="\n".join(f"  {name:{widest}}  {about}" for name, (_, about) in COMMANDS.items()))


def quick_answer(words: list[str]) -> str | None:
    """Answer what needs nothing loaded: the help, and the version. None for anything else."""
    if words in ([], ["--help"], ["-h"]):
        return help_text()
    if words == ["--version"]:
        from harness.cli.version import version_text  # noqa: PLC0415 -- it opens files, and help needs none

        return version_text()
    return None
