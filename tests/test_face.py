"""What it costs to import the package, to ask for help, and to have the plugin installed; and Ctrl-C at any moment."""

import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from ctrl_c import count

import harness
from harness.cli.commands import COMMANDS, help_text
from harness.cli.program import program
from harness.cli.version import checkout_commit, dialect_names
from harness.dialects import BUILT_IN


def python(*words: str) -> str:
    """Run Python, and return what it wrote."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_importing_the_package_loads_nothing() -> None:
    """One module of ours, and none beside those by which an editable install finds it."""
    show = "import sys, importlib.machinery, importlib.util{}; print(*sorted(sys.modules))"
    bare, ours = (python("-c", show.format(more)).split() for more in ("", ", harness"))
    assert set(ours) - set(bare) == {"harness"}


def test_every_public_name_is_there_and_no_other() -> None:
    """`__all__` is what can be fetched, and a misspelt name is an AttributeError that says it."""
    assert sorted(harness._HOMES) == sorted(harness.__all__)
    assert all(getattr(harness, name) is not None for name in harness.__all__)
    assert set(harness.__all__) <= set(dir(harness))
    with pytest.raises(AttributeError, match="Polisy"):
        getattr(harness, "Polisy")  # noqa: B009 -- a type checker knows that it is not there


def cpu_s(command: list[str]) -> float:
    """Measure the CPU time of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
def test_help_and_version_cost_at_most_four_bare_interpreters() -> None:
    """The least of nine turns each, taken in turns, so that the machine's load falls on all of them."""
    bare, *ours = [
        [sys.executable, "-c", "pass"],
        [sys.executable, "-m", "harness", "--help"],
        [sys.executable, "-m", "harness", "--version"],
    ]
    turns = [[cpu_s(command) for command in (bare, *ours)] for _ in range(9)]
    first, *others = (min(column) for column in zip(*turns, strict=True))
    assert max(others) <= 4 * first


@pytest.mark.long
@pytest.mark.slow
def test_ctrl_c_is_never_a_traceback_of_ours() -> None:
    """Wherever in its first moments a command is: exit 130 as soon as a line of ours runs."""
    ends = count([sys.executable, "-m", "harness", "exec", "--", "sleep", "60"], 20, 0.4)
    assert set(ends) <= {"exit 130", "traceback of Python's", "ended by SIGINT"}
    assert ends["exit 130"]


def commands() -> dict[str, click.Command]:
    """All commands by what one types."""
    context = click.Context(program)
    found = dict[str, click.Command]()
    for name in COMMANDS:
        command = program.get_command(context, name)
        assert command is not None
        below = command.commands if isinstance(command, click.Group) else {}
        found |= {f"{name} {other}": one for other, one in below.items()} or {name: command}
    return found


@pytest.mark.parametrize("name", commands())
def test_every_command_has_help_with_an_example_of_itself(name: str) -> None:
    """The example is a line that the command's own parser takes."""
    command = commands()[name]
    said = command.epilog or ""
    example = re.search(f"crash-harness {name}([^|>)]*)", said)
    assert example
    assert said.startswith("Example: ")
    with click.Context(command) as context:
        command.make_parser(context).parse_args(shlex.split(example[1]))
    assert command.help
    assert all(one.help or not isinstance(one, click.Option) for one in command.params)


def test_the_help_of_the_whole_fits_a_terminal() -> None:
    """80 columns, every command once."""
    lines = help_text().splitlines()
    assert max(map(len, lines)) < 80
    assert re.findall(r"^  (\w+)  +\S", help_text(), re.MULTILINE)[-len(COMMANDS) :] == list(COMMANDS)


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["replay", "x", "--trial", "1"], "--seed"),
        (["export", "x"], "--json"),
        (["report", "x"], "--seed"),
        (["faults"], "--dialect"),
        (["doctor"], "--seed"),
        (["classify"], "--json"),
        (["calibrate", "torn_publish"], "--seed"),
    ],
)
def test_a_command_refuses_the_options_that_it_has_no_use_for(words: list[str], option: str) -> None:
    """An option that does nothing is a lie: exit 2, and it is named."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words, option], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert re.search(f"there is no option .{option}", done.stderr)


def test_version_says_the_dialects() -> None:
    """It reads the names of their files, which are those of the registry."""
    assert set(dialect_names()) == set(BUILT_IN)


def test_version_says_the_commit_of_a_checkout(tmp_path: Path) -> None:
    """As git itself says it: of a branch, of a worktree, of packed references, of a detached head."""

    def git(*words: str, where: Path = tmp_path) -> str:
        named = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(
            ["git", "-C", str(where), *named, *words], capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    assert checkout_commit(str(tmp_path)) == ""
    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "x")
    assert checkout_commit(str(tmp_path)) == git("rev-parse", "HEAD")
    git("worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"))
    git("commit", "-q", "--allow-empty", "-m", "y", where=tmp_path / "tree")
    assert checkout_commit(str(tmp_path / "tree")) == git("rev-parse", "other")
    git("pack-refs", "--all")
    assert checkout_commit(str(tmp_path / "tree")) == git("rev-parse", "other")
    git("checkout", "-q", "--detach")
    assert checkout_commit(str(tmp_path)) == git("rev-parse", "main")
