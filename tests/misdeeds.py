"""Adapters that do wrong on their pipes, with their processes, or in what they say: the reference engine, spoilt.

    misdeeds.py NAME            # be the adapter that does NAME

Each has the verdict that the protocol names, and a part of its reason. The cell is segv/none, or the one that is named.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple

from reference_mutants import ENGINES

FLOOD = b"x" * 65536
FOREVER_S = 3600
CELL, DURABLE = "segv/none", "durable/none"


class Misdeed(NamedTuple):
    """`send(out, reply, adapter, do)` writes the reply to a request, or whatever else it likes."""

    verdict: str
    reason: str
    send: Any
    cell: str


def line(reply: dict[str, Any]) -> bytes:
    """A reply as it should be."""
    return json.dumps(reply).encode() + b"\n"


def honest(out: int, reply: dict[str, Any], *_: Any) -> None:
    """Write it."""
    data = line(reply)
    while data:
        data = data[os.write(out, data) :]


def has_failed(adapter: Any) -> bool:
    """Whether a fault has fired, and the engine knows."""
    return any(job.history for job in adapter.jobs.values())


def at(do: str, act: Any, *, failed: bool = False) -> Any:
    """Do something in the place of one reply; `failed`: only once a fault has fired."""

    def send(out: int, reply: dict[str, Any], adapter: Any, asked: str) -> None:
        if asked == do and (has_failed(adapter) or not failed):
            act(out, reply, adapter)
        else:
            honest(out, reply)

    return send


def before(do: str, act: Any, *, failed: bool = False) -> Any:
    """Do something, and reply."""

    def both(out: int, reply: dict[str, Any], adapter: Any) -> None:
        act(out, reply, adapter)
        honest(out, reply)

    return at(do, both, failed=failed)


def raw(data: bytes, *, again: bool = False) -> Any:
    """Write bytes, once or without end, and never reply."""

    def act(out: int, *_: Any) -> None:
        os.write(out, data)
        while again:
            os.write(out, data)
        time.sleep(FOREVER_S)

    return act


def with_(**members: Any) -> Any:
    """Reply with more, or with something else."""
    return lambda out, reply, _: honest(out, {**reply, **members})


def claiming(change: Any) -> Any:
    """Claims that are otherwise."""

    def act(out: int, reply: dict[str, Any], adapter: Any) -> None:
        jobs = {job: change(dict(claim), job, adapter) for job, claim in reply["jobs"].items()}
        honest(out, {**reply, "jobs": jobs})

    return at("claim", act)


def in_pieces(out: int, reply: dict[str, Any], *_: Any) -> None:
    """Half a line, a pause, the other half."""
    data = line(reply)
    os.write(out, data[: len(data) // 2])
    time.sleep(0.05)
    os.write(out, data[len(data) // 2 :])


def twice(out: int, reply: dict[str, Any], *_: Any) -> None:
    """The same reply, two times."""
    os.write(out, line(reply) * 2)


_kept: list[bytes] = []


def one_behind(out: int, reply: dict[str, Any], *_: Any) -> None:
    """Each reply comes when the next one is due."""
    _kept.append(line(reply))
    if len(_kept) > 1:
        os.write(out, _kept.pop(0))


def close_out(out: int, *_: Any) -> None:
    """Close the pipe, and live on."""
    os.close(out)
    time.sleep(FOREVER_S)


def deaf(out: int, reply: dict[str, Any], *_: Any) -> None:
    """Close stdin, and reply to what was asked before."""
    os.closerange(3, out)
    honest(out, reply)
    time.sleep(FOREVER_S)


def flood_log(*_: Any) -> None:
    """Fill the log."""
    while True:
        os.write(2, FLOOD)


def freeze(*_: Any) -> None:
    """Stop itself."""
    os.kill(os.getpid(), signal.SIGSTOP)


def orphans(*_: Any) -> None:
    """Start processes that leave the session, the parent and the environment behind."""
    for _number in range(20):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execve("/bin/sleep", ["sleep", str(FOREVER_S)], {})  # noqa: S606 -- that is what is tried
            os._exit(0)


def orphan_writer(out: int, *_: Any) -> None:
    """A child that holds the pipe to the suite, and outlives everything else."""
    words = [sys.executable, "-S", "-c", f"import time; time.sleep({FOREVER_S})"]
    subprocess.Popen(words, pass_fds=[out], start_new_session=True)


def respawning(*_: Any) -> None:
    """A process that is started again each time that it ends."""
    if os.fork():
        return
    os.setsid()
    while True:
        pid = os.fork()
        if pid == 0:
            time.sleep(FOREVER_S)
        os.waitpid(pid, 0)


def kill_parent(*_: Any) -> None:
    """Kill the process of the suite that asks."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(FOREVER_S)


