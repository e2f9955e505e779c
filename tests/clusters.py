"""A Dask cluster of this machine: a real scheduler, and real worker processes that can be killed."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import distributed
from distributed.security import Security

from harness.experiments.where import Keys

DASK = [sys.executable, "-m", "dask"]
ONE = ("--nthreads", "1", "--no-nanny", "--no-dashboard")


class Here:
    """A scheduler of this machine, and its workers; behind TLS where there are `keys`."""

    def __init__(self, folder: Path, stack: ExitStack, keys: Keys | None = None) -> None:
        self._file, self._stack, self._keys = folder / "scheduler.json", stack, keys
        self.workers: list[subprocess.Popen[bytes]] = []
        protocol = ["--protocol", "tls"] if keys else []
        self.scheduler = self._start("scheduler", *protocol, "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        while not self._file.exists() or not self._file.read_text().endswith("}"):
            pass
        self.address: str = json.loads(self._file.read_text())["address"]

    def _start(self, kind: str, *options: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*DASK, kind, "--scheduler-file", str(self._file), *self._tls, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "DASK_TEMPORARY_DIRECTORY": str(self._file.parent), **(env or {})},
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    @property
    def _tls(self) -> list[str]:
        """Options of both that have them speak TLS."""
        keys = self._keys or Keys()
        files = {"--tls-ca-file": keys.authority, "--tls-cert": keys.certificate, "--tls-key": keys.key}
        return [word for option, file in files.items() if file for word in (option, file)]

    def start_worker(self, *options: str, **env: str) -> None:
        """Start one more, with these options and in this environment."""
        self.workers.append(self._start("worker", *ONE, *options, env=env))

    def have_workers(self, count: int) -> None:
        """Start workers until so many live, and wait for them."""
        self.fill(count)
        self.wait_for(count)

    def fill(self, count: int) -> None:
        """Start workers until so many live or come up."""
        self.workers = [one for one in self.workers if one.poll() is None]
        for _ in range(count - len(self.workers)):
            self.start_worker()

    def wait_for(self, count: int) -> None:
        """Wait until so many workers have come."""
        with distributed.Client(self.address, set_as_default=False, security=self._security()) as client:
            client.wait_for_workers(count, timeout=60)

    def _security(self) -> Security:
        keys = self._keys or Keys()
        given = {"tls_ca_file": keys.authority, "tls_client_cert": keys.certificate, "tls_client_key": keys.key}
        return Security(**{name: file for name, file in given.items() if file})

    @property
    def where(self) -> str:
        """As --on has it."""
        return self.address.replace("tcp:", "dask:").replace("tls:", "dask+tls:")
