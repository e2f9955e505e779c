"""What is swept, from words to a host: a function by its name, or a command."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

import msgspec

from harness.exceptions import InvalidInputError
from harness.refusals.command import Command
from harness.refusals.server import Call, Process, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.refusals.targets import Plan
    from harness.refusals.trial import Host

FUNCTION = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")


class Subject(msgspec.Struct, frozen=True):
    """One function or one command. `call` is None for a command; `server` comes to the call in its own way."""

    words: tuple[str, ...]
    call: Call | None = None
    server: Process | None = None

    @property
    def name(self) -> str:
        """In a report's first line."""
        return self.call.call if self.call else " ".join(self.words)

    def host(self, plan: Plan) -> Callable[[], Host]:
        """Start a host for trials; may be called many times."""
        if self.call is None:
            return lambda: Command(self.words, plan.library)
        call = msgspec.structs.replace(self.call, leak=plan.leak)
        return lambda: serve(call, plan.deadline_s, self.server)


def function(name: str, call: Call) -> Subject:
    """A function by its name. Raises InvalidInputError for what is no name of one."""
    if not FUNCTION.fullmatch(name):
        raise InvalidInputError(f"{name}: expected module:function, or '--' and a command")
    module, _, path = name.partition(":")
    return Subject((name,), msgspec.structs.replace(call, call=name, module=module, name=path))


def settled(subject: Subject) -> Subject:
    """Return the subject with functions that its server can import, which uses our own import path."""
    here = os.getcwd()  # noqa: PTH109 -- a path to import by
    if subject.call and not subject.server and here not in sys.path:
        sys.path.insert(0, here)
    return subject


def command(words: Sequence[str], plan: Plan) -> Subject:
    """A command. Raises InvalidInputError for options that only a function can have."""
    if plan.leak:
        raise InvalidInputError("--leak: a command ends with its call; it needs a function")
    return Subject(tuple(words))
