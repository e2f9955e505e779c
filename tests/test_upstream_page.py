"""docs/upstream.md, the specification that code and tests point to: no pointer leads nowhere."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "upstream.md").read_text()
FILES = [path for room in ("harness", "tests", "scenarios") for path in (ROOT / room).rglob("*.*")]
TEXTS = [path.read_text() for path in FILES if path.suffix in {".py", ".mjs", ".toml"}]
ANCHORS = set(re.findall(r'<a id="([^"]+)">', PAGE))


def test_every_section_that_is_pointed_to_is_there() -> None:
    """By its number, whatever step or letter follows it."""
    pointed = {f"s{number}" for text in TEXTS for number in re.findall(r"§(\d+)", text)}
    assert pointed
    assert pointed - ANCHORS == set()


def test_every_quirk_that_is_pointed_to_is_there() -> None:
    """One, or two at once."""
    found = [one for text in TEXTS for one in re.findall(r"[Qq]uirks? (\d+)(?: and (\d+))?", text)]
    pointed = {f"quirk-{number}" for pair in found for number in pair if number}
    assert pointed
    assert pointed - ANCHORS == set()


def test_every_section_says_for_which_versions_it_holds() -> None:
    """Before anything else; the last one is the history itself."""
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    assert [one.split("\n", 1)[0] for one in sections if not re.match(r".*\n\nHolds?: ", one)] == [
        "§17 What changed, and when"
    ]
