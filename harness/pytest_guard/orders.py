"""What a guarded process is told at its start, so that it becomes the same pytest session that its parent is."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from _pytest.junitxml import xml_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

# What the parent does for all: choosing, stopping, reporting, distributing. A guarded process does none of it.
PARENTS: Final[Mapping[str, object]] = {
    **dict.fromkeys(("lf", "failedfirst", "newfirst", "stepwise", "stepwise_skip", "cacheclear"), False),
    **dict.fromkeys(("usepdb", "trace", "collectonly", "distload", "loadgroup", "looponfail"), False),
    **dict.fromkeys(("cacheshow", "numprocesses", "maxprocesses", "pastebin", "xmlpath", "crash_guard")),
    "dist": "no",
    "tx": [],
    "maxfail": 0,
    "log_file_mode": "a",  # the parent has begun the file already
}
WORKER: Final = "master"  # xdist's word for a process that is not distributed, so that fixtures do as they do there


def orders(config: pytest.Config, only: Path | None, poisoned: Mapping[str, str]) -> dict[str, Any]:
    """Return what a guarded process is told. `only` is the one file that it collects; None is all of them."""
    writer = getattr(config.pluginmanager.getplugin("terminalreporter"), "_tw", None)  # none with -p no:terminal
    return {
        "args": [*_early_words(config), *map(str, config.invocation_params.args)],
        "plugins": [one for one in config.invocation_params.plugins or () if isinstance(one, str)],
        "folder": str(config.invocation_params.dir),
        "path": list(map(os.fspath, sys.path)),
        "argv": sys.argv,
        "options": dict(PARENTS),
        "worker": _worker(config),
        "basetemp": str(_base(config)),
        "only": None if only is None else str(only),
        "poisoned": list(poisoned),
        "junit": getattr(config.stash.get(xml_key, None), "family", None),
        "screen": {name: getattr(writer, name, None) for name in ("hasmarkup", "fullwidth", "code_highlight")},
    }


def _early_words(config: pytest.Config) -> list[str]:
    """Return options for the new process: it must not erase the coverage that an earlier one has written."""
    return ["--cov-append"] if config.pluginmanager.hasplugin("_cov") else []


def _base(config: pytest.Config) -> Path:
    """The folder below which tests get theirs: the one of this session, so that paths are as they would be."""
    factory = config._tmp_path_factory  # type: ignore[attr-defined]  # noqa: SLF001 -- as xdist does; there is no other way
    base: Path = factory.getbasetemp()
    return base


def _worker(config: pytest.Config) -> dict[str, Any]:
    """Return what plugins look for in a worker of xdist's, to know that another process reports."""

    class Node:
        workerinput: dict[str, Any] = {  # noqa: RUF012 -- one node, and gone when this returns
            "workerid": WORKER,
            "workercount": 1,
            "testrunuid": f"crash-guard-{os.getpid()}",
            "mainargv": sys.argv,
            "cov_master_host": socket.gethostname(),
            "cov_master_topdir": str(config.rootpath),
            "cov_master_rsync_roots": [],
        }

    node: Any = Node()
    node.config = config
    if seed := config.getoption("randomly_seed", None):
        node.workerinput["randomly_seed"] = seed
    own = getattr(config, "workerinput", None)
    if own is None and hasattr(config.hook, "pytest_configure_node"):
        _ask_plugins(config, node)
    return {**node.workerinput, **(own or {}), "crash_guard": True}


def _ask_plugins(config: pytest.Config, node: Any) -> None:
    """Let each plugin that works with xdist say what its side in a worker needs; pytest-cov's needs a controller."""
    for one in config.hook.pytest_configure_node.get_hookimpls():
        if one.plugin_name != "_cov":
            one.function(node)
