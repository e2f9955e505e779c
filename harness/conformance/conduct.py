"""One cell, run once: jobs are submitted and watched until they have ended, then the engine is taken down."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from harness.conformance import processes
from harness.conformance.client import GoneError
from harness.conformance.expected import expect
from harness.conformance.memory import Group
from harness.conformance.protocol import MACHINES, SMALL, Cap, Declaration
from harness.conformance.scratch import GROUP
from harness.conformance.stage import Order, Stage
from harness.exceptions import InfraError
from harness.supervisor import Cgroup

if TYPE_CHECKING:
    from pathlib import Path

    from harness.conformance.record import Line, Record

MOST_STARTS = 3
RUN_X_S, RUN_S, RUN_PILLS_S = 0.2, 0.3, 0.6
BARRIER_S, BARRIER_REST_S = 8.0, 0.2
PILL_INNOCENTS, LIMITED_INNOCENTS, INNOCENTS = 7, 4, 3
CANCEL_AFTER_S = 0.4
SLACK_S = 0.5
LEAVE_S = 2.0
DEATH_S = 5.0
PATIENCE = 8  # times the horizon in real seconds; a life that takes longer proves nothing
LOG_BYTES = 2000


class Play:
    """The course of a cell."""

    def __init__(self, stage: Stage, declared: Declaration) -> None:
        self.stage, self.declared = stage, declared
        self.cell, self.record, self.clock = stage.cell, stage.record, stage.record.clock
        self.course = expect(self.cell, declared)
        self.wide = declared.can(Cap.CONCURRENT)
        self._cancel_tried, self._kills = False, 0
        self._began = self._horizon = 0.0
        self._group: Group | None = None

    def live(self) -> None:
        """From `start` to `stop`."""
        workers = self.stage.order.workers + (self.cell.pills > 1) if self.wide else 1
        self.stage.start(self.declared, workers)
        before = self._living(self.stage.alive()[1])
        roles = self._plan()
        self.stage.submit(roles)
        self._began = time.monotonic()
        self._horizon = self.clock.look(self._began) + self._limit_s()
        self._until_over()
        if self.declared.can(Cap.LATE_SUBMIT) and not self.record.cut:
            self._canary()
        if self.cell.cancel == "run" and self.stage.state("b1") == "ok":
            self.stage.client.ask("cancel", job=self.record.jobs["b1"])  # it has ended: nothing may change
        self._watch_on()
        self._count_workers(before)
        self._stop()

    # --- the plan ---

    def _plan(self) -> list[str]:
        """Lay down what each job does; returns the roles in the order of submission."""
        cell, stage = self.cell, self.stage
        pills = ["X", "Y"][: cell.pills]
        count = PILL_INNOCENTS if cell.pills > 1 else LIMITED_INNOCENTS if cell.policy.timeout_s else INNOCENTS
        roles = ["b0", *pills, *(f"b{number}" for number in range(1, count))]
        for role in roles:
            run_s = RUN_X_S if role in pills else RUN_PILLS_S if cell.pills > 1 and role != "b0" else RUN_S
            stage.add(
                role, {"faults": list(cell.faults) if role in pills else ["ok"], "run_s": run_s, **self._cgroup()}
            )
        if self.wide and cell.has_barrier:
            self._bar(pills)
        return roles

    def _bar(self, pills: list[str]) -> None:
        """Make X wait until b0 runs, and b0 until the fault has fired, so that b0 really is in flight at the crash."""
        jobs, wait_s = self.record.jobs, BARRIER_S + self.declared.detect_s
        self.stage.change("b0", {"wait_for": f"{jobs['X']}.fired", "wait_s": wait_s, "run_s": BARRIER_REST_S})
        for role in pills:
            self.stage.change(role, {"wait_for": f"{jobs['b0']}.1", "wait_s": wait_s})

    def _cgroup(self) -> dict[str, str]:
        """Make a cgroup of the suite's own where an OOM is asked for and the engine has no machines."""
        order = self.stage.order
        if "oom" not in self.cell.faults or self.declared.can(Cap.MACHINE):
            return {}
        if self._group is None:
            place = Cgroup(order.cgroup_version, order.cgroup_parent)
            try:
                self._group = Group(place, f"{GROUP}{self.stage.run}", MACHINES[SMALL])
            except OSError as error:
                raise InfraError(f"memory cgroup: {error.strerror}") from error
        return {"cgroup": str(self._group.path)}

    def _limit_s(self) -> float:
        """The horizon: within it every job must have its verdict."""
        policy, d = self.cell.policy, self.declared
        barrier = BARRIER_S + d.detect_s if self.wide and self.cell.has_barrier else 0.0
        timeout = policy.timeout_s + d.timeout_grace_s if policy.timeout_s else 0.0
        each = RUN_X_S + RUN_S + (policy.backoff_s or 0.0) + timeout + d.detect_s
        return d.detect_s + self._most() * each + 2 + barrier + 2 * (self.cell.pills - 1)

    def _most(self) -> int:
        return max(self.course.limit, self.cell.policy.max_attempts or 1)

    # --- the looks ---

    def _tick(self) -> None:
        self.stage.tick()
        self._check_patience()

    def _until_over(self) -> None:
        while self.clock.now < self._horizon and not all(map(self.stage.is_over, self.record.jobs)):
            self._tick()
            fires = self.record.of("X", "fire")
            if len(self.record.of("X", "start")) >= MOST_STARTS * self._most() + MOST_STARTS:
                self.record.cut = True
                return
            if self.cell.cancel and fires and not self._cancel_tried:
                self._cancel(fires[0])
            if self.cell.durable and len(fires) > self._kills:
                self._kill(len(fires))

    def _check_patience(self) -> None:
        """Raise InfraError where the suite, or the adapter, is so slow that the life has no end in sight."""
        if self.clock.late_s > self._horizon / 2:
            raise InfraError(f"the suite itself was late by {self.clock.late_s:.1f} s: the machine is too busy")
        if time.monotonic() - self._began > PATIENCE * self._horizon:
            raise InfraError(
                f"the cell took {PATIENCE} times its horizon of {self._horizon:.0f} s: the answers are slow"
            )

    def _cancel(self, fire: Line) -> None:
        """Cancel X in the middle of a hang, or of a backoff, which begins when X is seen dead."""
        if self.cell.cancel == "backoff" and len(self.record.of("X", "start")) > 1:
            raise InfraError("the suite came too late to cancel within the backoff")
        since = self.record.life(fire).dead_at if self.cell.cancel == "backoff" else fire.at
        if since is None or time.monotonic() - since < CANCEL_AFTER_S:
            return
        self._cancel_tried = True
        reply = self.stage.client.ask("cancel", job=self.record.jobs["X"])
        self.record.cancelled_at = time.monotonic()
        if "error" in reply:
            self.stage.see("P15", f"cancel: {str(reply['error'])[:300]}")

    def _kill(self, fires: int) -> None:
        """Kill all supervisors while X runs, once the innocents are done or half of the time is over.

        The payload is killed last: a supervisor that saw it die would report that death, and is to be lost itself.
        """
        innocents = [role for role in self.record.jobs if role.startswith("b")]
        if not all(map(self.stage.is_over, innocents)) and self.clock.now < self._horizon / 2:
            return
        self._kills = fires
        _, workers = self.stage.alive()
        tree = processes.below(os.getpid(), processes.everything()) - {self.stage.client.pid}
        if not tree & set(workers):
            raise InfraError("alive: none of its workers is a process below the adapter, so none can be killed")
        starts = [line.process for line in self.record.lines if line.ev == "start"]
        payload = [pid for process in starts if (pid := processes.find(*process))]
        marked = [pid for pid in dict.fromkeys([*workers, *payload]) if pid in tree]
        for pid in marked:
            processes.kill(pid)
        end = time.monotonic() + DEATH_S
        while any(map(processes.is_there, marked)):
            if time.monotonic() > end:
                raise InfraError("a supervisor outlives SIGKILL")
            time.sleep(0.01)
        self.stage.alive(self.declared.start_s, revive=True)
        self._horizon += 2 * self.declared.detect_s

    def _canary(self) -> None:
        self.stage.add("canary", {"faults": ["ok"], "run_s": RUN_S})
        self.stage.submit(["canary"])
        end = self.clock.look(time.monotonic()) + 2 * self.declared.detect_s + 2
        while self.clock.now < end and not self.stage.is_over("canary"):
            self._tick()

    def _watch_on(self) -> None:
        """Look on after the last verdict, as long as a late crash, a forgotten retry or a surviving hang would take."""
        longest = [0.4, (self.cell.policy.backoff_s or 0.0) + 0.3]
        if "late" in self.cell.faults:
            longest.append(0.9)
        if self.cell.hangs or self.cell.cancel:
            longest.append(self.declared.detect_s + 0.8)
        end = self.clock.now + max(longest)
        while self.clock.now < end:
            self._tick()

    # --- the end ---

    def _living(self, workers: list[int]) -> int:
        return sum(map(processes.is_there, workers))

    def _count_workers(self, before: int) -> None:
        """Wait until the engine has `before` living workers again, as long as it needs to notice a death."""
        end = self.clock.look(time.monotonic()) + self.declared.detect_s + SLACK_S
        while True:
            alive, workers = self.stage.alive()
            living = self._living(workers)
            if alive and living >= before:
                return
            if self.clock.look(time.monotonic()) > end:
                break
            self.stage.rest(0.1)
            self._check_patience()
        says = "" if alive else "says that it does not live; "
        self.stage.see("P8", f"the engine {says}had {before} living workers, has {living}", by_clock=alive)

    def _stop(self) -> None:
        """Stop the engine, wait two seconds, and note each process of the payload that is still there."""
        self.stage.ask("stop", self.declared.stop_s)
        end = self.clock.look(time.monotonic()) + LEAVE_S
        while self.clock.look(time.monotonic()) < end and (self.stage.client.process.poll() is None or self._left()):
            self.stage.rest(0.05)
        self.stage.read()
        for line in self._left():
            self.stage.see("P18", f"the process of attempt {line.n} of {self._role(line)} outlived stop", by_clock=True)

    def _left(self) -> list[Line]:
        return [line for line in self.record.lines if line.ev == "start" and processes.lives(*line.process)]

    def _role(self, line: Line) -> str:
        return next((role for role, job in self.record.jobs.items() if job == line.job), line.job)

    def close(self) -> None:
        """Read the counter of the kernel, and remove the cgroup."""
        if not self._group:
            return
        try:
            self.record.oom_kills = self._group.kills()
        except OSError as error:
            self.record.infra = self.record.infra or f"memory cgroup: its counter: {error.strerror}"
        self._group.remove()


