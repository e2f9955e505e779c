"""What the harness raises. One root; a command-line exit code belongs to each leaf.

The functions below word what is wrong with an input, so that every way in says it alike: where, what was expected,
what was given, and what was near.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.evidence import Evidence

MOST_SHOWN = 80


class HarnessError(Exception):
    """Root of all exceptions of this package. `exit_code` is the one that the command line ends with.

    try:
        run = harness.run(["./job"], harness.Policy(3))
    except harness.HarnessError as error:
        sys.exit(f"no verdict: {error}")
    """

    exit_code = 3


class InvalidInputError(HarnessError):
    """What the caller wrote is wrong: an argument, a file, a key. It says what, where and what was expected.

    Nothing was run, but for a function whose result can't travel, which shows only once it has been called.

        >>> harness.Policy(3, {"maxAttemps": 5})
        InvalidInputError: policy.retry: there is no 'maxAttemps'; there are …; did you mean 'maxAttempts'?
    """

    exit_code = 2


class NotArmed(HarnessError):  # noqa: N818 -- the name is part of the public contract
    """A fault was to be fired in a process that no supervisor has made a victim. Nothing was fired.

    `harness.faults.fire.fire` raises it, so that a test suite or a service never crashes by a stray call:

        with pytest.raises(harness.NotArmed):
            fire("null_read")
    """


class InfraError(HarnessError):
    """The harness itself could not do its job: a command that can't be executed, a limit that can't be set.

    It says nothing about the job, and is never retried as if it did.

        with pytest.raises(harness.InfraError, match="can't be executed"):
            harness.run(["/no/such/program"])
    """


class NativeCrash(HarnessError):  # noqa: N818 -- the name is part of the public contract
    """A call or a guarded test ended its process. `evidence` has the facts: signal, fault record, memory, output.

    @pytest.mark.xfail(raises=harness.NativeCrash)
    def test_known_to_crash(): ...
    """

    exit_code = 1

    def __init__(self, message: str, evidence: Evidence | None = None) -> None:
        super().__init__(message)
        self.evidence = evidence


class JudgeError(HarnessError):
    """The classifier under the gate threw, answered nonsense, hung or died. Says on which evidence or request."""

    exit_code = 1


def expected(where: str, what: str, given: object) -> InvalidInputError:
    """Word a value of the wrong kind: "timeout_s: expected a number of seconds above 0, not '60'"."""
    return InvalidInputError(f"{where}: expected {what}, not {shown(given)}")


def unknown(where: str, given: object, known: Iterable[str]) -> InvalidInputError:
    """Word a name that is not among those known: "machine: expected one of micro, small-1x, not 'smal'; did you …"."""
    names = list(known)
    return InvalidInputError(f"{where}: expected one of {', '.join(names)}, not {shown(given)}{near(given, names)}")


def near(given: object, known: Iterable[str]) -> str:
    """Word the nearest of the known names, to end an error with: "; did you mean 'offset'?", or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 -- only a mistake needs it

    found = get_close_matches(given, list(known), n=1) if isinstance(given, str) else []
    return f"; did you mean {found[0]!r}?" if found else ""


def shown(given: object) -> str:
    """Write a value as Python would, on one line, its end cut off where it is long."""
    try:
        text = repr(given)
    except Exception:  # noqa: BLE001 -- it is the user's own object, and may do anything
        text = f"a value of type {type(given).__name__}"
    if not text.isprintable():
        text = text.encode("unicode_escape").decode()
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
