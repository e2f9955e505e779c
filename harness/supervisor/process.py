"""supervise(): one process life, from start to evidence."""

from __future__ import annotations

import os
import select
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Protocol, Self

import msgspec

from harness.evidence import EndedBy, Evidence, Exited, Host, Memory, Signaled, Termination, Witness
from harness.exceptions import InfraError, InvalidInputError
from harness.supervisor import box, preload
from harness.supervisor.backtrace import CoreTrap
from harness.supervisor.guard import Guard, Report, check
from harness.supervisor.ladder import Wanted, contain, process_options
from harness.supervisor.launch import host_command, shot_words
from harness.supervisor.limits import LONGEST_S, Enforcement, Limits, enforce
from harness.supervisor.output import Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GRACE_S = 0.5
PATIENCE_S = 10.0  # longer than the guard's own patience with survivors and with a slow journal
INTENTS = [EndedBy.SELF, EndedBy.DEADLINE, EndedBy.CANCEL, EndedBy.CLEANUP]


class Command(msgspec.Struct, frozen=True):
    """A command of the user's. Its witness is absent, and its box is a library that it may do without."""

    argv: tuple[str, ...]


class Shot(msgspec.Struct, frozen=True):
    """A fault to be fired: `mode` is forced, safe or wild; `host` is an interpreter with the extension, or C alone."""

    fault: str
    mode: str = "forced"
    parameters: dict[str, int] = {}
    host: Host = "python"

    def words(self) -> list[str]:
        """Both hosts read the shot from these."""
        return shot_words(self.fault, self.mode, self.parameters)


Victim = Command | Shot


class Journal(Protocol):
    """Who wants to know before something irreversible happens."""

    def started(self) -> None:
        """Note that a victim is about to be spawned."""

    def kill_intent(self, ended_by: EndedBy, signal: str) -> None:
        """Note that `signal` is about to be sent."""


class Stop:
    """A switch that ends every victim supervised with it. Safe to set from any thread or a signal handler."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC)

    def set(self) -> None:
        """Turn it on, for good."""
        os.eventfd_write(self._fd, 1)

    def is_set(self) -> bool:
        """Whether it was turned on."""
        return bool(select.select([self._fd], [], [], 0)[0])

    def fileno(self) -> int:
        """Readable once set."""
        return self._fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def decode_status(status: int) -> Termination:
    """Decode a wait status: the only place that does."""
    if os.WIFEXITED(status):
        return Exited(os.WEXITSTATUS(status))
    if os.WIFSIGNALED(status):
        return Signaled(box.signal_name(os.WTERMSIG(status)), core_dumped=os.WCOREDUMP(status))
    raise InfraError(f"status lost: {status:#x} is no end of a process")


def supervise(
    command: Victim | Sequence[str],
    limits: Limits = Limits(),  # noqa: B008 -- frozen
    deadline_s: float | None = None,
    *,
    grace_s: float = GRACE_S,
    env: Mapping[str, str] | None = None,
    stop: Stop | None = None,
    relay: Callable[[int, bytes], object] | None = None,
    journal: Journal | None = None,
    containment: Wanted = "auto",
    black_box: bool = True,
    backtrace: bool = False,
    channel: int | None = None,
    library: preload.Library | None = None,
) -> Evidence:
    """Run one process under `limits` and tell what was seen.

    At `deadline_s` seconds the victim gets SIGTERM, and SIGKILL `grace_s` later. Whatever it leaves behind is
    killed. `relay` gets each chunk of its output with 1 for stdout, 2 for stderr. `stop` ends it early.
    `journal` is told before the spawn and before each signal that is sent. `containment` demands a namespace,
    or does without one. `black_box` lets a command carry a library that records its crash and counts refused
    allocations, where that is possible; it takes a descriptor above 200, and what the command starts gets none.
    `backtrace` has gdb read the core of a crash, where there are both; the evidence says why there is none.
    `channel` becomes descriptor 5 of the victim (see supervisor.channel). `library` is carried in the box's place.

    Raises InfraError when the process could not be started or watched: that is never a crash of the victim; and
    InvalidInputError for a time or size that is none.
    """
    if isinstance(command, str):
        raise InvalidInputError(f"command: expected a list of words, not the string {command!r}")
    victim = command if isinstance(command, Command | Shot) else Command(tuple(command))
    enforcement, held = enforce(limits), contain(containment)
    argv = victim.argv if isinstance(victim, Command) else [*host_command(victim.host), *victim.words()]
    if not argv:
        raise InfraError("the command is empty")
    env = os.environ if env is None else env
    black_box = black_box and library is None
    no_box = "" if isinstance(victim, Shot) else preload.why_not(argv[0], env) if black_box else preload.OFF
    options = [
        *enforcement.guard_options(),
        *process_options(limits.processes),
        *_deadline_options(deadline_s, grace_s),
        *(["--namespace"] if held.namespace else []),
        *([] if no_box or isinstance(victim, Shot) else preload.options()),
        *(["--preload", library.path] if library else []),
    ]
    with ExitStack() as stack:
        page = None if no_box else box.create(memory_limited=enforcement.by != "none")
        if page is not None:
            stack.callback(os.close, page)
        trap = stack.enter_context(CoreTrap(own_folder=isinstance(victim, Shot))) if backtrace else None
        if journal:
            journal.started()
        carried = library.page if library else page
        with Guard(argv, [*options, *(trap.options() if trap else [])], env, carried, channel) as guard:
            report, out, err = _attend(
                guard, stop, relay, journal, None if deadline_s is None else deadline_s + grace_s
            )
        check(report, argv)
        contents = box.read(page) if page is not None else None
        frames = trap.text() if trap and os.WIFSIGNALED(report.wait_status) else None
    evidence = _evidence(report, contents, enforcement, (out, err))
    evidence = msgspec.structs.replace(evidence, deadline_s=deadline_s, containment=held.name, backtrace=frames)
    if isinstance(victim, Command):
        return msgspec.structs.replace(evidence, witness=None, black_box=preload.state(contents, no_box))
    evidence = msgspec.structs.replace(evidence, host=victim.host, start="fresh")
    return _checked(victim, contents, evidence)


def _deadline_options(deadline_s: float | None, grace_s: float) -> list[str]:
    options = ["--grace-ms", str(milliseconds("grace", grace_s))]
    return options if deadline_s is None else [*options, "--deadline-ms", str(milliseconds("deadline", deadline_s))]


def milliseconds(name: str, seconds: float) -> int:
    """Convert a time. Raises InvalidInputError for one that is none."""
    if not 0 <= seconds <= LONGEST_S:  # false for NaN as well
        raise InvalidInputError(f"{name}: expected 0 to {LONGEST_S} seconds, not {seconds}")
    return round(seconds * 1000)


def _attend(
    guard: Guard,
    stop: Stop | None,
    relay: Callable[[int, bytes], object] | None,
    journal: Journal | None,
    deadline_s: float | None,
) -> tuple[Report, str, str]:
    """Follow the output until the report comes, so that a flood can't block the victim or fill our memory."""
    tails = {
        guard.stdout: Tail(guard.stdout, partial(relay, 1) if relay else None),
        guard.stderr: Tail(guard.stderr, partial(relay, 2) if relay else None),
    }
    poller = select.poll()
    for fd in (*tails, guard.control, *((stop.fileno(),) if stop else ())):
        poller.register(fd, select.POLLIN)
    report, patience = None, Patience(deadline_s)
    while report is None:
        ready = {fd for fd, _ in poller.poll(patience.left_ms())}
        if not ready:
            patience.lose(guard)
        for fd in ready & tails.keys():
            if tails[fd].read() == b"":
                poller.unregister(fd)
        if guard.control in ready:
            report = _heed(guard, journal)
        if stop and stop.fileno() in ready:
            poller.unregister(stop.fileno())
            guard.cancel()
    for tail in tails.values():
        tail.drain()
    return report, tails[guard.stdout].text(), tails[guard.stderr].text()


