"""supervise(): one process life, from start to evidence."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec

from harness.evidence import EndedBy, Evidence, Exited, Host, Memory, Signaled, Termination, Witness
from harness.exceptions import InfraError, InvalidInputError, expected
from harness.supervisor import box, preload, terminal
from harness.supervisor.attend import INTENTS, Audience, attend
from harness.supervisor.backtrace import CoreTrap
from harness.supervisor.confinement import Containment, Wanted, contain, process_options
from harness.supervisor.guard import INHERITED, Guard, Report, check
from harness.supervisor.launch import host_command, shot_words
from harness.supervisor.limits import LONGEST_S, Enforcement, Limits, enforce
from harness.supervisor.observe import OUTSIDE, Observe, Observer, Seen, observed, observed_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.supervisor.attend import Journal
    from harness.supervisor.stop import Stop

GRACE_S = 0.5
Stdin = Literal["null", "inherit"]
STDIN = {"null": None, "inherit": INHERITED}


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
        """Return the arguments from which both hosts read the shot."""
        return shot_words(self.fault, self.mode, self.parameters)


Victim = Command | Shot


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
    observe: Observe = "auto",
    backtrace: bool | Callable[[Termination], bool] = False,
    directory: str | None = None,
    channel: int | None = None,
    library: preload.Library | None = None,
    stdin: Stdin = "null",
    in_terminal: bool = False,
) -> Evidence:
    """Run one process under `limits` and tell what was seen.

    At `deadline_s` seconds the victim gets SIGTERM, and SIGKILL `grace_s` later. Whatever it leaves behind is
    killed. `relay` gets each chunk of its output with 1 for stdout, 2 for stderr. `stop` ends it early.
    `journal` is told before the spawn and before each signal that is sent. `containment` demands a namespace,
    or does without one. `observe` says who looks at a command: "library" (preloaded where that is possible, it records
    crash signals, and with a memory limit refused allocations), "perf" (the kernel's page faults), "auto" (both),
    "trace" (a tracer, which a command can notice), or "off". A fault of ours carries its record itself; "perf" and
    "trace" look at it as well.
    `backtrace` has gdb read the core of a crash, where there are both; the evidence says why there is none. It may ask
    of which deaths. `directory` is where a command works, if not here.
    `channel` becomes descriptor 5 of the victim (see supervisor.channel). `library` is carried in the box's place.

    A command inherits what this process has: descriptors that are inheritable, ignored signals, the mask. `stdin`
    "null" gives it an empty standard input, "inherit" ours. `in_terminal` hands it the terminal on which this process
    is in the foreground.

    Raises InfraError when the process could not be started or watched: that is never a crash of the victim;
    InvalidInputError for a time or size that means nothing; and KeyboardInterrupt when Ctrl-C has ended a victim that
    had the terminal.
    """
    victim, argv = _victim(command)
    enforcement, held = enforce(limits), contain(containment)
    env, ours = os.environ if env is None else env, isinstance(victim, Shot)
    limited = enforcement.by != "none"
    with ExitStack() as stack:
        observer = stack.enter_context(Observer(_who_looks(observe, victim, library), memory_limited=limited))
        page = stack.enter_context(box.page(memory_limited=limited)) if ours else observer.page
        trap = stack.enter_context(CoreTrap(directory, own_folder=ours)) if backtrace else None
        options = [*enforcement.guard_options(), *process_options(limits.processes)]
        options += [*_deadline_options(deadline_s, grace_s), *_place_options(held, directory, library)]
        options += [*(trap.options() if trap else []), *observer.options()]
        if journal:
            journal.started()
        carried = library.page if library else page
        start = partial(Guard, argv, env=env, page=carried, channel=channel, seen=observer.seen)
        start = partial(start, stdin=STDIN[stdin], clean=ours)
        life = _in_terminal if in_terminal else _anywhere
        report, out, err = life(start, options, Audience(stop, relay, journal))
        check(report, argv)
        contents = box.read(page) if ours and page is not None else None
        seen, frames = observer.tell(), _frames(trap, report, backtrace) if trap else None
    evidence = _evidence(report, contents, enforcement, (out, err))
    evidence = msgspec.structs.replace(evidence, deadline_s=deadline_s, containment=held.name, backtrace=frames)
    return _checked(victim, contents, evidence, seen)


def _victim(command: Victim | Sequence[str]) -> tuple[Victim, Sequence[str]]:
    """Return what is to live, and the words that start it."""
    if isinstance(command, str):
        raise InvalidInputError(f"command: expected a list of words, not the string {command!r}")
    victim = command if isinstance(command, Command | Shot) else Command(tuple(command))
    argv = victim.argv if isinstance(victim, Command) else [*host_command(victim.host), *victim.words()]
    if not argv:
        raise InfraError("the command is empty")
    if any("\0" in word for word in argv):
        raise expected("command", "words without a zero byte, at which the kernel would end them", list(argv))
    return victim, argv


def _is_traced(wait_status: int, wanted: bool | Callable[[Termination], bool]) -> bool:
    end = decode_status(wait_status)
    return isinstance(end, Signaled) and (wanted(end) if callable(wanted) else wanted)


def _anywhere(start: Callable[[list[str]], Guard], options: list[str], audience: Audience) -> tuple[Report, str, str]:
    """Run the victim, and return the guard's report and the last of the output."""
    with start(options) as guard:
        return attend(guard, audience)


def _in_terminal(
    start: Callable[[list[str]], Guard], options: list[str], audience: Audience
) -> tuple[Report, str, str]:
    """Do the same with the terminal lent to the victim. Raises KeyboardInterrupt if Ctrl-C has ended the victim."""
    try:
        with start([*options, *_closed_options(), *terminal.guard_options()]) as guard, terminal.unhindered():
            seen = attend(guard, audience)
    except BaseException:
        terminal.reclaim()
        raise
    report = seen[0]
    if report.had_terminal and not report.failed_step and report.wait_status == signal.SIGINT:
        terminal.interrupt()
    return seen


def _closed_options() -> list[str]:
    """Options of the guard for a stdout or stderr that we were started without: then the victim has none either."""
    streams = {1: sys.stdout, 2: sys.stderr}
    return [word for number, stream in streams.items() if stream is None for word in ("--closed", str(number))]


def _frames(trap: CoreTrap, report: Report, wanted: bool | Callable[[Termination], bool]) -> str | None:
    trap.belongs_to(report.victim, report.group)
    return trap.text() if _is_traced(report.wait_status, wanted) else None


def _who_looks(observe: Observe, victim: Victim, library: preload.Library | None) -> Observe:
    """Who is to look for crashes: a fault of ours carries its own record, and another library takes the box's place."""
    return "off" if library or (isinstance(victim, Shot) and observe not in OUTSIDE) else observe


def _place_options(held: Containment, directory: str | None, library: preload.Library | None) -> list[str]:
    """Options of the guard: where the victim lives, and what it carries."""
    options = ["--namespace"] if held.namespace else []
    options += ["--directory", directory] if directory else []
    return [*options, "--preload", library.path] if library else options


def _deadline_options(deadline_s: float | None, grace_s: float) -> list[str]:
    options = ["--grace-ms", str(milliseconds("grace", grace_s))]
    return options if deadline_s is None else [*options, "--deadline-ms", str(milliseconds("deadline", deadline_s))]


def milliseconds(name: str, seconds: float) -> int:
    """Convert a time. Raises InvalidInputError for one that means nothing."""
    if not 0 <= seconds <= LONGEST_S:  # false for NaN as well
        raise InvalidInputError(f"{name}: expected 0 to {LONGEST_S} seconds, not {seconds}")
    return round(seconds * 1000)


def _memory(report: Report, contents: box.Contents | None, enforcement: Enforcement) -> Memory:
    return Memory(
        limit_bytes=enforcement.limit_bytes,
        limited_by=enforcement.by,
        peak_rss_bytes=report.peak_rss_bytes,
        peak_cgroup_bytes=report.cgroup_peak_bytes or None,
        oom_kills=report.oom_kills if report.oom_kills >= 0 else None,
        allocation_failures=box.refusals(contents),
        stuck_in_oom=report.stuck_in_oom == 1 if report.stuck_in_oom >= 0 else None,
    )


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
        limits=enforcement.counts,
    )


def _checked(victim: Victim, contents: box.Contents | None, evidence: Evidence, seen: Seen) -> Evidence:
    """Add what the witnesses saw. Raises InfraError where a fault was never reached: that says nothing about it."""
    if isinstance(victim, Command):
        return observed(evidence, seen)
    evidence = observed_beside(msgspec.structs.replace(evidence, host=victim.host, start="fresh"), seen)
    if contents is None:
        return evidence
    if contents.witness is Witness.REFUSED:
        raise InfraError(f"{victim.fault}: the victim refused: {contents.refusal}")
    if contents.witness in (Witness.UNTOUCHED, None) and evidence.ended_by is not EndedBy.CANCEL:
        last = evidence.stderr.strip().splitlines()[-1:] or ["no output"]
        raise InfraError(f"{victim.fault}: never fired; the victim {evidence.termination}: {last[0]}")
    return evidence
