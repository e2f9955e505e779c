"""What a guarded session has for a terminal, and its warnings as values."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import warnings

    from harness.child.guarded import Channel


class Screen:
    """A file whose text the parent shows: live logs, --setup-show."""

    encoding = "utf-8"

    def __init__(self, channel: "Channel") -> None:
        self._channel = channel

    def write(self, text: str) -> int:
        """Send the text to the parent."""
        self._channel.send("screen", text=text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: no text is buffered."""

    def isatty(self) -> bool:
        """Answer for the parent's terminal, where the text is shown."""
        return False


class Mute:
    """A terminal reporter without hooks: some plugins need one to be there, or read its statistics."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("pytest_", "__")):
            raise AttributeError(name)
        return getattr(self._inner, name)


def mute(config: pytest.Config, channel: "Channel", screen: dict[str, Any]) -> None:
    """Let the session write to its parent's terminal only, as that looks, and report nothing there by itself."""
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None:
        return
    config.pluginmanager.unregister(reporter)
    writer = type(reporter._tw)(Screen(channel))  # noqa: SLF001 -- a reporter has no other way to its writer
    for name, value in screen.items():
        setattr(writer, name, value)
    reporter._tw = writer  # noqa: SLF001 -- as above
    config.pluginmanager.register(Mute(reporter), "terminalreporter")


class Properties:
    """What stands for JUnit's writer, which the parent has: passes on what fixtures note for the file."""

    def __init__(self, channel: "Channel", family: str) -> None:
        self._channel, self.family = channel, family

    def node_reporter(self, nodeid: str) -> "Attributes":
        """Stand for the writer of one test."""
        return Attributes(self._channel, nodeid)

    def add_global_property(self, name: str, value: object) -> None:
        """Note a property of the whole run."""
        self._channel.send("property", nodeid=None, name=str(name), value=value)


class Attributes:
    """Takes the place of JUnit's writer of one test, which the parent has."""

    def __init__(self, channel: "Channel", nodeid: str) -> None:
        self._channel, self._nodeid = channel, nodeid

    def add_attribute(self, name: str, value: object) -> None:
        """Note an attribute of the test."""
        self._channel.send("property", nodeid=self._nodeid, name=str(name), value=value)


def warning_words(message: "warnings.WarningMessage") -> dict[str, Any]:
    """Say a warning in values: its class and what that is made of by their names, its text, and where it was."""
    said, category = message.message, message.category
    return {
        "kinds": [(kind.__module__, kind.__qualname__) for kind in category.__mro__ if issubclass(kind, Warning)],
        "args": said.args if isinstance(said, Warning) else (said,),
        "text": str(said),
        "file": message.filename,
        "line": message.lineno,
    }
