"""Messages to systemd: ready, stopping, and the watchdog (sd_notify(3), systemd.service(5): Type=notify).

The variables of the protocol leave the environment when they are read, so that programs which actions start neither
speak for the service nor see its command line.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

PRIVATE = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "DAEMON_ARGS")
"""Variables that concern the service alone. DAEMON_ARGS may hold a password."""

STEP = 300.0
"""Seconds that one step of a long start may take, and its wait for a busy disk."""


class Notifier:
    """The service manager of this process. Without systemd the methods send nothing."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        """Read the variables of the protocol and remove them, and `DAEMON_ARGS`, from `environ`."""
        address, timeout, pid, _ = (environ.pop(name, "") for name in PRIVATE)
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        watched = timeout.isdecimal() and pid in ("", str(os.getpid()))
        self.watchdog: float | None = int(timeout) / 1e6 if watched else None
        """Seconds within which systemd expects a sign of life; None without a watchdog."""

    def ready(self) -> None:
        """Tell that the service works now."""
        self._send("READY=1")

    def starting(self, status: str = "") -> None:
        """Tell that the start goes on, with what it does: it may take STEP seconds more from now."""
        shown = f"\nSTATUS={' '.join(status.split())}" if status else ""
        self._send(f"EXTEND_TIMEOUT_USEC={int(STEP * 1e6)}{shown}")

    def alive(self) -> None:
        """Give a sign of life."""
        if self.watchdog is not None:
            self._send("WATCHDOG=1")

    def stopping(self, timeout: float) -> None:
        """Tell that the service ends within `timeout` seconds; `feed` goes on until the process is gone."""
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(timeout * 1e6)}")

    def status(self, text: str) -> None:
        """Show `text` in `systemctl status`."""
        self._send(f"STATUS={' '.join(text.split())}")

    def feed(self) -> None:
        """Give signs of life for ever. Run in a greenlet, so that the signs cease while code holds the hub."""
        import gevent  # `geventjob up` has no hub, and calls `alive` from its loop

        while self.watchdog is not None:
            self.alive()
            gevent.sleep(self.watchdog / 2)

    def _send(self, message: str) -> None:
        """Send a datagram; a manager that does not listen is no reason to end."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1)
            try:
                sock.sendto(message.encode(), self._address)
            except OSError:
                return
