"""The journal of systemd as a place for log lines, with fields that `journalctl JOB_ID=…` finds.

Protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from gevent import monkey

from geventjob.log.formatting import LineFormatter, printable, run_of
from geventjob.log.handlers import LineHandler, StderrHandler

SOCKET = "/run/systemd/journal/socket"
LONGEST = 1 << 17
"""Bytes of a message: a datagram holds 208 KB by default (net.core.wmem_max)."""
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
DEBUG = 7
native_socket: Any = monkey.get_original("socket", "socket")


class JournalHandler(LineHandler):
    """Sends each record to the journal as a datagram. A journal that takes none loses lines, which are counted."""

    def __init__(self, command: str, path: str = SOCKET) -> None:
        super().__init__()
        self._command = command
        self._path = path
        self._socket = native_socket(1, 2)  # AF_UNIX, SOCK_DGRAM
        self._socket.setblocking(False)

    def data(self, record: logging.LogRecord) -> bytes:
        """Return the fields of a record, in the form of the protocol."""
        assert isinstance(self.formatter, LineFormatter)
        job, _, action = run_of(record).partition(" ")
        text = printable(self.formatter.text(record)).encode(errors="backslashreplace")
        fields = {
            b"MESSAGE": text[:LONGEST].decode(errors="ignore").encode(),
            b"PRIORITY": b"%d" % priority(record.levelno),
            b"SYSLOG_IDENTIFIER": self._command.encode(),
            b"LOGGER": record.name.encode(errors="backslashreplace"),
        }
        fields |= {
            name.upper().encode(): str(value).encode(errors="backslashreplace")
            for name, value in getattr(record, "fields", {}).items()
        }
        if action:
            fields |= {b"JOB_ID": job.encode(), b"ACTION": action.encode(errors="backslashreplace")}
        return b"".join(field(name, value) for name, value in fields.items())

    def put(self, data: bytes) -> int:
        """Send a datagram. Raises OSError."""
        sent: int = self._socket.sendto(data, self._path)
        return sent

    def close(self) -> None:
        """Close the handler and its socket."""
        super().close()
        self._socket.close()


def field(name: bytes, value: bytes) -> bytes:
    """Return one field; a value with line feeds carries its length."""
    if b"\n" in value:
        return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name + b"=" + value + b"\n"


def priority(level: int) -> int:
    """Return the priority of syslog for a level of logging."""
    return next((found for least, found in PRIORITIES if level >= least), DEBUG)


def is_connected(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether stderr is a stream of the journal: systemd names its device and inode in JOURNAL_STREAM."""
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}" and os.path.exists(SOCKET)


def stderr_handler(command: str) -> logging.Handler:
    """Return the handler for a process without a log folder: of the journal or of stderr.

    Where stderr was closed at start, its descriptor belongs to another file by now: nothing is written.
    """
    if not sys.__stderr__:
        return logging.NullHandler()
    return JournalHandler(command) if is_connected() else StderrHandler()
