"""Many trials of one shot, cheaply: a small process, below a guard, that starts a victim a trial."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import msgspec

from harness.evidence import EndedBy, Evidence, Host, Memory, Start, Termination, Witness
from harness.exceptions import InfraError, InvalidInputError
from harness.supervisor import box
from harness.supervisor.attend import INTENTS
from harness.supervisor.confinement import Containment, Wanted, contain, process_options
from harness.supervisor.guard import Guard, Report
from harness.supervisor.launch import MODES, zygote_command
from harness.supervisor.limits import Enforcement, Limits, enforce
from harness.supervisor.output import Tail
from harness.supervisor.process import GRACE_S, Shot, decode_status, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WELCOME = struct.Struct("<IIiI4096s")  # magic, memory_limited, cgroup version and path
REQUEST = struct.Struct("<IIqq512s")  # magic, count, deadline_ms, grace_ms, words
HEAD = struct.Struct("<IiIiiIQQQQ")  # magic, wait status, intent, survivors, oom_kills, text bytes, times, rss, cpu
BOX_BYTES, TEXT_BYTES, BATCH = box.USED_BYTES, 128, 64
TRIAL_BYTES = HEAD.size + BOX_BYTES + TEXT_BYTES
STATUS_AND_WITNESS = struct.Struct(f"<4xi{HEAD.size - 8}x8xI")
REQUEST_MAGIC, WELCOME_MAGIC, TRIAL_MAGIC = 0x5A484331, 0x5A484332, 0x5A484333
NOTHING_FIRED = {box.WITNESSES.index(Witness.UNTOUCHED), box.WITNESSES.index(Witness.REFUSED)}
RENEW_EVERY = 10_000
PATIENCE_S = 30.0  # beyond deadline and grace: what a batch, and the sweep after a trial, may take


class Group(msgspec.Struct, frozen=True):
    """What the trials of one zygote's life have in common; `number` counts lives from 1."""

    number: int
    shot: Shot
    start: Start
    deadline_s: float | None
    enforcement: Enforcement
    containment: Containment


class Trial(msgspec.Struct, frozen=True, gc=False):
    """One victim's end as some 1,200 bytes; whatever it means is decoded when it is asked for."""

    record: bytes
    wait_status: int
    group: Group

    @property
    def termination(self) -> Termination:
        """The decoded wait status."""
        return decode_status(self.wait_status)

    def evidence(self) -> Evidence:
        """All that was seen of the victim, as supervise() tells it."""
        return _evidence(self)


def _evidence(trial: Trial) -> Evidence:
    _, status, intent, survivors, oom_kills, text_bytes, started, ended, rss, cpu_us = HEAD.unpack_from(trial.record)
    contents = box.decode(trial.record[HEAD.size : HEAD.size + BOX_BYTES])
    group = trial.group
    text = trial.record[HEAD.size + BOX_BYTES :][: min(text_bytes, TEXT_BYTES)]
    return Evidence(
        termination=decode_status(status),
        ended_by=INTENTS[intent] if intent < len(INTENTS) else EndedBy.SELF,
        witness=contents.witness,
        faults=contents.faults,
        memory=Memory(
            limit_bytes=group.enforcement.limit_bytes,
            limited_by=group.enforcement.by,
            peak_rss_bytes=rss,
            oom_kills=oom_kills if oom_kills >= 0 else None,
            allocation_failures=box.refusals(contents),
        ),
        stderr=text.decode("utf-8", "replace"),
        deadline_s=group.deadline_s,
        duration_s=(ended - started) / 1e9,
        cpu_s=cpu_us / 1e6,
        survivors=survivors,
        containment=group.containment.name,
        limits=group.enforcement.counts,
        host=group.shot.host,
        start=group.start,
        group=group.number if group.start == "warm" else None,
    )


class _Life:
    """One zygote process from its start to its end."""

    def __init__(
        self, host: Host, start: Start, enforcement: Enforcement, options: list[str], env: Mapping[str, str]
    ) -> None:
        command = zygote_command(host, start)
        with ExitStack() as stack:
            self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.callback(self.socket.close)
            with theirs:
                self.guard = Guard(command, options, env, theirs.fileno())
            stack.enter_context(self.guard)
            self._welcome(enforcement)
            self._close = stack.pop_all().close
        self.used = 0

    def _welcome(self, enforcement: Enforcement) -> None:
        cgroup, path = enforcement.cgroup, b""
        if cgroup:
            path = os.fsencode(f"{cgroup.parent}/{self.guard.cgroup_name}")
        version = cgroup.version if cgroup else 0
        self._send(WELCOME.pack(WELCOME_MAGIC, enforcement.by != "none", version, 0, path))

    def _send(self, message: bytes) -> None:
        try:
            self.socket.send(message)
        except OSError:
            raise InfraError(f"the zygote {self._end()}") from None

    def close(self) -> None:
        """End it and all its victims."""
        self._close()

    def request(self, shot: Shot, count: int, deadline_ms: int, grace_ms: int) -> None:
        """Ask for `count` trials. Raises InfraError when it is gone."""
        words = b"".join(word.encode() + b"\0" for word in shot.words())
        self._send(REQUEST.pack(REQUEST_MAGIC, count, deadline_ms, grace_ms, words))

    def records(self, patience_s: float | None) -> bytes:
        """Receive the next records. Raises InfraError when none come: it is gone, or has been stopped."""
        self.socket.settimeout(patience_s)
        try:
            data = self.socket.recv(TRIAL_BYTES * BATCH)
        except TimeoutError:
            raise InfraError("the zygote does not answer") from None
        except OSError:
            data = b""
        if not data:
            raise InfraError(f"the zygote {self._end()}")
        if len(data) % TRIAL_BYTES:
            raise InfraError("the zygote answers in torn records")
        return data

    def _end(self) -> str:
        heard = self.guard.receive()
        how = str(decode_status(heard.wait_status)) if isinstance(heard, Report) else "was told to end"
        errors = Tail(self.guard.stderr)
        errors.drain()
        return ": ".join([how, *errors.text().strip().splitlines()[-1:]])