def live(order: Order, declared: Declaration, folder: Path, ports: list[int], run: str) -> Record:
    """Live a cell below the calling process, which must be a subreaper; nothing of it is left afterwards."""
    with (folder / "log").open("wb") as log:
        stage = Stage(order, folder, ports, run, log)
        record, play = stage.record, None
        try:
            stage.hello()
            play = Play(stage, declared)
            play.live()
        except InfraError as error:
            record.infra = str(error)
        except GoneError as error:
            _gone(stage, str(error))
        finally:
            _clear(stage)
            if play:
                play.close()
    record.log = _end_of_log(folder)
    if not record.infra:
        record.infra = _nothing_proved(stage)
    return record


def _gone(stage: Stage, why: str) -> None:
    """Note that the adapter is gone: before a fault has fired that proves nothing, after it the fault may be why."""
    record = stage.record
    try:
        stage.read()
    except InfraError as error:
        record.infra = str(error)
        return
    fires = [line for line in record.lines if line.ev == "fire"]
    if not fires:
        record.infra = why
    elif any(line.pid == stage.client.pid for line in fires):
        record.died = True
        for name in ("P8", "P7"):
            stage.see(name, "a job ran in the adapter's own process, and its fault ended that")
    else:
        record.gone = why


def _nothing_proved(stage: Stage) -> str:
    """Why the record proves nothing: the payload was not started at all, or a fault did not end its process."""
    record = stage.record
    if not record.gone and stage.cell.name == "ok" and not any(line.ev == "start" for line in record.lines):
        return "no start line: the engine does not run the payload"
    marks = [*stage.ledger.unfired(), *(line for line in record.lines if line.ev == "unfired")]
    if marks:
        return "the fault did not end its process: the engine catches it, or it can't be fired here"
    if record.oom_kills == 0 and record.of("X", "fire"):
        return "the kernel killed nobody for want of memory"
    return ""


def _clear(stage: Stage) -> None:
    """Kill what is left of the cell, by its tag, its ledger and descent.

    An adapter that leaves late is left over too.
    """
    record, pid = stage.record, stage.client.pid
    stage.client.close()
    known = {line.process for line in record.lines}
    record.litter = processes.sweep(lambda: processes.of_run(stage.run, known))
    with_adapter = stage.client.process.poll() is None
    if with_adapter:
        processes.kill(pid)
        stage.client.process.wait()


def first_hello(order: Order, folder: Path, run: str) -> dict[str, Any]:
    """Ask for the declaration alone. Raises InfraError where there is none to be had."""
    with (folder / "log").open("wb") as log:
        stage = Stage(order, folder, [], run, log)
        try:
            return stage.hello()
        except GoneError as error:
            raise InfraError(f"{error}: {_last_words(folder)}") from error
        finally:
            _clear(stage)


def _end_of_log(folder: Path) -> str:
    with (folder / "log").open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - LOG_BYTES))
        return log.read(LOG_BYTES).decode(errors="replace")


def _last_words(folder: Path) -> str:
    lines = _end_of_log(folder).strip().splitlines()
    return lines[-1][:200] if lines else "its log is empty"
