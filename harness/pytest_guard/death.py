"""A death in words: what the failure of a test says of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from harness.evidence import EndedBy, Evidence, Exited, address_class, signature
from harness.report.words import lines_of

if TYPE_CHECKING:
    from harness.pytest_guard.child import Death

FRAME: Final = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$')
STACK: Final = re.compile(r"^(Current thread|Thread) (?P<id>0x[0-9a-f]+)")
MACHINERY: Final = ("/_pytest/", "/pluggy/", "/harness/child/guarded", "/xdist/", "/hypothesis/")
PHASES: Final = ("setup", "call", "teardown")
SIGNAL_FRAME: Final = "<signal handler called>"
INTERPRETER: Final = "_PyEval_"
MOST_SHOWN: Final = 200
MEBIBYTE: Final = 2**20


class Frame(NamedTuple):
    """A line of a Python stack."""

    file: str
    line: int
    name: str


def headline(death: Death) -> str:
    """Write what fits into one line: "SIGSEGV SEGV_MAPERR null in libboom.so+0x116e"."""
    evidence, fault = death.evidence, death.evidence.fault
    if evidence.ended_by is EndedBy.DEADLINE:
        return f"took longer than {evidence.deadline_s:g} s"
    if evidence.ended_by is EndedBy.CANCEL:
        return "the process closed the harness's channel, and was ended"
    if isinstance(evidence.termination, Exited):
        return f"the process left with exit status {evidence.termination.status}"
    place = f" in {fault.module}+{fault.offset or 0:#x}" if fault and fault.module and not fault.is_sent else ""
    return f"{signature(evidence)}{place}"


def lines(death: Death, when: str) -> list[str]:
    """Write all that is known of it, a line each."""
    evidence = death.evidence
    told = [f"{headline(death)}, in {when}" if when not in PHASES else headline(death)]
    told += [f"    {line}" for line in (*_fault_lines(death), *_memory_lines(evidence))]
    if evidence.backtrace:
        told += ["native frames, innermost first:", *(f"    {line}" for line in native(evidence.backtrace))]
    for thread, frames in stacks(death.python):
        shown = own(frames) or frames
        told += [f"{thread}, innermost first:", *(f"    {one.file}:{one.line} in {one.name}" for one in shown)]
    return lines_of("\n".join(told)).split("\n")


def _fault_lines(death: Death) -> list[str]:
    fault = death.evidence.fault
    if fault is None:
        return []
    main = death.main_thread
    thread = "" if None in {fault.thread, main} else f", in thread {fault.thread}"
    thread += ", the main thread" if fault.thread == main and thread else ", not the main thread" if thread else ""
    where = "" if fault.address is None else f" ({address_class(fault)})"
    sender = "" if fault.sender is None else f", sent by process {fault.sender}"
    return [f"{fault}{where}{sender}{thread}"]


def _memory_lines(evidence: Evidence) -> list[str]:
    memory, parts = evidence.memory, []
    if memory.limit_bytes:
        parts.append(f"limit {memory.limit_bytes / MEBIBYTE:.0f} MiB")
    if memory.peak_rss_bytes:
        parts.append(f"peak {memory.peak_rss_bytes / MEBIBYTE:.0f} MiB")
    if memory.oom_kills:
        parts.append(f"{memory.oom_kills} OOM kill{'' if memory.oom_kills == 1 else 's'}")
    if memory.allocation_failures:
        parts.append(f"{memory.allocation_failures} refused allocations")
    return [f"memory: {', '.join(parts)}"] if parts else []


def stacks(text: str) -> list[tuple[str, list[Frame]]]:
    """Read what faulthandler wrote: the threads, the one that crashed first, with their frames."""
    found: list[tuple[str, list[Frame]]] = []
    for line in text.splitlines():
        if match := STACK.match(line):
            found.append(
                (
                    f"Python stack of the {'thread that crashed' if match[1] != 'Thread' else 'thread ' + match['id']}",
                    [],
                )
            )
        elif found and (frame := FRAME.match(line)):
            found[-1][1].append(Frame(frame["file"], int(frame["line"]), frame["name"]))
    return sorted((one for one in found if one[1]), key=lambda one: "crashed" not in one[0])


def native(backtrace: str) -> list[str]:
    """Keep the native frames of the crash itself: not those of the signal's handler, nor the interpreter's below."""
    frames = backtrace.splitlines()
    handler = next((at for at, frame in enumerate(frames) if SIGNAL_FRAME in frame), -1)
    kept: list[str] = []
    for frame in frames[handler + 1 :]:
        kept.append(frame if len(frame) <= MOST_SHOWN else f"{frame[:MOST_SHOWN]}…")
        if INTERPRETER in frame:
            break
    return kept


def own(frames: list[Frame]) -> list[Frame]:
    """Leave out what calls every test: all from pytest's own frames outwards."""
    kept: list[Frame] = []
    for frame in frames:
        if kept and any(part in frame.file for part in MACHINERY):
            break
        kept.append(frame)
    return kept


def place(death: Death, default: tuple[str, int]) -> tuple[str, int]:
    """Name file and line where a test's own code was when it died."""
    for _, frames in stacks(death.python)[:1]:
        for frame in own(frames):
            if not frame.file.startswith("<") and "/lib/python" not in frame.file:
                return frame.file, frame.line
    return default


def record(death: Death) -> dict[str, Any]:
    """What a report carries of it, in values that every plugin can pass on."""
    return {"headline": headline(death), "signal": str(death.evidence.termination)}
