"""The suite's payload for Python: it numbers its start, writes down what it does, and fires what its plan names.

It runs inside the engine's worker (`run(job)`), or as a program (`chpayload.py JOB`). It needs the standard library
alone, of Python 3.8 or later. See docs/engine-protocol.md, "Payload".
"""

import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time

LEDGER = os.environ.get("CH_LEDGER", "")
FOLDER = LEDGER + ".d/"
RECORD_BYTES = 256
PATIENCE_S = 3.0
LOOK_S = 0.02
LATE_S = 0.3
MIB = 1 << 20
OOM_BYTES = 160 * MIB
UNFIRED = RuntimeError("the fault did not fire")


def run(job):
    """Do the work of one attempt: return "done:<job>:<n>", raise, or end this process."""
    number = _number(job)
    note(job, number, "start")
    with open(FOLDER + job + ".json") as file:
        plan = json.load(file)
    _wait(job, number, plan)
    time.sleep(plan.get("run_s", 0.1))
    fault = plan["faults"][min(number, len(plan["faults"])) - 1]
    if fault not in ("ok", "late"):
        _fire(job, number, fault, plan)
    note(job, number, "end")
    if fault == "late":
        threading.Thread(target=_crash_late, args=(job, number), daemon=__name__ == "__main__").start()
    return "done:%s:%d" % (job, number)


def _number(job):
    """Take the smallest number that no start of this job has: that counts the start, whatever becomes of the line."""
    number = 1
    while True:
        try:
            os.close(os.open(FOLDER + "%s.%d" % (job, number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            number += 1
        else:
            return number


def note(job, number, event):
    """Append one record: a single write of fixed size, which SIGKILL can't tear and needs no lock."""
    with open("/proc/self/stat") as file:
        stat = file.read()
    record = {
        "run": os.environ["CH_RUN"],
        "job": job,
        "n": number,
        "ev": event,
        "pid": os.getpid(),
        "start": int(stat[stat.rindex(")") + 2 :].split()[19]),
        "t": time.monotonic_ns(),
        "mem": memory_limit() if event == "start" else 0,
        "ns": os.stat("/proc/self/ns/pid").st_ino,
    }
    line = json.dumps(record, separators=(",", ":")).ljust(RECORD_BYTES - 1) + "\n"
    ledger = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(ledger, line.encode())
    finally:
        os.close(ledger)


def memory_limit():
    """Limit of this process's own memory cgroup in bytes; 0 where there is none, or none is told."""
    first = os.path.isdir("/sys/fs/cgroup/memory")
    try:
        with open("/proc/self/cgroup") as file:
            rows = [line.rstrip("\n").split(":", 2) for line in file]
        places = {names: path for _, names, path in rows if ("memory" in names.split(",") if first else not names)}
        base, name = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes") if first else ("/sys/fs/cgroup", "memory.max")
        with open(base + next(iter(places.values())) + "/" + name) as file:
            text = file.read().strip()
        return 0 if text == "max" or int(text) > 1 << 50 else int(text)
    except (OSError, ValueError, StopIteration):
        return 0


def _wait(job, number, plan):
    """Wait for the file that the plan names; write `alone` where it never came."""
    if not plan.get("wait_for"):
        return
    end = time.monotonic() + plan.get("wait_s", 0)
    while not os.path.exists(FOLDER + plan["wait_for"]):
        if time.monotonic() >= end:
            note(job, number, "alone")
            return
        time.sleep(LOOK_S)


def _fire(job, number, fault, plan):
    """Fire; come back only where an OOM found room enough, as it does on the larger machine."""
    note(job, number, "fire")
    open(FOLDER + job + ".fired", "w").close()
    mark = FOLDER + "%s.%d.unfired" % (job, number)
    if fault in plan.get("shots", {}):
        os.execv(plan["runner"], ["runner", "--alone", mark] + plan["shots"][fault])
    try:
        fits = CRASHES[fault](plan)
    except OSError:
        fits = False
    if not fits:
        time.sleep(PATIENCE_S)
        note(job, number, "unfired")
        raise UNFIRED


def _crash_late(job, number):
    time.sleep(LATE_S)
    note(job, number, "fire")
    _segv({})


# --- faults that fire inside the worker ---


def _raise(_):
    raise ValueError("boom")


def _segv(_):
    ctypes.memset(0, 0, 1)


def _handled(_):
    import faulthandler

    faulthandler.enable(open(os.devnull, "w"))
    ctypes.memset(0, 0, 1)


def _shell(_):
    os._exit(os.system("sh -c 'kill -SEGV $$; exit 1' || exit $?") >> 8)


def _hang(_):
    while True:
        threading.Event().wait(3600)


def _hang_in_c(_):
    """Lock a mutex twice while holding the GIL: no signal handler of Python's runs any more."""
    library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


def _near_oom(_):
    """Use what a refused allocation returned."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 8 * MIB, resource.RLIM_INFINITY))
    ctypes.memset(libc.malloc(64 * MIB) or 0, 1, 64 * MIB)


def _oom(plan):
    """Touch 160 MiB: in the engine's cgroup where that is limited to one of its machines, else in the suite's."""
    own = 0 < memory_limit() <= 512 * MIB
    if not own:
        with open(plan["cgroup"] + "/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
    kept = [b"\1" * (8 * MIB) for _ in range(OOM_BYTES // (8 * MIB))]
    return own and bool(kept) and memory_limit() > OOM_BYTES


CRASHES = {
    "exc": _raise,
    "segv": _segv,
    "handled": _handled,
    "abrt": lambda _: os.abort(),
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "term": lambda _: os.kill(os.getpid(), signal.SIGTERM),
    "exit0": lambda _: os._exit(0),
    "exit139": lambda _: os._exit(139),
    "sh139": _shell,
    "hang": _hang,
    "nhang": _hang_in_c,
    "nomem": _near_oom,
    "oom": _oom,
}


if __name__ == "__main__":
    print(run(sys.argv[1]), flush=True)