class Patience:
    """How long to wait for a guard that has a deadline to keep.

    A victim that shares its namespace can stop it: it is let go on once, and given up the second time.
    """

    def __init__(self, deadline_s: float | None) -> None:
        self._end_s = None if deadline_s is None else time.monotonic() + deadline_s + PATIENCE_S
        self._lost = False

    def left_ms(self) -> float | None:
        """Milliseconds for poll(); None is for ever."""
        return None if self._end_s is None else max(0.0, self._end_s - time.monotonic()) * 1000

    def lose(self, guard: Guard) -> None:
        """Raise InfraError the second time."""
        if self._lost:
            raise InfraError("status lost: the guard does not answer")
        self._lost, self._end_s = True, time.monotonic() + PATIENCE_S
        guard.resume()


def _heed(guard: Guard, journal: Journal | None) -> Report | None:
    """Take the report, or journal a note and let the guard go on."""
    heard = guard.receive()
    if isinstance(heard, Report):
        return heard
    if journal:
        journal.kill_intent(INTENTS[heard.intent], box.signal_name(heard.signal_number))
    guard.acknowledge()
    return None


def _memory(report: Report, contents: box.Contents | None, enforcement: Enforcement) -> Memory:
    return Memory(
        limit_bytes=enforcement.limit_bytes,
        limited_by=enforcement.by,
        peak_rss_bytes=report.peak_rss_bytes,
        peak_cgroup_bytes=report.cgroup_peak_bytes or None,
        oom_kills=report.oom_kills if report.oom_kills >= 0 else None,
        allocation_failures=allocation_failures(contents),
        stuck_in_oom=report.stuck_in_oom == 1 if report.stuck_in_oom >= 0 else None,
    )


def allocation_failures(contents: box.Contents | None) -> int | None:
    """Zero is a count too: it takes someone who counted."""
    counted = contents and contents.armed and contents.counts_allocations
    return contents.allocation_failures if contents and counted else None


def _evidence(
    report: Report,
    contents: box.Contents | None,
    enforcement: Enforcement,
    output: tuple[str, str],
) -> Evidence:
    return Evidence(
        termination=decode_status(report.wait_status),
        ended_by=INTENTS[report.intent],
        witness=contents.witness if contents else None,
        faults=contents.faults if contents else (),
        memory=_memory(report, contents, enforcement),
        stdout=output[0],
        stderr=output[1],
        duration_s=(report.ended_ns - report.started_ns) / 1e9,
        cpu_s=report.cpu_us / 1e6,
        survivors=report.survivors,
    )


def _checked(victim: Victim, contents: box.Contents | None, evidence: Evidence) -> Evidence:
    """Raise InfraError where the fault was never reached: that says nothing about the fault."""
    if not isinstance(victim, Shot) or contents is None:
        return evidence
    if contents.witness is Witness.REFUSED:
        raise InfraError(f"{victim.fault}: the victim refused: {contents.refusal}")
    if contents.witness in (Witness.UNTOUCHED, None) and evidence.ended_by is not EndedBy.CANCEL:
        last = evidence.stderr.strip().splitlines()[-1:] or ["no output"]
        raise InfraError(f"{victim.fault}: never fired; the victim {evidence.termination}: {last[0]}")
    return evidence
