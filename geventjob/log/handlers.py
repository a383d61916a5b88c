"""Handlers that write log lines: to a file that several processes rotate, or to stderr."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import select
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gevent import monkey

from geventjob.log.formatting import LineFormatter, encode, format_time

LARGEST_FILE = 10 << 20
"""Bytes of a log file before its rotation."""
KEPT = 5
"""Rotated files that are kept."""

# A handler with a lock of gevent hangs when native threads log beside greenlets (docs/measurements.md).
# threading.RLock is gevent's too once gevent has patched.
native_lock: Any = monkey.get_original("_thread", "RLock")
native_poll: Any = monkey.get_original("select", "poll")

log = logging.getLogger(__package__)


class LineHandler(logging.Handler):
    """A handler that writes whole lines to a file descriptor, never raises, and counts lines it could not write."""

    fd = -1

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())
        self.lost = 0
        """Lines that could not be written since the last line that could."""
        self.why: str | None = None
        self._torn = False

    def createLock(self) -> None:
        """Create the lock as a native one: native threads log beside greenlets."""
        super().createLock()
        self.lock = native_lock()

    def handle(self, record: logging.LogRecord) -> bool:
        """Format the record outside the lock, since the `__str__` of a message may wait for anything; then write."""
        if not self.filter(record):
            return False
        self._write_safely(self._made(record))
        return True

    def handle_all(self, records: Sequence[logging.LogRecord]) -> None:
        """Write records together, unfiltered."""
        for record in records:
            self._write_safely(self._made(record))

    def _made(self, record: logging.LogRecord) -> bytes:
        """Return the bytes of a record, or of a line about a record that cannot be formatted."""
        try:
            return self.data(record)
        except Exception as error:
            return encode(f"{format_time(record.created)} a line of {record.name} cannot be made: {error!r}")

    def _write_safely(self, data: bytes, lines: int = 1) -> None:
        """Write data, or count its lines as lost."""
        self.acquire()
        try:
            self._write(data)
        except OSError as error:
            self.lost += lines
            self.why = error.strerror
        finally:
            self.release()

    def data(self, record: logging.LogRecord) -> bytes:
        """Return the bytes to write for a record."""
        return encode(self.format(record))

    def _write(self, data: bytes) -> None:
        """Write a line, after a line that counts those lost before. Raises OSError."""
        self.ready(len(data))
        if self.lost:
            told = {
                "name": log.name,
                "levelname": "WARNING",
                "levelno": logging.WARNING,
                "msg": f"{self.lost} lines could not be written: {self.why}",
            }
            self._put(self.data(logging.makeLogRecord(told)))
            self.lost = 0
        self._put(data)

    def _put(self, data: bytes) -> None:
        """Write all of the data; begin a new line after one that was cut short. Raises OSError."""
        if self._torn:
            data = b"\n" + data
        written = 0
        try:
            while written < len(data):
                written += self.put(data[written:])
        finally:
            self._torn = 0 < written < len(data) or (self._torn and not written)

    def ready(self, size: int) -> None:
        """Prepare for a write of `size` bytes. Raises OSError."""

    def put(self, data: bytes) -> int:
        """Write as much as the descriptor takes at once, and return the number of bytes. Raises OSError for none."""
        return os.write(self.fd, data)


class FileHandler(LineHandler):
    """A log file that is moved to `.1` … `.5` when it reaches 10 MB, by the first process to see the size."""

    def __init__(self, path: Path, largest: float = LARGEST_FILE, kept: int = KEPT) -> None:
        """Open the file, and make its folder if missing.

        `largest`: bytes of a file; infinity where another program moves the files. Raises OSError.
        """
        super().__init__()
        self.path = path
        self._largest = largest
        self._kept = kept
        self._try_again = 0.0
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        try:
            fd = os.open(self.path, flags | os.O_CREAT | os.O_EXCL, 0o640)
            os.fchmod(fd, 0o640)
        except FileExistsError:
            fd = os.open(self.path, flags)
        self._close()
        self.fd = fd

    def _close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def ready(self, size: int) -> None:
        """Open the file again where another process has moved it away, or rotate it where the line does not fit."""
        length = self._size()
        if length is None:
            self._open()
        elif length > 0 and length + size > self._largest and time.monotonic() >= self._try_again:
            self._rotate()

    def _size(self) -> int | None:
        """Return the size of the file at the path; None if the open file is another one."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_size if self.fd >= 0 and os.path.samestat(found, os.fstat(self.fd)) else None

    def _rotate(self) -> None:
        """Move the files on, unless another process is about to: then this line makes the file a little longer."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._size() is not None:
                for n in reversed(range(self._kept)):
                    source = self._numbered(n)
                    if source.exists():
                        source.replace(self._numbered(n + 1))
            self._open()
        except BlockingIOError:
            return
        except OSError:
            self._try_again = time.monotonic() + 60
            with suppress(OSError):  # a file system may not know locks
                fcntl.flock(self.fd, fcntl.LOCK_UN)

    def handle_all(self, records: Sequence[logging.LogRecord]) -> None:
        """Write records as one append, unfiltered."""
        self._write_safely(b"".join(map(self._made, records)), len(records))

    def _numbered(self, n: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{n}") if n else self.path

    def close(self) -> None:
        """Close the handler and its file."""
        super().close()
        self._close()


class StderrHandler(LineHandler):
    """Standard error. A reader that does not read delays the process once, by 0.1 s; after that lines are lost."""

    fd = 2
    patience = 0.1
    """Seconds for a whole line."""

    def ready(self, size: int) -> None:
        """Set the deadline of the line: at once while lines are being lost."""
        self._until = time.monotonic() + (0 if self.lost else self.patience)

    def handle_all(self, records: Sequence[logging.LogRecord]) -> None:
        """Write records unfiltered, as many at once as a pipe takes whole."""
        lines: list[bytes] = []
        for line in map(self._made, records):
            if lines and sum(map(len, lines)) + len(line) > select.PIPE_BUF:
                self._write_safely(b"".join(lines), len(lines))
                lines = []
            lines.append(line)
        if lines:
            self._write_safely(b"".join(lines), len(lines))

    def put(self, data: bytes) -> int:
        """Write up to PIPE_BUF bytes before the deadline. Raises BlockingIOError."""
        poll = native_poll()
        poll.register(self.fd, select.POLLOUT)
        if not poll.poll(max(0, self._until - time.monotonic()) * 1000):
            raise BlockingIOError(errno.EAGAIN, "nobody reads")
        return os.write(self.fd, data[: select.PIPE_BUF])
