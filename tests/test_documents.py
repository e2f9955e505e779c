"""The pages: links lead somewhere, and whatever they tell people to type exists."""

import re
from itertools import chain
from pathlib import Path

import click
import pytest

from harness.cli.program import program

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTS = sorted(Path(__file__).parent.glob("test_*.py"))
PROGRAM = click.Context(program)


def commands(group: click.Command, context: click.Context) -> dict[str, click.Command]:
    """Commands of a group by their names."""
    if not isinstance(group, click.Group):
        return {}
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command}


COMMANDS = commands(program, PROGRAM)


def options(command: click.Command) -> set[str]:
    """All options of a command and of those below it."""
    below = (options(one) for one in commands(command, PROGRAM).values())
    own = (name for one in command.params for name in (*one.opts, *one.secondary_opts))
    return {*own, *chain.from_iterable(below), "--help", "--json"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_holds_both_sides_of_a_merge(page: Path) -> None:
    """No page was committed with the marks of a conflict in it."""
    assert re.findall(r"^(?:<{7}|>{7}|={7})(?: .*)?$", page.read_text(), re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_are_there(page: Path) -> None:
    """A page that another one speaks of exists, and a source file or a test that a page names."""
    text = page.read_text()
    named = re.findall(r"\bdocs/[a-z0-9-]+\.md", text)
    named += re.findall(r"`((?:harness|native|scenarios|tests)/[\w/.-]+\.\w+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
    tests = set(re.findall(r"^def (test_\w+)", "\n".join(map(Path.read_text, TESTS)), re.MULTILINE))
    assert set(re.findall(r"`(test_\w+)`", text)) <= tests


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_the_pages_exist(page: Path) -> None:
    """`crash-harness WORD --option` is a command that has the option."""
    wrong = []
    for name, rest in re.findall(r"crash-harness ([a-z]+)\b([^\n`|]*)", page.read_text()):
        ours = re.sub(r"'[^']*'", "", re.split(r"(?:^|\s)--(?:\s|$)", rest)[0])  # another command may be quoted
        asked = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", ours))
        known = options(COMMANDS[name]) if name in COMMANDS else set()
        if name not in COMMANDS or asked - known:
            wrong.append(f"{name} {' '.join(sorted(asked - known))}")
    assert wrong == []
