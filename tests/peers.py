"""Other ways to let something die and hear of it, each as its own documentation has it, for the benchmark.

    python tests/peers.py NAME COUNT

Nothing of the harness is imported: what a process has loaded is what its forks cost. All die of a null read in C.
"""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SUICIDE = "import faulthandler; faulthandler._read_null()"


def by_subprocess(count: int) -> None:
    """subprocess.run of the smallest interpreter."""
    for _ in range(count):
        subprocess.run([sys.executable, "-S", "-I", "-c", SUICIDE], check=False)


def _die() -> None:
    faulthandler._read_null()  # type: ignore[attr-defined]  # CPython's own means to crash, for its tests


def by_multiprocessing(count: int) -> None:
    """multiprocessing.Process, fork."""
    import multiprocessing  # noqa: PLC0415 -- each way pays for what it imports, and for nothing else

    context = multiprocessing.get_context("fork")
    for _ in range(count):
        process = context.Process(target=_die)
        process.start()
        process.join()


def by_session(count: int) -> None:
    """The same from a process as large as a test session."""
    import hypothesis  # noqa: F401, PLC0415 -- as above
    import pytest  # noqa: F401, PLC0415

    by_multiprocessing(count)


def by_executor(count: int) -> None:
    """concurrent.futures, which is broken by each crash and made anew, fork."""
    import multiprocessing  # noqa: PLC0415 -- as above
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415

    for _ in range(count):
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            try:
                pool.submit(_die).result()
            except BrokenProcessPool:
                continue


def by_pebble(count: int) -> None:
    """Pebble's pool, which replaces a worker that crashed."""
    import pebble  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415

    with pebble.ProcessPool(max_workers=1) as pool:
        for _ in range(count):
            pool.schedule(_die).exception()


def by_loky(count: int) -> None:
    """Loky's reusable executor."""
    import loky  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415

    for _ in range(count):
        loky.get_reusable_executor(max_workers=1).submit(_die).exception()


def _pytest(count: int, *options: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        body = "".join(f"def test_{i}():\n    {SUICIDE}\n" for i in range(count))
        Path(folder, "test_die.py").write_text(body)
        plain = ["-q", "--no-header", "--tb=no", "-c", os.devnull, "-p", "no:cacheprovider", "-p", "no:crash_harness"]
        command = [sys.executable, "-m", "pytest", *plain, *options, folder]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def by_forked(count: int) -> None:
    """pytest-forked."""
    _pytest(count, "--forked")


def by_xdist(count: int) -> None:
    """pytest-xdist with one worker, which it replaces after each crash."""
    _pytest(count, "-n", "1", "--max-worker-restart", str(count + 1))


PEERS = {
    "subprocess": by_subprocess,
    "multiprocessing": by_multiprocessing,
    "session": by_session,
    "executor": by_executor,
    "pebble": by_pebble,
    "loky": by_loky,
    "forked": by_forked,
    "xdist": by_xdist,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](int(sys.argv[2]))
