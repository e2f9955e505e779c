"""What `exec --history` keeps of a command, and what it says when it takes one up."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from harness.engine.durable import EXEC, Durable
from harness.engine.loop import told
from harness.journal import as_text, here, job_of
from harness.machine import environment
from harness.report.words import taken_up_lines

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from harness.cli.relay import Relay
    from harness.engine.executor import Bounds
    from harness.engine.loop import Attempt
    from harness.engine.policy import Policy

OF_THE_JOB = ("command", "dialect", "backtrace", "wait", "containment", "stdin", "schedule")


def open_kept(path: Path, given: dict[str, Any], policy: Policy, bounds: Bounds) -> AbstractContextManager[Durable]:
    """Open the history of this command with these options. Raises InvalidInputError for one of another."""
    asked = {name: given[name] for name in OF_THE_JOB} | {"observe": given["witnesses"], "seed": given["seed"] or 0}
    within = {"policy": policy, "limits": bounds.limits, "timeout_s": bounds.timeout_s, "folder": here()}
    job = job_of(EXEC, (as_text(shlex.join(given["command"])),), **asked, **within)
    return Durable.open(path, job, environment())


def taken_up(kept: Durable, relay: Relay) -> list[Attempt]:
    """Say what a history has of the run, and return the attempts that had ended."""
    for line in taken_up_lines(kept):
        relay.say(line)
    return list(told(kept.saved).attempts)