def stay(out: int, reply: dict[str, Any], *_: Any) -> None:
    """Say that it is down, and stay."""
    honest(out, reply)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(FOREVER_S)


def silent(*_: Any) -> None:
    """Never reply, and let nothing end it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(FOREVER_S)


def late(seconds: float) -> Any:
    """Reply so much later."""
    return lambda *_: time.sleep(seconds)


def spoil_ledger(how: Any) -> Any:
    """Do something to the ledger, once a fault has fired."""
    return before("claim", lambda *_: how(os.environ["CH_LEDGER"]), failed=True)


def append(data: bytes) -> Any:
    """Write into the ledger."""

    def how(path: str) -> None:
        with open(path, "ab") as file:  # noqa: PTH123 -- an adapter's one line
            file.write(data)

    return how


def remove_plans(path: str) -> None:
    """The folder of the plans is gone."""
    subprocess.run(["rm", "-rf", f"{path}.d"], check=False)  # a payload may write into it: the next look goes on


def nested(depth: int) -> Any:
    """Something deep."""
    made: Any = 0
    for _number in range(depth):
        made = [made]
    return made


def leave(status: int) -> Any:
    """End at once."""
    return lambda *_: os._exit(status)


def threads(*_: Any) -> None:
    """A second thread writes lines between the replies."""

    def babble(out: int) -> None:
        while True:
            os.write(out, b'{"id": 0}\n')
            time.sleep(0.01)

    threading.Thread(target=babble, args=(_[0],), daemon=True).start()


def says(**members: Any) -> Any:
    """A claim with something else in it."""
    return lambda claim, *_: {**claim, **members}


def longer(more: str) -> Any:
    """More words on a failure."""
    return lambda claim, *_: {**claim, "cause": claim["cause"] and claim["cause"] + more}


def ticking(claim: dict[str, Any], *_: Any) -> dict[str, Any]:
    """Words that are new at each look."""
    return {**claim, "cause": claim["cause"] and f"{claim['cause']} at {time.monotonic_ns()}"}


def by_parent(out: int, reply: dict[str, Any], *_: Any) -> None:
    """Name the suite's own process as the worker."""
    honest(out, {**reply, "workers": [os.getppid()]})


def passes(send: Any, cell: str = CELL) -> Misdeed:
    """The suite gets by."""
    return Misdeed("PASS", "", send, cell)


def infra(reason: str, send: Any, cell: str = CELL) -> Misdeed:
    """Nothing is proved."""
    return Misdeed("INFRA", reason, send, cell)


def fails(reason: str, send: Any, cell: str = CELL) -> Misdeed:
    """The engine is to blame, as far as the suite can see."""
    return Misdeed("FAIL", reason, send, cell)


SAYS_OK = {"state": "ok", "cause": "", "attempts": 1, "history": []}
OTHER = {"run": "other", "job": "j", "n": 1, "ev": "end", "pid": 1, "start": 1, "t": 1}
STRANGE = json.dumps(OTHER).encode().ljust(255) + b"\n"
DEEP = b'{"id": 1, "x": ' + b"[" * 100000 + b"]" * 100000 + b"}\n"
NOISE = "bytes on its stdout that are no reply"
SHAPE = "alive: expected alive and workers"
NOBODY = "alive: none of its workers is a process below the adapter"

