"""Runs what a page tells its reader to type: files that it shows are written, commands are run, output is compared."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"(?:`(?P<file>[\w.]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
EXIT = re.compile(r"^\[exit (\d+)\]\n?", re.MULTILINE)
DEADLINE_S = 120.0


class Step(NamedTuple):
    """A command and what it prints, with "…" for anything; or a file and its text, without a command."""

    command: str
    text: str
    status: int = 0
    file: str = ""


def steps(page: Path) -> list[Step]:
    """Return the steps of a page, in their order. Blocks that are neither a file nor a console are for reading."""
    found = []
    for block in BLOCK.finditer(page.read_text()):
        if block["file"]:
            found.append(Step("", block["text"], file=block["file"]))
        elif block["kind"] == "console":
            for one in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
                command, _, told = one.partition("\n")
                status = EXIT.search(told)
                found.append(Step(command, EXIT.sub("", told), int(status[1]) if status else 0))
    return found


def follow(step: Step, folder: Path) -> str:
    """Do one step in `folder`, and return what was wrong with it; nothing where the page says the truth."""
    if step.file:
        (folder / step.file).write_text(step.text)
        return ""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", f"exec 2>&1; {step.command}"],
        cwd=folder,
        env=os.environ | {"PATH": path, "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        timeout=DEADLINE_S,
        check=False,
        text=True,
    )
    if done.returncode != step.status:
        return f"$ {step.command}\nexit status {done.returncode}, and not {step.status}:\n{done.stdout}"
    if not re.fullmatch(pattern(step.text), done.stdout, re.DOTALL):
        return f"$ {step.command}\nthe page says:\n{step.text}\nit printed:\n{done.stdout}"
    return ""


def pattern(told: str) -> str:
    """A line of "…" alone is any number of lines; elsewhere it is anything on the line."""
    lines = [
        r"(?:.*\n?)?" if line == "…" else "[^\n]*".join(map(re.escape, line.split("…"))) + "\n"
        for line in told.splitlines()
    ]
    return "".join(lines)


def shell_lines(page: Path) -> list[str]:
    """The commands in the YAML of a page, as a runner gets them; installations are left out."""
    yaml = "\n".join(block["text"] for block in BLOCK.finditer(page.read_text()) if block["kind"] == "yaml")
    found = re.findall(r"^ +(?:- )?(?:run: |- (?=crash-harness|pytest))(.+)$", yaml, re.MULTILINE)
    return [line for line in found if "pip install" not in line]
