"""Zygotes: the same evidence as from supervise(), trial by trial, and nothing that survives them."""

import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from likeness import FAULTS, gist, moment_s

from harness.evidence import EndedBy, Exited, Host, Signaled, Start, Witness
from harness.exceptions import InfraError, InvalidInputError
from harness.faults.catalogue import Row
from harness.machine import why_not
from harness.scenarios.rollcall import limits_for
from harness.supervisor import Limits, Shot, Zygote, memory_cgroup, supervise
from harness.supervisor.launch import runner_path
from harness.supervisor.zygote import HEAD, TRIAL_BYTES

MIB = 1 << 20
HOSTS: list[Host] = ["native", "python"]
STARTS: list[Start] = ["warm", "fresh"]
needs_cgroup = pytest.mark.skipif(memory_cgroup().version == 0, reason=memory_cgroup().reason or "a cgroup is there")


pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_warm_victim_ends_as_a_fresh_one(fault: Row, host: Host) -> None:
    """Every fault without a race, three times in a row: the trials are alike, and like a supervised attempt."""
    if reason := why_not(fault.needs):
        pytest.skip(reason)
    deadline_s = moment_s() if fault.kind == "hang" else 60
    alone = supervise(Shot(fault.name, host=host), limits_for(fault), deadline_s, grace_s=0.1)
    with Zygote(host, "warm", limits_for(fault)) as zygote:
        seen = [trial.evidence() for trial in zygote.fire(Shot(fault.name), 3, deadline_s, 0.1)]
    assert [gist(one) for one in seen] == [gist(alone)] * 3
    assert {(one.host, one.start, one.group) for one in seen} == {(host, "warm", 1)}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("start", STARTS)
def test_each_trial_has_a_record_of_its_own(host: Host, start: Start) -> None:
    """No two trials share a victim, a time or a record, however their answers were batched."""
    with Zygote(host, start) as zygote:
        seen = [trial.evidence() for trial in zygote.fire(Shot("null_read", "forced", {"offset": 8}), 10, 60)]
    faults = [one.fault for one in seen if one.fault]
    assert [(fault.signal, fault.code, fault.address) for fault in faults] == [("SIGSEGV", "SEGV_MAPERR", 8)] * 10
    assert len({fault.thread for fault in faults}) == 10
    assert all(one.cpu_s is not None and one.memory.peak_rss_bytes for one in seen)


def test_a_layout_belongs_to_a_group() -> None:
    """Forks of one process share their layout, fresh images do not; the evidence says which is which."""

    def layouts(start: Start) -> tuple[int, set[int | None]]:
        with Zygote("native", start, renew_every=3) as zygote:
            seen = [trial.evidence() for trial in zygote.fire(Shot("null_read"), 6, 60)]
        return len({one.fault.program_counter for one in seen if one.fault}), {one.group for one in seen}

    assert layouts("warm") == (2, {1, 2})
    assert layouts("fresh") == (6, {None})


@pytest.mark.parametrize("start", STARTS)
def test_a_deadline_is_each_trials_own(start: Start) -> None:
    """SIGTERM, the grace, SIGKILL; and what was known before is not held back."""
    with Zygote("native", start) as zygote:
        for trial in zygote.fire(Shot("hang"), 2, 0.1, 0.05):
            evidence = trial.evidence()
            assert (evidence.termination, evidence.ended_by) == (Signaled("SIGKILL"), EndedBy.DEADLINE)
            assert evidence.duration_s is not None
            assert 0.15 <= evidence.duration_s < 5


@pytest.mark.parametrize("start", STARTS)
def test_false_tidings_put_no_deadline_off(start: Start) -> None:
    """The server waits for SIGCHLD, and a victim may send it without end; what a victim blocks is its own affair."""
    with Zygote("native", start) as zygote:
        trials = zygote.fire(Shot("hang"), 2, 0.5, 0.2)
        next(trials)
        server, victim = sorted(
            (one for one in psutil.Process().children(recursive=True) if one.name() == "runner"),
            key=lambda one: one.pid,
        )
        while not re.search(r"SigBlk:\s*0+\n", Path(f"/proc/{victim.pid}/status").read_text()):
            pass  # it is a fork that has only begun; one that goes on to block signals dies unread
        with ThreadPoolExecutor(1) as pool:
            ended = pool.submit(next, trials)
            while not ended.done():
                server.send_signal(signal.SIGCHLD)
        evidence = ended.result().evidence()
    assert (evidence.termination, evidence.ended_by) == (Signaled("SIGKILL"), EndedBy.DEADLINE)
    assert evidence.duration_s is not None
    assert 0.7 <= evidence.duration_s < 5


def test_trials_come_lazily() -> None:
    """The first of a million is there at once, and whoever loses interest is left with nothing running."""
    with Zygote() as zygote:
        trials = zygote.fire(Shot("null_read"), 1_000_000, 60)
        assert next(trials).termination == Signaled("SIGSEGV")
        trials.close()  # type: ignore[attr-defined]  # a generator
        assert [trial.termination for trial in zygote.fire(Shot("never"), 2, 60)] == [Exited(0)] * 2


