"""The pages that tell a reader what to type tell the truth: every command is run, and prints what the page says."""

from pathlib import Path

import pytest
from pages import BLOCK, Step, follow, shell_lines, steps

DOCS = Path(__file__).parent.parent / "docs"
ANYTHING = "…"


@pytest.mark.long
@pytest.mark.slow
def test_the_tutorial_prints_what_it_says(tmp_path: Path) -> None:
    """A reader who types what the tutorial says sees what it says, from the first command to the last."""
    told = steps(DOCS / "tutorial.md")
    assert len([step for step in told if step.command]) > 5
    for step in told:
        assert follow(step, tmp_path) == ""


@pytest.mark.long
@pytest.mark.slow
def test_the_first_screen_of_the_readme_works(tmp_path: Path) -> None:
    """Whoever types it gets an answer about a crash of their own, and the test on it fails with that answer."""
    program = tmp_path / "my-program"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    screen = (DOCS.parent / "README.md").read_text().partition("## From a fresh clone")[0]
    lines = [line.strip() for line in screen.splitlines() if line.startswith("    crash-harness ")]
    (test,) = [block["text"] for block in BLOCK.finditer(screen) if block["kind"] == "python"]
    (tmp_path / "test_mine.py").write_text(test)
    assert len(lines) == 2
    assert follow(Step(lines[0], "…\nCRASHED after 1 attempt (…)\n", 1), tmp_path) == ""
    assert follow(Step(lines[1], "…\n  failures 200 of 200: 100.0%\n…\n"), tmp_path) == ""
    assert follow(Step("pytest -q test_mine.py", "…\nE  …AssertionError: SIGSEGV…\n…\n", 1), tmp_path) == ""


@pytest.mark.long
@pytest.mark.slow
def test_the_files_for_ci_work(tmp_path: Path) -> None:
    """Every shell line on the page about CI does its job, in the order of the page."""
    told, lines = steps(DOCS / "ci.md"), dict.fromkeys(shell_lines(DOCS / "ci.md"))
    assert (len(told), len(lines)) > (3, 6)
    for step in (*told, *(Step(line, ANYTHING) for line in lines)):
        assert follow(step, tmp_path) == ""
