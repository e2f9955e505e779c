"""The pages that tell a reader what to type tell the truth: every command is run, and prints what the page says."""

from pathlib import Path

import pytest
from pages import Step, follow, shell_lines, steps

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
def test_the_files_for_ci_work(tmp_path: Path) -> None:
    """Every shell line on the page about CI does its job, in the order of the page."""
    told, lines = steps(DOCS / "ci.md"), dict.fromkeys(shell_lines(DOCS / "ci.md"))
    assert (len(told), len(lines)) > (3, 6)
    for step in (*told, *(Step(line, ANYTHING) for line in lines)):
        assert follow(step, tmp_path) == ""