class Zygote:
    """Fires shots in victims that share what can be shared without sharing a fate.

    `start` "warm": each victim is a fork of a process that has loaded the fault code and nothing else, so victims
    of one group share its layout. "fresh": each is a new image with a layout of its own. After `renew_every` trials
    the process is replaced. Limits hold each victim; a memory cgroup holds all of them, one at a time.
    What a victim writes to stdout is dropped; the first 128 bytes of its stderr are kept.
    """

    def __init__(
        self,
        host: Host = "native",
        start: Start = "warm",
        limits: Limits = Limits(),  # noqa: B008 -- frozen
        *,
        renew_every: int = RENEW_EVERY,
        containment: Wanted = "auto",
        env: Mapping[str, str] | None = None,
    ) -> None:
        if renew_every < 1:
            raise InvalidInputError(f"renew_every: expected 1 or more, not {renew_every}")
        self._host: Host = host
        self._start: Start = start
        self._env = os.environ if env is None else env
        self._renew_every = renew_every
        self._enforcement, self._held = enforce(limits), contain(containment)
        self._options = [*self._enforcement.guard_options(), *process_options(limits.processes)]
        if self._held.namespace:
            self._options.append("--namespace")
        self._life: _Life | None = None
        self._lives = 0

    def fire(
        self, shot: Shot, count: int, deadline_s: float | None = None, grace_s: float = GRACE_S
    ) -> Iterator[Trial]:
        """Yield `count` trials of `shot` as they end; the deadline is each trial's own.

        Raises InfraError when the zygote dies: for trials that were not answered there is no verdict. The next
        call begins with a new one. The same where a shot was refused. Raises InvalidInputError for a mode or time
        that means nothing.
        """
        if shot.mode not in MODES:
            raise InvalidInputError(f"mode: {shot.mode!r} is not one of {', '.join(MODES)}")
        shot = msgspec.structs.replace(shot, host=self._host)
        times = (-1 if deadline_s is None else milliseconds("deadline", deadline_s), milliseconds("grace", grace_s))
        patience = None if deadline_s is None else deadline_s + grace_s + PATIENCE_S
        while count > 0:
            life = self._ready()
            share = min(count, self._renew_every - life.used)
            group = Group(self._lives, shot, self._start, deadline_s, self._enforcement, self._held)
            finished = False
            try:
                life.request(shot, share, *times)
                yield from _trials(life, group, share, patience)
                finished = True
            finally:
                if not finished:  # whatever it is in the middle of is nobody's any more
                    self.close()
            life.used += share
            count -= share

    def _ready(self) -> _Life:
        if self._life and self._life.used >= self._renew_every:
            self.close()
        if self._life is None:
            self._life = _Life(self._host, self._start, self._enforcement, self._options, self._env)
            self._lives += 1
        return self._life

    def cancel(self) -> None:
        """From another thread: end the process and all its victims now; whoever waits for a trial gets InfraError."""
        life = self._life
        for _ in ("SIGTERM", "SIGKILL"):
            if life:
                life.guard.cancel()

    def close(self) -> None:
        """End the process and all its victims."""
        if self._life:
            self._life.close()
        self._life = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _trials(life: _Life, group: Group, count: int, patience_s: float | None) -> Iterator[Trial]:
    while count > 0:
        data = life.records(patience_s)
        for at in range(0, len(data), TRIAL_BYTES):
            status, witness = STATUS_AND_WITNESS.unpack_from(data, at)
            trial = Trial(data[at : at + TRIAL_BYTES], status, group)
            if witness in NOTHING_FIRED:
                _refuse(trial)
            yield trial
        count -= len(data) // TRIAL_BYTES


def _refuse(trial: Trial) -> None:
    """Raise InfraError: the fault was never reached, and that says nothing about it."""
    fault = trial.group.shot.fault
    contents = box.decode(trial.record[HEAD.size : HEAD.size + BOX_BYTES])
    if contents.witness is Witness.REFUSED:
        raise InfraError(f"{fault}: the victim refused: {contents.refusal}")
    raise InfraError(f"{fault}: never fired; the victim {trial.termination}")
