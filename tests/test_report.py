"""Reports: self-contained, escaped, well-formed, and true to the history."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import msgspec
import pytest

from harness.cli.report import of_formats
from harness.dialects import BUILT_IN
from harness.evidence import Evidence, Exited, Signaled
from harness.journal import Standing, read
from harness.report.counts import MOST_POINTS, Confusion, Curve
from harness.report.formats import FORMATS, Format, render
from harness.report.reader import HistoryReport
from harness.report.reader import read as read_report
from harness.scenarios.verdict import Verdict

PROGRAM = [sys.executable, "-m", "harness"]
EVIL = "</pre><script>alert(1)</script>\x07|`'\""
BROWSER = shutil.which("chromium")
VOID = {"meta", "path", "use", "br", "rect", "image"}


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, check=False, text=True, timeout=120)


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One history of runs, one of experiments, one of a command with an evil name."""
    folder = tmp_path_factory.mktemp("histories")
    made = {name: folder / name for name in ("runs", "trials", "evil")}
    assert command("run", "exit-status", "abort", "--history", made["runs"]).returncode == 0
    race = ("native-addon-race[torn-publish]", "--vs", "dose=.1", "--trials", "60")
    assert command("experiment", *race, "--history", made["trials"]).returncode == 0
    evil = ("--trials", "10", "--history", made["evil"], "--", "sh", "-c", f"echo; exit 3 # {EVIL}")
    assert command("experiment", *evil).returncode == 0
    return made


def report_of(path: Path) -> HistoryReport:
    """Read a history."""
    with read(path) as reading:
        return read_report(reading, path.name)


class Balance(HTMLParser):
    """Notes elements, and those that were not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.broken: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 -- the base's
        """Open."""
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 -- the base's
        """Open and close."""
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close."""
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.broken.append(tag)

    def handle_data(self, data: str) -> None:
        """Keep what is read aloud."""
        self.text += data


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("name", ["runs", "trials", "evil"])
def test_a_page_is_whole_and_needs_nothing(histories: dict[str, Path], name: str) -> None:
    """Balanced elements, no script, no address to load anything from, a language and a title."""
    text = render("html", report_of(histories[name]))
    page = Balance()
    page.feed(text)
    assert (page.broken, page.open) == ([], [])
    assert {"title", "main", "h1", "caption"} <= set(page.seen)
    assert not {"script", "img", "link", "iframe"} & set(page.seen)
    assert not re.search(r"(?:src|href)=\"(?!#)", text)
    assert not re.search(r"url\((?!#)", text)
    assert '<html lang="en">' in text


@pytest.mark.slow
def test_every_plot_has_words(histories: dict[str, Path]) -> None:
    """A label for who can't see it, and a caption with the figures for everybody."""
    text = render("html", report_of(histories["trials"]))
    assert text.count("<svg ") == text.count('<svg role="img" aria-label="') == text.count("<figcaption>") == 4
    assert "of 60 trials failed, 95 % interval" in text


