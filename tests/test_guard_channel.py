"""The way between a guarded process and its parent: what is only noted waits, and is never lost."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.child import guarded
from harness.pytest_guard.channel import Channel, ChannelClosed

HUGE = 5_000_000  # bytes, more than a socket holds


@contextmanager
def speaking(speak: Callable[[guarded.Channel], object]) -> Iterator[Channel]:
    """Have a fork speak, which hands its bell over first."""
    with Channel() as channel:
        pid = os.fork()
        if pid == 0:
            try:
                os.dup2(channel.theirs.fileno(), guarded.CHANNEL_FD)
                channel.close()
                ours = guarded.Channel()
                ours.send_files({"bell": ours.bell.fileno()})
                ours.bell.close()
                speak(ours)
            finally:
                os._exit(0)
        channel.hand_over()
        word, _, fds = channel.receive()
        assert word == "files"
        channel.wait_for(*fds)
        try:
            yield channel
        finally:
            channel.close()
            os.waitpid(pid, 0)
            os.close(*fds)


def heard(channel: Channel, until_s: float | None = None) -> list[str]:
    """Return all words until the other end is gone."""
    words: list[str] = []
    try:
        while True:
            words.append(channel.receive(until_s)[0])
    except ChannelClosed:
        return words


def test_what_was_noted_outlives_who_noted_it() -> None:
    """In its order, news between."""

    def speak(channel: guarded.Channel) -> None:
        for word in ("one", "two"):
            channel.note(word)
        channel.send("three")
        channel.note("four")

    with speaking(speak) as channel:
        assert heard(channel) == ["one", "two", "three", "four"]


def test_a_note_wakes_nobody() -> None:
    """It is heard with the next news, or where the parent does not want to wait any longer; then its time is over."""
    ready, go = os.pipe()

    def speak(channel: guarded.Channel) -> None:
        channel.note("noted")
        os.write(go, b"!")
        channel.receive()

    with speaking(speak) as channel:
        os.read(ready, 1)
        assert channel.receive(time.monotonic())[0] == "noted"
        with pytest.raises(TimeoutError):
            channel.receive(time.monotonic())
        channel.send("end")
    os.close(ready)
    os.close(go)


@pytest.mark.parametrize("size", [1, HUGE])
def test_more_notes_than_there_is_room_for_are_heard(size: int) -> None:
    """Many small ones, and one that is larger than a socket holds: nobody waits for the other for ever."""
    number = 20_000 if size == 1 else 3

    def speak(channel: guarded.Channel) -> None:
        for _ in range(number):
            channel.note("noted", data=b"x" * size)
        channel.send("end")

    with speaking(speak) as channel:
        words = heard(channel, time.monotonic() + 60)
    assert words == ["noted"] * number + ["end"]


def test_only_plain_values_travel() -> None:
    """What is of a class of its own becomes text, wherever it stands; the rest stays what it is."""

    class Name(str):
        __slots__ = ()

    values = {"a": [1, 2.5, None, True, (b"b", {"c": "d"})]}

    def speak(channel: guarded.Channel) -> None:
        channel.send("plain", value=values)
        channel.send("others", value=[Name("n"), Path("p"), {Name("k"): 1j}, int, Ellipsis])

    with speaking(speak) as channel:
        assert channel.receive()[1] == {"value": values}
        others = channel.receive()[1]["value"]
    assert others == ["n", "p", {"k": "1j"}, "<class 'int'>", "Ellipsis"]
    assert type(others[0]) is str


def test_without_a_bell_all_is_heard_at_once() -> None:
    """A test may close descriptors that are not its own."""

    def speak(channel: guarded.Channel) -> None:
        channel._bell.close()
        channel.note("noted")
        channel.send("news")
        channel.receive()

    with speaking(speak) as channel:
        assert [channel.receive()[0], channel.receive()[0]] == ["noted", "news"]


@pytest.mark.parametrize("nonsense", [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\2??", b"\0\0\0\1", b"\0"])
def test_nonsense_closes_the_channel(nonsense: bytes) -> None:
    """A size that none can have, what is no pickle, and a message without its end."""

    def speak(channel: guarded.Channel) -> None:
        channel._socket.sendall(nonsense)

    with speaking(speak) as channel:
        assert heard(channel) == []
