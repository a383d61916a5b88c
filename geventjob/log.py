"""Where log lines go: `<log-dir>/<command>.log`, or stderr.

    2026-03-01T08:15:30.123Z INFO     4711 geventjob.executor.runner [job/0b6f… resize_image] done in 1.2 s
    time (UTC)               level    pid  logger                    [job and action, or -]    message

Whatever logs while an action runs, in its greenlet or in one that it spawned, is marked with the job. A log never
raises into the code that logs, and waits for nothing but the disk: what cannot be written is counted, and the
count is told once writing works again.

Any number of processes may share one file: each line is a single append, and each process looks before a line
whether another (or logrotate) has moved the file away.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import select
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import gevent
from gevent import monkey

from geventjob.config import COMMANDS, refuse
from geventjob.title import LOGIN

TREE = "geventjob.action"
"""Key of the running action in a greenlet's `spawn_tree_locals`: an object with `job_id` and `action`."""

LARGEST_FILE = 10 << 20
KEPT = 5
LONGEST_LINE = 1 << 16
CHATTY = ("kazoo", "elastic_transport")
"""Libraries that tell each request at INFO: only their warnings are of interest, unless one debugs."""
TALKATIVE = ("urllib3",)
"""Libraries that tell whole URLs at DEBUG, those of actions too, whose queries may hold secrets: only warnings."""
SELDOM = {"seldom": True}
"""`extra` of a log call that strangers can cause: one such line a minute, so that they rotate no log away."""

CONTROLS = {c: f"\\x{c:02x}" for c in (*range(32), *range(127, 160)) if chr(c) not in "\t\n"}
UNPRINTABLE = CONTROLS | {0x2028: "\\u2028", 0x2029: "\\u2029"}

# A lock of gevent's hangs when native threads log beside greenlets (FINDINGS §8); threading.RLock would be that too.
native_lock: Any = monkey.get_original("_thread", "RLock")
native_poll: Any = monkey.get_original("select", "poll")

log = logging.getLogger(__name__)


def configure(command: str, log_dir: str | None = None, level: str = "info") -> None:
    """Send all logging of this process to its place, warnings and unexpected ends too. For entry points only.

    A folder that cannot be written is wrong usage: one line on stderr, exit code 2.
    """
    try:
        handler: logging.Handler = FileLines(Path(log_dir) / f"{command}.log") if log_dir else stderr()
    except OSError as error:
        refuse(command, f"--log-dir: expected a folder that can be written, {log_dir}: {error.strerror}")
    least = getattr(logging, level.upper())
    logging._lock = native_lock()  # type: ignore[attr-defined]  # it is taken by native threads as well
    root = logging.getLogger()
    for before in root.handlers[:]:
        root.removeHandler(before)
        before.close()
    handler.addFilter(Seldom())
    root.addHandler(handler)
    root.setLevel(least)
    for name in CHATTY:
        logging.getLogger(name).setLevel(least if least <= logging.DEBUG else max(least, logging.WARNING))
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(least, logging.WARNING))
    logging.captureWarnings(True)
    watch_ends(COMMANDS[command], f"; see {handler.path}" if isinstance(handler, FileLines) else "")


class Seldom(logging.Filter):
    """Let through one record marked SELDOM of each kind in a while; it tells how many were left out before it."""

    def __init__(self, pause: float = 60.0) -> None:
        """`pause`: seconds between two of a kind, which is the call's text and the type of its error."""
        super().__init__()
        self._pause = pause
        self._kinds: dict[tuple[object, object], tuple[float, int]] = {}
        """Kind → when the next one may be written (`time.monotonic()`), and how many were left out."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(record, "seldom", False):
            return True
        kind = record.msg, record.exc_info[0] if record.exc_info else None
        now = time.monotonic()
        due, left_out = self._kinds.get(kind, (now, 0))
        if now < due:
            self._kinds[kind] = due, left_out + 1
            return False
        self._kinds[kind] = now + self._pause, 0
        if left_out:
            record.msg = f"{record.msg} (and {left_out} more like this since the last line)"
        return True


# --- a line


class Line(logging.Formatter):
    """One record as text that cannot forge another: what follows its first line is indented."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            text = super().format(record)
        except Exception as error:  # a wrong log call must not fail the action that makes it
            text = f"cannot format the message {record.msg!r:.200}: {type(error).__name__}: {error}"
        if len(text) > LONGEST_LINE:
            text = f"{text[:LONGEST_LINE]}… (cut, {len(text)} characters)"
        who = running(getattr(record, "greenlet", None))
        return line(record.created, record.levelname, record.name, who, text.rstrip())


def line(created: float, level: str, name: str, who: str, text: str) -> str:
    """Return what one record looks like. `created`: Unix seconds; `who`: job and action, or `-`."""
    made = f"{stamp(created)} {level:<8} {os.getpid()} {name} [{who}] {text}"
    made = made.translate(UNPRINTABLE).replace("\n", "\n    ")
    return LOGIN.sub("://***@", made) if "://" in made else made