def test_one_zygote_fires_different_shots() -> None:
    """Fault, mode and parameters are the request's."""
    with Zygote() as zygote:
        ends = [
            next(iter(list(zygote.fire(shot, 1, 60)))).evidence()
            for shot in (Shot("exit_status", "forced", {"status": 9}), Shot("null_read"), Shot("never", "safe"))
        ]
    assert [one.termination for one in ends] == [Exited(9), Signaled("SIGSEGV"), Exited(0)]
    assert [one.witness for one in ends] == [Witness.ARMED, Witness.ARMED, Witness.DONE]


def test_a_refused_shot_is_no_verdict() -> None:
    """It is INFRA with the reason, and the next shot is fired all the same."""
    with Zygote() as zygote:
        with pytest.raises(InfraError, match="no such fault"):
            list(zygote.fire(Shot("no_such_fault"), 3, 60))
        assert len(list(zygote.fire(Shot("null_read"), 3, 60))) == 3
        with pytest.raises(InvalidInputError, match="mode"):
            list(zygote.fire(Shot("null_read", "gently"), 1))


def test_a_fork_of_an_interpreter_copies_little_of_it() -> None:
    """What the interpreter wrote is a file's by then, private to each victim, and none of it was lost."""
    with Zygote("python") as zygote:
        assert [trial.evidence().termination for trial in zygote.fire(Shot("abort"), 3, 60)] == [
            Signaled("SIGABRT")
        ] * 3
        (interpreter,) = (one for one in psutil.Process().children(recursive=True) if "python" in one.name())
        maps = interpreter.memory_maps(grouped=True)
    settled = next(one for one in maps if "settled" in one.path)
    assert settled.size > max(MIB, 3 * sum(one.anonymous for one in maps))


def test_a_zygote_that_dies_is_no_crash() -> None:
    """Trials that it did not answer have no verdict; those that it did keep theirs; the next call has a new one."""
    with Zygote() as zygote:
        trials = zygote.fire(Shot("null_read"), 1_000_000, 60)
        first = next(trials)
        guard = psutil.Process().children()[0]
        for process in guard.children(recursive=True):
            if process.name() == "runner":
                process.kill()
                break
        with pytest.raises(InfraError, match="zygote SIGKILL"):
            list(trials)
        assert first.termination == Signaled("SIGSEGV")
        assert next(iter(list(zygote.fire(Shot("null_read"), 1, 60)))).evidence().group == 2


def test_a_zygote_that_died_between_two_calls_is_no_broken_pipe() -> None:
    """The call that finds it gone is told how it ended; the next one has a new one."""
    with Zygote() as zygote:
        list(zygote.fire(Shot("null_read"), 1, 60))
        (guard,) = psutil.Process().children()
        runners = [one for one in guard.children(recursive=True) if one.name() == "runner"]
        for process in runners:
            process.kill()
        psutil.wait_procs(runners, timeout=30)
        with pytest.raises(InfraError, match="zygote SIGKILL"):
            list(zygote.fire(Shot("null_read"), 1, 60))
        assert len(list(zygote.fire(Shot("null_read"), 1, 60))) == 1


@needs_cgroup
@pytest.mark.parametrize("host", HOSTS)
def test_an_oom_kill_is_counted_for_its_own_trial(host: Host) -> None:
    """The kernel's counter moves by one a trial, and stands still where a victim kills itself."""
    with Zygote(host, limits=Limits(memory_bytes=48 * MIB, memory_by="cgroup")) as zygote:
        eaten = [trial.evidence() for trial in zygote.fire(Shot("memory_fill"), 3, 60)]
        killed = [trial.evidence() for trial in zygote.fire(Shot("killed"), 2, 60)]
    assert [(str(one.termination), one.memory.oom_kills) for one in eaten] == [("SIGKILL", 1)] * 3
    assert [(str(one.termination), one.memory.oom_kills) for one in killed] == [("SIGKILL", 0)] * 2


def test_what_a_victim_says_is_kept() -> None:
    """The allocator's last words belong to the trial that provoked them, and to no other."""
    with Zygote() as zygote:
        told = [trial.evidence().stderr for trial in zygote.fire(Shot("double_free"), 2, 60)]
        silent = [trial.evidence().stderr for trial in zygote.fire(Shot("null_read"), 1, 60)]
    assert all("free" in text for text in told)
    assert silent == [""]


def test_what_a_trial_leaves_behind_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon in a session of its own dies before the next trial begins, and is counted."""
    program = [runner_path(), "--launcher", "/bin/sh", "-c", "setsid sleep 60 & kill -SEGV $$"]
    monkeypatch.setattr("harness.supervisor.zygote.zygote_command", lambda *_: program)
    with Zygote("native", "fresh", containment="bare") as zygote:
        life = zygote._ready()
        life.request(Shot("null_read"), 2, 60_000, 100)
        records = b""
        while len(records) < 2 * TRIAL_BYTES:
            records += life.records(60)
        heads = [HEAD.unpack_from(records, at) for at in (0, TRIAL_BYTES)]
        assert [(head[1], head[3]) for head in heads] == [(signal.SIGSEGV, 1)] * 2


def test_a_renewed_zygote_costs_no_descriptors() -> None:
    """After many lives there are as many descriptors as after one."""
    with Zygote(renew_every=2) as zygote:
        list(zygote.fire(Shot("null_read"), 2, 60))
        before = len(list(Path("/proc/self/fd").iterdir()))
        assert len(list(zygote.fire(Shot("null_read"), 40, 60))) == 40
        assert len(list(Path("/proc/self/fd").iterdir())) == before
