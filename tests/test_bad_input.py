"""Bad input of every kind, by the command line: one clear line, the documented exit code, no traceback, no waiting."""

import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from harness.cli import lines
from harness.cli.program import run
from harness.exceptions import InvalidInputError
from harness.reading import MOST_BYTES, read_file

EXIT_0 = b'{"termination": {"kind": "exited", "status": 0}}\n'


@pytest.mark.parametrize("words", [["exec", "--timeout"], ["run"], ["exec", "--dialect"], ["faults"]])
def test_a_megabyte_of_a_word_is_not_told_back(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An error shows the beginning and the end of what was written, and not all of it."""
    assert run([*words, "x" * 100_000]) == 2
    said = capsys.readouterr().err
    assert "xxx" in said
    assert max(map(len, said.splitlines())) < 1_000


def test_a_function_that_no_module_could_have_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A judge's name that is no name starts no process."""
    assert run(["exec", "--classifier", '{"a":1', "--", "true"]) == 2
    assert "dialect: expected module:function or cmd:PROGRAM, not '{\"a\":1'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["exec", "--classifier", "", "--", "false"], "--classifier: expected module:function or cmd:PROGRAM, not ''"),
        (["exec", "--classifier", "cmd:/no/such", "--", "false"], "there is no program /no/such that can be executed"),
        (
            ["sweep", "--ok", "value ==", "json:loads"],
            "ok: expected module:function, 'exit 1,2' or a Python expression",
        ),
        (
            ["sweep", "--ok", "(" * 3_000, "json:loads"],
            "ok: expected module:function, 'exit 1,2' or a Python expression",
        ),
        (["sweep", "--review", "2024-13-45", "json:loads"], "--review: expected a day as YYYY-MM-DD, not '2024-13-45'"),
        (["gate", "record", "--review", "x", "-o", "x"], "--review: expected a day as YYYY-MM-DD, not 'x'"),
    ],
)
def test_what_means_nothing_is_told_before_anything_is_run(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty judge, a program that is not there, an expression that is none and a day that never was: refused."""
    assert run(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("line", ['version = "1"', "version = 1.0", "version = true", "owner = 1"])
def test_a_sweeps_baseline_is_read_strictly(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What looks like the version of the format is not taken for it."""
    (tmp_path / "known.toml").write_text(f"{line}\n")
    assert run(["sweep", "json:loads", "--baseline", str(tmp_path / "known.toml")]) == 2
    assert f"known.toml: {line.split(maxsplit=1)[0]}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", ["--width", "--alpha", "--beta", "--power", "--expect-below", "--target", "--time", "--seconds-per-trial"]
)
@pytest.mark.parametrize("number", ["nan", "inf", "1e400", "-1", "0"])
def test_a_number_that_says_nothing_is_wrong_use(option: str, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither infinity nor what is no number bounds an experiment."""
    assert run(["experiment", "--plan", f"{option}={number}", "--", "true"]) == 2
    assert f"crash-harness: {option}: " in capsys.readouterr().err


def test_a_word_with_a_zero_byte_is_wrong_use() -> None:
    """No command can have one; Python's words can."""
    with pytest.raises(InvalidInputError, match="command: expected words without a zero byte"):
        harness.run(["true", "a\0b"])


OUTPUTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("folder", lambda path: path.mkdir(), "is a folder, expected a file"),
    ("none/file", lambda _: None, "there is no folder"),
    ("file/below", lambda path: path.parent.write_text(""), "there is no folder"),
    ("n" * 300, lambda _: None, "File name too long"),
]


@pytest.mark.parametrize("listing", ["", " ", "'", "echo 'x"])
def test_a_listing_command_that_is_none_is_wrong_use(listing: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--each wants a command; an empty one, or one with an open quote, is refused and runs nothing."""
    assert run(["experiment", "--trials", "1", "--each", listing, "--", "true"]) == 2
    assert capsys.readouterr().err.startswith("crash-harness: --each: ")


def test_an_empty_second_command_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    """--vs wants a command or a change; blanks are neither."""
    assert run(["experiment", "--trials", "1", "--vs", " ", "--", "true"]) == 2
    assert "--vs: expected schedule=SEED or another command, and it is empty" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["policy.json", "", "x" * 9_000])
def test_a_policy_that_is_no_json_is_shown_what_is_one(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody who gives the name of a file is told that the option takes the text itself."""
    assert run(["exec", "--retry-config", given, "--", "true"]) == 2
    assert """--retry-config: expected JSON like {"maxAttempts": 3}, not '""" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["no-such-thing", "/dev/null", "."])
