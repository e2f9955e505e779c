"""What the harness raises. One root; a command-line exit code belongs to each leaf."""


class HarnessError(Exception):
    """Root of all exceptions of this package."""

    exit_code = 3


class InvalidInputError(HarnessError):
    """The user's input is wrong: a file, a key, a parameter. Says what, where and what was expected."""

    exit_code = 2


class NotArmed(HarnessError):  # noqa: N818 -- the name is part of the public contract
    """A fault was to be fired in a process that no supervisor has made a victim. Nothing was fired."""


class InfraError(HarnessError):
    """The harness itself could not do its job: a command that can't be executed, a limit that can't be set."""


class JudgeError(HarnessError):
    """The classifier under the gate threw, answered nonsense, hung or died. Says on which evidence or request."""

    exit_code = 1
