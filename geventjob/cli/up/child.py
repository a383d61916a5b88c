"""A child process that is kept running, and ends with its parent, however the parent ends."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from geventjob import kernel
from geventjob.cli.errors import UsageError
from geventjob.exit_code import ExitCode
from geventjob.isolated import isolated

RENEWAL = 3.0
"""Seconds that running jobs have to end when a file has changed; then they are given back and run again."""
FIRST_DELAY, LONGEST_DELAY, STEADY = 1.0, 30.0, 60.0
"""Seconds before a child that died is started again: doubled at each death, and reset once it ran for STEADY."""


class Child:
    """One command of the engine, which is started again after its death."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], log_dir: Path) -> None:
        """Describe the command; its output goes to `<log_dir>/<name>.err`."""
        self.name = name
        self._command = isolated(module, *arguments)
        self._output = log_dir / f"{name}.err"
        self._process: subprocess.Popen[bytes] | None = None
        self._delay = FIRST_DELAY
        self._started = 0.0
        self._ending: float | None = None
        """`time.monotonic()` of the request to end for another start."""
        self._due = 0.0
        """`time.monotonic()` from which on the command may be started (again)."""

    def start(self) -> None:
        """Start the command."""
        parent = os.getpid()
        self._started = time.monotonic()
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  (our own modules)
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={name: value for name, value in os.environ.items() if not name.startswith("GEVENTJOB_")},
                start_new_session=True,  # a Ctrl-C in the terminal reaches the parent only, which stops all in order
                preexec_fn=lambda: die_with(parent),  # noqa: PLW1509  (no threads here)
            )

    @property
    def running(self) -> bool:
        """Whether the command runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def due(self) -> bool:
        """Whether the command does not run and may be started."""
        return not self.running and time.monotonic() >= self._due

    @property
    def pid(self) -> int | None:
        """The process id while the command runs."""
        return self._process.pid if self._process and self.running else None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the command runs."""
        if self._process and self.running:
            self._process.send_signal(number)

    def renew(self) -> None:
        """Ask the command to shut down gracefully, so that it is started again."""
        self._ending = time.monotonic()
        self.signal(signal.SIGTERM)

    def hurry(self) -> None:
        """Ask once more for an end that `renew` asked for, after RENEWAL seconds: running jobs are given back."""
        if self._ending is not None and time.monotonic() - self._ending > RENEWAL:
            self._ending = math.inf
            self.signal(signal.SIGTERM)

    def death(self) -> str | None:
        """Return a line about the command's death once after each, and set the time of its next start; else None.

        Raises UsageError where the command refused its options: another start would not help.
        """
        if self._process is None or self.running:
            return None
        code = self._process.returncode
        self._process = None
        if self._ending is not None:
            self._ending, self._due = None, 0.0
            return None
        if code == ExitCode.USAGE:
            raise UsageError(self._last_line() or f"{self.name} refused its options")
        if time.monotonic() - self._started > STEADY:
            self._delay = FIRST_DELAY
        self._due = time.monotonic() + self._delay
        why = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        text = f"{self.name} {why} ({self._last_line() or 'without output'}); started again in {self._delay:g} s"
        self._delay = min(LONGEST_DELAY, self._delay * 2)
        return text

    def _last_line(self) -> str:
        """Return the last line of the command's output, or an empty text."""
        lines = self._output.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def die_with(parent: int) -> None:
    """Ask the kernel for SIGKILL at the parent's death, and unblock signals; runs in the child before exec."""
    kernel.die_with(parent, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