def test_an_engine_that_can_not_be_started_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No cell is run with a program that is none."""
    assert run(["engines", "check", name]) == 2
    assert f"{name}: no engine that `crash-harness engines` lists, and no program" in capsys.readouterr().err


@pytest.mark.parametrize("place", OUTPUTS, ids=[name[:10] for name, _, _ in OUTPUTS])
@pytest.mark.parametrize(
    "words", [["run", "--html"], ["run", "--junit"], ["gate", "record", "-o"], ["gate", "check", "b.toml", "--junit"]]
)
def test_where_no_file_can_be_is_told_before_anything_runs(
    words: list[str],
    place: tuple[str, Callable[[Path], object], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody waits for a whole run to learn that its report has no place."""
    name, make, said = place
    make(tmp_path / name)
    monkeypatch.setattr("harness.scenarios.campaign.Campaign.live", lambda *_: pytest.fail("it was run"))
    assert run([*words, str(tmp_path / name), *(["controls"] if "check" not in words else [])]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_a_pipe_or_a_new_file_can_be_written(tmp_path: Path) -> None:
    """What a shell makes of >(…), a device, and a link to nothing are places for a report."""
    (tmp_path / "link").symlink_to(tmp_path / "new")
    assert run(["run", "--html", "/dev/null", "--junit", str(tmp_path / "link"), "controls[never]"]) == 0
    assert "controls" in (tmp_path / "new").read_text()


UNREADABLE: list[tuple[str, Callable[[Path], object], str]] = [
    ("without end", lambda path: path.symlink_to("/dev/zero"), "it has more than 8 MiB"),
    ("of random bytes", lambda path: path.symlink_to("/dev/urandom"), "it has more than 8 MiB"),
    ("a pipe", os.mkfifo, "it is a pipe, expected a file"),
    ("a loop", lambda path: path.symlink_to(path), "Too many levels of symbolic links|No such file"),
    ("a folder", lambda path: path.mkdir(), "Is a directory|no scenario files|is a folder|is a directory"),
    ("nested", lambda path: path.write_text("a = " + "[" * 100_000), "it is nested too deeply"),
    ("of digits", lambda path: path.write_text("a = " + "9" * 5_000), "an integer of more digits"),
    ("of another time", lambda path: path.write_bytes(b'claim = "\xe9"'), "it is not UTF-8"),
    ("huge", lambda path: path.write_bytes(b"x" * (MOST_BYTES + 1)), "it has more than 8 MiB"),
]


@pytest.mark.parametrize(("make", "said"), [one[1:] for one in UNREADABLE], ids=[what for what, _, _ in UNREADABLE])
@pytest.mark.parametrize(
    "words", [["run"], ["gate", "check"], ["engines", "check"], ["sweep", "json:loads", "--baseline"]]
)
def test_a_file_that_is_none_is_one_line(
    words: list[str], make: Callable[[Path], object], said: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Devices, pipes and documents that nobody can read are refused at once, whatever file they stand for."""
    path = tmp_path / "case.toml"
    make(path)
    assert run([*words, str(path)]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_a_shells_pipe_is_read_where_that_makes_sense() -> None:
    """A list of commands may come from <(…); a scenario, which is called as its file, may not."""
    read, write = os.pipe()
    os.write(write, b"true\n")
    os.close(write)
    path = Path(f"/proc/self/fd/{read}")
    with pytest.raises(InvalidInputError, match="it is a pipe"):
        read_file(path)
    assert read_file(path, pipes=True) == "true\n"
    os.close(read)


def test_a_line_without_end_is_refused_and_the_next_one_answered(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A filter holds a bounded part of a line; one that does not end, as of a device, ends the filter."""
    monkeypatch.setattr(lines, "MOST_BYTES", 100)
    monkeypatch.setattr(lines, "ENDLESS_BYTES", 1_000)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x" * 350 + b"\n" + EXIT_0)))
    assert run(["classify"]) == 2
    first, second = capfdbinary.readouterr().out.splitlines()
    assert b"line 1: a line of more than 0 MiB" in first
    assert b'"cause":"completed"' in second
    assert run(["classify", "/dev/zero"]) == 2
    assert b"/dev/zero: a line of more than" in capfdbinary.readouterr().err


def test_bytes_that_are_no_text_are_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A filter says that a line is not UTF-8, and not which codec found that out."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n")))
    assert run(["classify"]) == 2
    assert capfdbinary.readouterr().out == b'{"invalid":"line 1: it is not UTF-8"}\n'
