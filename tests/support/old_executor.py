"""Executors of SlipStream's engine (tests/support/old_engine.py) as processes of a fleet."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.support.fleet import Fleet, until
from tests.support.noted import Notes

THREADS = 4


class OldExecutor:
    """A process with THREADS threads. `log` has its stderr."""

    def __init__(self, engine: Fleet, notes: Notes, name: str, zk_hosts: str = "") -> None:
        self._log = engine.folder / f"{name}.log"
        options = {
            "--ss-url": engine.url,
            "--zk-hosts": (zk_hosts or engine.zk_hosts) + engine.zk_root,
            "--cookies": str(engine.folder / f"{name}-cookies.txt"),
            "--notes": str(notes.path),
            "--threads": str(THREADS),
        }
        arguments = [word for option in options.items() for word in option]
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "tests.support.old_engine", *engine.login, *arguments]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.pid = self.process.pid

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def terminate(self) -> None:
        """Send SIGTERM, and wait until the threads know."""
        self.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in self.log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