MISDEEDS: dict[str, Misdeed] = {
    # --- lines ---
    "replies in two pieces": passes(in_pieces),
    "every reply twice": passes(twice),
    "a second thread that writes lines": passes(before("start", threads)),
    "each reply one behind": infra("hello: no reply in 10 s", one_behind),
    "half a line, and silence": infra("hello: no reply in 10 s", at("hello", raw(b'{"id": 1, '))),
    "bytes that are no UTF-8": infra("hello: no reply in 10 s", at("hello", raw(b'{"id": 1, "x": "\xff"}\n'))),
    "a list for a reply": infra("hello: no reply in 10 s", at("hello", raw(b"[1]\n"))),
    "an id in words": infra("hello: no reply in 10 s", at("hello", with_(id="1"))),
    "an enormous line": infra(NOISE, at("start", raw(FLOOD, again=True))),
    "an enormous reply": infra(NOISE, at("claim", with_(x="x" * (2 << 20)))),
    "lines without end": infra(NOISE, at("claim", raw(b"no\n", again=True))),
    "something deep": passes(at("claim", with_(deep=nested(400)))),
    "something too deep": infra("hello: no reply", at("hello", raw(DEEP))),
    "a log without end": infra("bytes on its stderr", at("claim", flood_log)),
    # --- pipes and processes ---
    "exit 0 at once": infra("hello: end of its stdout, exit 0", at("hello", leave(0))),
    "stdout is closed at start": infra("start: end of its stdout", at("start", close_out)),
    "stdout is closed after a fault": fails(
        "fell silent: claim: end of its stdout", at("claim", close_out, failed=True)
    ),
    "stdin is closed at start": infra("its stdin is closed", at("start", deaf)),
    "frozen at once": infra("hello: no reply in 10 s", at("hello", freeze)),
    "frozen after a fault": fails("claim: no reply in 10 s", at("claim", freeze, failed=True)),
    "every look takes four seconds": infra("the answers are slow", before("claim", late(4))),
    "a look that takes eleven seconds": fails("claim: no reply in 10 s", before("claim", late(11), failed=True)),
    "it stays after stop": passes(at("stop", stay)),
    "stop is not answered": infra("ok: stop: no reply in 10 s", at("stop", silent)),
    "stop is not answered after a fault": fails("stop: no reply in 10 s", at("stop", silent, failed=True)),
    "orphans without a trace": passes(before("submit", orphans)),
    "a child that holds the pipe": passes(before("submit", orphan_writer)),
    "a process that comes back": passes(before("submit", respawning)),
    "it kills who asks": infra("left no answer: it was killed", at("claim", kill_parent)),
    # --- lies ---
    "everything is ok": fails("was called ok before any end line", claiming(lambda *_: dict(SAYS_OK))),
    "nothing has happened": fails("no verdict, pending", claiming(lambda *_: {"state": "pending"})),
    "no jobs": fails("no verdict, unknown", at("claim", with_(jobs={}))),
    "claims in a list": infra("claim: expected jobs", at("claim", with_(jobs=[]))),
    "a claim in words": infra("claim: Expected `object`, got `str`", claiming(lambda *_: "ok")),
    "a claim that is nothing": infra("claim: Expected `object`, got `int`", claiming(lambda *_: 0)),
    "countless attempts": infra("claim: ", claiming(says(attempts=10**4000))),
    "a result of another kind": infra("claim: Expected `str | null`, got `array`", claiming(says(result=[]))),
    "causes without end": passes(claiming(longer("x" * 200000))),
    "another cause at each look": passes(claiming(ticking)),
    "workers that are none": infra(SHAPE, at("alive", with_(workers=["a"]))),
    "workers beyond all pids": passes(at("alive", with_(workers=[2**63, 10**30]))),
    "the suite for a worker": infra(NOBODY, at("alive", by_parent), DURABLE),
    "no workers to be killed": infra(NOBODY, at("alive", with_(workers=[])), DURABLE),
    "alive in words": infra(SHAPE, at("alive", with_(alive="yes"))),
    "a name without end": passes(at("hello", with_(name="n" * 100000))),
    "a name in colours": passes(at("hello", with_(name="a\x1b[2Jb\nc"))),
    "no number for seconds": infra(
        "detect_s: expected 0 to 60 seconds, not nan", at("hello", with_(detect_s=float("nan")))
    ),
    # --- the ledger ---
    "a torn record": infra("the ledger: a record that is no record", spoil_ledger(append(b"?" * 256))),
    "a record of another run": infra("the ledger: a record of another run", spoil_ledger(append(STRANGE))),
    "plans that are gone": infra("the ledger: ", spoil_ledger(remove_plans)),
}


def serve(adapter: Any, send: Any) -> None:
    """As the kit's, but that `send` writes."""
    import chadapter  # type: ignore[import-not-found]  # noqa: PLC0415 -- the kit, as an adapter finds it

    source, out = chadapter.take_pipes()
    with os.fdopen(source, "rb", closefd=False) as lines:
        for data in lines:
            request = json.loads(data)
            send(out, {**chadapter.answer(adapter, request), "id": request["id"]}, adapter, request["do"])
            if request["do"] == "stop":
                os._exit(0)
    os._exit(0)


def main() -> None:
    """Be the adapter, or the reference engine's worker."""
    sys.path.insert(0, str(ENGINES))
    import reference  # type: ignore[import-not-found]  # noqa: PLC0415 -- beside the other adapters

    serve(reference.Reference(), MISDEEDS[sys.argv[1]].send)


if __name__ == "__main__":
    main()
