"""What `--version` says: the version, the commit, the dialects. It reads small files and starts no process."""

from __future__ import annotations

import os

from harness import __version__

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 -- pathlib costs more than all of this


def version_text() -> str:
    """Return two lines: name, version and commit; the built-in dialects."""
    commit = checkout_commit(os.path.dirname(PACKAGE)) or _read(f"{PACKAGE}/commit.txt")  # noqa: PTH120 -- as above
    where = f" (commit {commit[:12]})" if commit else ""
    return f"crash-harness {__version__}{where}\ndialects: {', '.join(dialect_names())}\n"


def dialect_names() -> list[str]:
    """Return the built-in dialects' names. Each has a file that is called like it, and to load them costs too much."""
    files = sorted(os.listdir(f"{PACKAGE}/dialects"))  # noqa: PTH208 -- as above
    ours = [name.removesuffix(".py") for name in files if name.startswith(("upstream_", "strict"))]
    return [name.replace("_", "-", 1).replace("_", ".") for name in ours]


def checkout_commit(folder: str) -> str:
    """Return the commit that a checkout is at, read as git keeps it; empty where `folder` is no checkout."""
    git = f"{folder}/.git"
    told = _read(git)  # a file in a worktree: "gitdir: PATH"
    git = os.path.join(folder, told.removeprefix("gitdir: ")) if told else git  # noqa: PTH118 -- as above
    head = _read(f"{git}/HEAD")
    if not head.startswith("ref: "):
        return head
    name, shared = head.removeprefix("ref: "), os.path.join(git, _read(f"{git}/commondir") or ".")  # noqa: PTH118
    return _read(f"{git}/{name}") or _read(f"{shared}/{name}") or _packed(f"{shared}/packed-refs", name)


def _packed(path: str, name: str) -> str:
    lines = [line.split() for line in _read(path).splitlines()]
    return next((words[0] for words in lines if words[1:] == [name]), "")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 -- as above
            return file.read().strip()
    except (OSError, UnicodeDecodeError):
        return ""