@pytest.mark.slow
def test_what_a_victim_says_is_text(histories: dict[str, Path]) -> None:
    """Markup from a command reaches no format as markup; control characters are shown, and split no row."""
    told = report_of(histories["evil"])
    page, report, summary = render("html", told), render("junit", told), render("markdown", told)
    assert "<script>" not in page
    assert "\\x07" in page
    assert "\x07" not in page
    assert "alert(1)" in (ET.fromstring(report).find("testcase") or ET.Element("")).get("name", "")  # noqa: S314 -- our own
    assert "<script>" not in summary.replace("\\<script\\>", "")
    assert not [line for line in summary.splitlines() if line.startswith("<")]
    rows = [line for line in summary.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {7}
    assert not {"\x07", "\x1b"} & set(page + report + summary + render("terminal", told))


@pytest.mark.slow
def test_a_page_tells_what_the_history_has(histories: dict[str, Path]) -> None:
    """Verdicts, where the dialects differ, the place; for experiments the outcomes, the advice, the comparison."""
    runs, trials = (render("html", report_of(histories[name])) for name in ("runs", "trials"))
    assert runs.count('class="PASS"') == len(report_of(histories["runs"]).results) > 3
    assert "The dialects differ on" in runs
    assert "kernel" in runs
    assert "max attempts" in trials
    assert "Side by side:" in trials
    assert "extension sha256" in trials


@pytest.mark.slow
def test_the_confusion_matrix_counts_every_death(histories: dict[str, Path]) -> None:
    """In each dialect each truth has as many codes as there were attempts; strict decodes an exit of 139."""
    told = report_of(histories["runs"])
    attempts = sum(len(result.run.attempts) for result in told.results if result.run)
    per_dialect: dict[str, int] = {}
    for (_, dialect, _), count in told.confusion.counts.items():
        per_dialect[dialect] = per_dialect.get(dialect, 0) + count
    assert set(per_dialect.values()) == {attempts}
    assert told.confusion.counts["exit_status, forced", "strict", "TASK_PROCESS_SIGSEGV"] == 2
    assert next(told.confusion.rows())[2] is True


@pytest.mark.slow
def test_junit_counts_what_it_has(histories: dict[str, Path]) -> None:
    """The suite's counts are those of its cases; a FAIL is a failure with its reason."""
    told = report_of(histories["runs"])
    suite = ET.fromstring(render("junit", told))  # noqa: S314 -- our own
    assert (suite.get("tests"), suite.get("failures")) == (str(len(told.results)), "0")
    failed = msgspec.structs.replace(told, results=(msgspec.convert(_failed(told), type(told.results[0])),))
    suite = ET.fromstring(render("junit", failed))  # noqa: S314 -- our own
    failure = suite.find("testcase/failure")
    assert suite.get("failures") == "1"
    assert failure is not None
    assert failure.get("message") == "it broke"
    assert {"**FAIL**", "it broke"} <= set(re.findall(r"\*\*FAIL\*\*|it broke", render("markdown", failed)))


@pytest.mark.slow
def test_a_name_splits_no_row(histories: dict[str, Path]) -> None:
    """A bar in a scenario's name is a bar in its cell, an escape sequence is words, in every format."""
    told = report_of(histories["runs"])
    first = told.results[0]
    evil = msgspec.structs.replace(first, scenario=msgspec.structs.replace(first.scenario, name="a|b\x1b[31m\x9bc"))
    failing = msgspec.structs.replace(evil.judgement, verdict=Verdict.FAIL, reasons=("it broke",))
    told = msgspec.structs.replace(told, results=(msgspec.structs.replace(evil, judgement=failing),))
    rows = [line for line in render("markdown", told).splitlines() if line.startswith("| a")]
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 5
    assert rows[0].startswith(r"| a\|b\\x1b\[31m\\x9bc\[")
    for name in ("html", "junit", "markdown", "terminal"):
        assert "x1b" in render(name, told)
        assert not {"\x1b", "\x9b"} & set(render(name, told))
    ET.fromstring(render("junit", told))  # noqa: S314 -- our own


def _failed(told: HistoryReport) -> object:
    made = json.loads(msgspec.json.encode(told.results[0]))
    return made | {"judgement": {"verdict": "FAIL", "reasons": ["it broke"]}}


@pytest.mark.long
@pytest.mark.slow
def test_the_command_writes_files_and_json(histories: dict[str, Path], tmp_path: Path) -> None:
    """All formats at once; a file that can't be written is wrong use, and the old one stays."""
    names = ("page.html", "junit.xml", "summary.md")
    options = [
        word
        for option, name in zip(("--html", "--junit", "--markdown"), names, strict=True)
        for word in (option, tmp_path / name)
    ]
    ran = command("report", histories["trials"], *options, "--json")
    assert ran.returncode == 0, ran.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert [len(one["findings"]) for one in json.loads(ran.stdout)["experiments"]] == [2]
    assert {(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {0o666 & ~umask()}
    refused = command("report", histories["trials"], "--html", tmp_path / "no" / "page.html")
    assert (refused.returncode, "there is no folder" in refused.stderr) == (2, True)
    assert command("report", tmp_path / "nothing").returncode == 2
    assert "max attempts" in command("report", histories["trials"]).stdout


def umask() -> int:
    """Bits that this process takes from the mode of new files."""
    found = os.umask(0o077)
    os.umask(found)
    return found


def test_a_format_is_a_file_and_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is in the registry has an option in `report`; a new one touches nothing else."""
    (tmp_path / "shouting.py").write_text("def render(report):\n    return report.name.upper()\n")
    monkeypatch.setattr("harness.report.__path__", [str(tmp_path)])
    monkeypatch.setitem(FORMATS, "shouting", Format("shouting", "Write it large."))
    told = HistoryReport("name", None, Standing("empty"), {}, ())
    assert render("shouting", told) == "NAME"
    made = click.Command("x")
    of_formats(made)
    options = {name for one in made.params for name in one.opts}
    assert options == {"--html", "--junit", "--markdown", "--shouting"}


def test_a_curve_does_not_grow_for_ever() -> None:
    """A million groups leave at most 400 points, the first and last tenth among them."""
    curve = Curve()
    for group in range(1, 100_001):
        curve.add(group * 10, group)
    trials = [n for n, _ in curve.points]
    assert len(trials) <= MOST_POINTS + 1
    assert trials == sorted(trials)
    assert trials[-1] > 990_000


def test_rows_that_differ_come_first() -> None:
    """And are marked, each with all its codes."""
    confusion = Confusion()
    same: dict[str, str | None] = dict.fromkeys(BUILT_IN, "X")
    confusion.add("a", same, 3)
    confusion.add("b", same | {"strict": None})
    rows = [(truth, cells["strict"], differ) for truth, cells, differ in confusion.rows()]
    assert rows == [("b", {"no error": 1}, True), ("a", {"X": 3}, False)]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
def test_a_browser_shows_it_without_complaint(histories: dict[str, Path], tmp_path: Path) -> None:
    """Headless Chromium renders the page and has nothing to say on its console."""
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    page.write_text(render("html", report_of(histories["trials"])))
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    options = [*quiet, f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", f"--screenshot={picture}"]
    assert BROWSER is not None
    ran = subprocess.run([BROWSER, *options, page.as_uri()], capture_output=True, check=False, text=True, timeout=60)
    assert "CONSOLE" not in ran.stderr
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (
            Evidence(Signaled("SIGSEGV"), black_box="unavailable: it is static"),
            "SIGSEGV, no crash record (it is static)",
        ),
        (Evidence(Signaled("SIGSEGV"), black_box="off"), "SIGSEGV"),
        (Evidence(Signaled("SIGTERM"), black_box="unavailable: it is static"), "SIGTERM"),
        (Evidence(Exited(3), black_box="unavailable: it is static"), "exited 3"),
    ],
)
def test_a_lost_record_is_told_with_its_reason(evidence: Evidence, expected: str) -> None:
    """A crash that nobody could see says why; what is no crash, or was not to be seen, says nothing of it."""
    assert str(evidence) == expected