def stamp(created: float) -> str:
    """Unix seconds as UTC with milliseconds."""
    seconds, thousandths = divmod(int(created * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{thousandths:03d}Z"


def running(greenlet: Any = None) -> str:
    """`<job id> <action>` of the action that a greenlet (the current one) belongs to, or `-`."""
    tree = getattr(greenlet or gevent.getcurrent(), "spawn_tree_locals", None)
    action = tree.get(TREE) if tree else None
    return f"{action.job_id} {action.action}" if action else "-"


def encoded(line: str) -> bytes:
    return f"{line}\n".encode(errors="backslashreplace")


# --- the places


class Lines(logging.Handler):
    """A file descriptor that takes whole lines. Never raises; counts what it could not write."""

    fd = -1

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(Line())
        self.lost = 0
        """Lines that could not be written since one last could."""
        self.why: str | None = None
        self._torn = False

    def createLock(self) -> None:
        super().createLock()
        self.lock = native_lock()

    def handle(self, record: logging.LogRecord) -> bool:
        """Format outside the lock, since a message's `__str__` may wait for whatever it likes; then write."""
        if not self.filter(record):
            return False
        try:
            data = encoded(self.format(record))
        except Exception as error:
            data = encoded(f"{stamp(record.created)} a line of {record.name} cannot be made: {error!r}")
        self.acquire()
        try:
            self._write(data)
        except OSError as error:
            self.lost += 1
            self.why = error.strerror
        finally:
            self.release()
        return True

    def _write(self, data: bytes) -> None:
        self.ready(len(data))
        if self.lost:
            told = {
                "name": log.name,
                "levelname": "WARNING",
                "msg": f"{self.lost} lines could not be written: {self.why}",
            }
            self._put(encoded(self.format(logging.makeLogRecord(told))))
            self.lost = 0
        self._put(data)

    def _put(self, data: bytes) -> None:
        if self._torn:
            data = b"\n" + data
        written = 0
        try:
            while written < len(data):
                written += self.put(data[written:])
        finally:
            self._torn = 0 < written < len(data) or (self._torn and not written)

    def ready(self, size: int) -> None:
        """Called before `size` bytes are written."""

    def put(self, data: bytes) -> int:
        """Write what goes at once; how many bytes that were. OSError if none goes."""
        return os.write(self.fd, data)


class FileLines(Lines):
    """A file that is moved to `.1` … `.5` as it reaches 10 MB, by whichever process gets there first."""

    def __init__(self, path: Path, largest: int = LARGEST_FILE, kept: int = KEPT) -> None:
        """Makes the folder if it is missing. Raises OSError."""
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
        there = self._there()
        if there is None:
            self._open()
        elif there > 0 and there + size > self._largest and time.monotonic() >= self._try_again:
            self._rotate()

    def _there(self) -> int | None:
        """Size of the file at our path; None if that is not the one we have open."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_size if self.fd >= 0 and os.path.samestat(found, os.fstat(self.fd)) else None

    def _rotate(self) -> None:
        """Move the files on, unless another process is about to: then this line makes the file a little longer."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._there() is not None:
                for n in reversed(range(self._kept)):
                    source = self._numbered(n)
                    if source.exists():
                        source.replace(self._numbered(n + 1))
            self._open()
        except BlockingIOError:
            return
        except OSError:
            self._try_again = time.monotonic() + 60
            with suppress(OSError):  # a file system may know no locks
                fcntl.flock(self.fd, fcntl.LOCK_UN)

    def _numbered(self, n: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{n}") if n else self.path

    def close(self) -> None:
        super().close()
        self._close()


class StderrLines(Lines):
    """stderr. A reader that does not read costs a tenth of a second, once; then lines are lost, and nobody waits."""

    fd = 2
    patience = 0.1
    """Seconds, for a whole line."""

    def ready(self, size: int) -> None:
        self._until = time.monotonic() + (0 if self.lost else self.patience)

    def put(self, data: bytes) -> int:
        poll = native_poll()
        poll.register(self.fd, select.POLLOUT)
        if not poll.poll(max(0, self._until - time.monotonic()) * 1000):
            raise BlockingIOError(errno.EAGAIN, "nobody reads")
        return os.write(self.fd, data[: select.PIPE_BUF])


def stderr() -> logging.Handler:
    """The place without a folder. If stderr was closed at start, its number belongs to something else by now."""
    return StderrLines() if sys.__stderr__ else logging.NullHandler()


# --- ends that nobody expected


def watch_ends(program: str, where: str) -> None:
    """Errors that nothing caught go to the log; the one that ends the process also as a line on stderr."""

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("%s ends on an error that nothing caught", program, exc_info=(kind, error, trace))
        if where:
            print(f"{program}: {kind.__name__}: {error}{where}".replace("\n", " "), file=sys.stderr)

    def thread_ended(args: threading.ExceptHookArgs) -> None:
        if args.exc_value and not isinstance(args.exc_value, SystemExit):
            log.error("a thread ended on an error", exc_info=args.exc_value)

    def greenlet_ended(context: Any, kind: Any, error: Any, trace: Any) -> None:
        log.error("%r ended on an error", context, exc_info=(kind, error, trace), extra={"greenlet": context})

    def ignored(args: sys.UnraisableHookArgs) -> None:
        log.error("%s: %r", args.err_msg or "an error was ignored in", args.object, exc_info=args.exc_value)

    sys.excepthook = ended
    threading.excepthook = thread_ended
    sys.unraisablehook = ignored
    if monkey.is_module_patched("socket"):
        gevent.get_hub().print_exception = greenlet_ended  # type: ignore[method-assign,assignment]
