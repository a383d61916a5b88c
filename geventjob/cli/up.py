"""`geventjob up`: job server, executor and distributor on this machine, as children of one process.

They end with it, however it ends: each asks the kernel for SIGKILL at its parent's death. Signals are waited for
(`sigtimedwait`), not handled, so that one loop sees children die, stops and restarts in order.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import math
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from geventjob import config
from geventjob.cimi.client import Client
from geventjob.cimi.errors import CimiError, LoginRefused
from geventjob.cli.connection import connect
from geventjob.cli.fleet import left_out
from geventjob.cli.isolated import isolated
from geventjob.config import ini
from geventjob.config.options import default_data_dir
from geventjob.ownership import Unsafe, open_private, private_folder

SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
PR_SET_PDEATHSIG = 1
DISTRIBUTORS = ("jobs_cleanup",)
RENEWAL = 3.0
"""Seconds that running jobs have to end when a file has changed; then they are given back and run again."""
FIRST_DELAY, LONGEST_DELAY, STEADY = 1.0, 30.0, 60.0
"""Seconds before a child that died is started again: doubled each time, and forgotten once it ran steadily."""


class UsageError(Exception):
    """One line for the operator; exit 2."""


class Child:
    """One of the commands, kept running."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], log_dir: Path) -> None:
        self.name = name
        self._command = isolated(module, *arguments)
        self._output = log_dir / f"{name}.err"
        self._process: subprocess.Popen[bytes] | None = None
        self._delay = FIRST_DELAY
        self._started = 0.0
        self._ending: float | None = None
        """`time.monotonic()` of the request to end for another start."""
        self.due = 0.0
        """`time.monotonic()` from which on it may be started (again)."""

    def start(self) -> None:
        parent = os.getpid()
        self._started = time.monotonic()
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  (our own modules)
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={name: value for name, value in os.environ.items() if not name.startswith("GEVENTJOB_")},
                start_new_session=True,  # a Ctrl-C in the terminal is for us alone; we stop them in order
                preexec_fn=lambda: _die_with(parent),  # noqa: PLW1509  (no threads here)
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id while the command runs."""
        return self._process.pid if self._process and self.running else None

    def signal(self, number: signal.Signals) -> None:
        if self._process and self.running:
            self._process.send_signal(number)

    def renew(self) -> None:
        """End the command in good order, so that it is started again; what still runs after a while is given back."""
        self._ending = time.monotonic()
        self.signal(signal.SIGTERM)

    def hurry(self) -> None:
        """Ask once more for an end that `renew` asked for and that takes long."""
        if self._ending is not None and time.monotonic() - self._ending > RENEWAL:
            self._ending = math.inf
            self.signal(signal.SIGTERM)

    def death(self) -> str | None:
        """How it died, once after each death, with the time of its next start set; None while all is well.

        Raises UsageError where it refused its options: to start it again would not help.
        """
        if self._process is None or self.running:
            return None
        code = self._process.returncode
        self._process = None
        if self._ending is not None:
            self._ending, self.due = None, 0.0
            return None
        if code == 2:
            raise UsageError(self._last_words() or f"{self.name} refused its options")
        if time.monotonic() - self._started > STEADY:
            self._delay = FIRST_DELAY
        self.due = time.monotonic() + self._delay
        why = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        text = f"{self.name} {why} ({self._last_words() or 'without a word'}); started again in {self._delay:g} s"
        self._delay = min(LONGEST_DELAY, self._delay * 2)
        return text

    def _last_words(self) -> str:
        lines = self._output.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


class Up:
    """The children and the loop that keeps them."""

    def __init__(self, settings: config.Settings) -> None:
        self.data_dir = Path(settings.data_dir).absolute()
        settings.data_dir = str(self.data_dir)
        settings.log_dir = settings.log_dir or str(self.data_dir / "log")
        settings.port = settings.port or _free_port(settings.host)
        self.url = f"http://{settings.host}:{settings.port}"
        self.actions_dir = self.data_dir / "actions"
        self.distributors_dir = self.data_dir / "distributors"
        settings.actions_dir = [str(self.actions_dir), *settings.actions_dir]
        settings.distributors_dir = [str(self.distributors_dir), *settings.distributors_dir]
        self.client_ini = self.data_dir / "client.ini"
        self._settings = settings
        self._locks: list[int] = []
        self._stopping = False
        self._client: Client | None = None
        self._seen: set[int] = set()
        """Process ids of children that were seen to be at work."""

    # --- before the children

    def prepare(self) -> None:
        """Folders, locks and, at the first start, a password. Raises UsageError."""
        try:
            private_folder(self.data_dir)
            for folder in (Path(self._settings.log_dir), self.actions_dir, self.distributors_dir):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock(self.data_dir / "up.lock")
            self._lock_port(self._settings.port)
            self._write_client_ini()
        except Unsafe as unsafe:
            raise UsageError(f"--data-dir: {unsafe.strerror}") from None
        except OSError as error:
            raise UsageError(f"--data-dir {self.data_dir}: {error.strerror}") from None

    def _lock(self, path: Path) -> None:
        """Held by the open file for as long as we live; it holds our pid for whoever comes second."""
        lock = open_private(path)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _already_running(os.read(lock, 20).decode() or "?") from None
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        self._locks.append(lock)

    def _lock_port(self, port: int) -> None:
        """Hold a name of the kernel's, an abstract socket: there is no file, and it knows the PID of its holder."""
        name = f"\0geventjob-up-{port}"
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(name)
        except OSError:
            with lock:
                raise _already_running(_listener(name)) from None
        lock.listen()
        self._locks.append(lock.detach())

    def _write_client_ini(self) -> None:
        password_file = self.data_dir / "admin-pass"
        if not password_file.exists():
            _write_private(password_file, secrets.token_urlsafe(24) + "\n")
        password = password_file.read_text().strip()
        _write_private(self.client_ini, f"ss-url = {self.url}\nss-user = super\n" + ini.line("ss-pass", password))

    # --- the children

    def children(self) -> list[Child]:
        """In the order in which they start; they stop the other way round."""
        login = self.client_ini.read_text()
        names = dict.fromkeys((*DISTRIBUTORS, *self._settings.distributor))
        return [
            self._child("server", f"admin-pass-file = {self.data_dir / 'admin-pass'}\n"),
            self._child("executor", login),
            self._child("distributor", login, *names),
        ]

    def _child(self, command: str, lines: str, *arguments: str) -> Child:
        """A command with our own settings and these lines besides."""
        file = self._write_ini(command, lines)
        return Child(command, f"geventjob.cli.{command}", ["-c", str(file), *arguments], Path(self._settings.log_dir))

    def _write_ini(self, command: str, lines: str) -> Path:
        file = self.data_dir / f"{command}.ini"
        _write_private(file, lines + config.as_ini(self._settings, command))
        return file

    def _use_key(self) -> None:
        """Let executor and distributor log in by an API key, which no flood of wrong passwords keeps waiting.

        Without one, as when the server is away again, they log in by password.
        """
        secret_file = self.data_dir / "fleet-secret"
        try:
            key = self._key(self.data_dir / "fleet-key", secret_file)
        except CimiError as error:
            say(f"executor and distributor log in by password, not by API key: {error}")
            return
        for command in ("executor", "distributor"):
            self._write_ini(command, f"ss-url = {self.url}\nss-key = {key}\nss-secret-file = {secret_file}\n")

    def _key(self, key_file: Path, secret_file: Path) -> str:
        """The id of the API key in these files, made where there is none that opens. Raises CimiError."""
        if key_file.exists() and secret_file.exists():
            key, secret = key_file.read_text().strip(), secret_file.read_text().strip()
            with Client(self.url, key=key, secret=secret, timeout=(1, 5)) as client, suppress(LoginRefused):
                client.search("job", last=0)
                client.log_out()
                return key
        password = (self.data_dir / "admin-pass").read_text().strip()
        with Client(self.url, "super", password, timeout=(1, 5)) as client:
            made = client.new_key(name="geventjob up")
            client.log_out()
        _write_private(secret_file, made.secret + "\n")
        _write_private(key_file, made.id + "\n")
        return made.id

    def run(self) -> int:
        """Until SIGTERM or SIGINT. Raises UsageError when the server cannot be started as it was asked for."""
        children = self.children()
        server, others = children[0], children[1:]
        try:
            server.start()
            while not self._stopping and not self._answers():
                self._keep([server])
                self._wait(0.1)
            if not self._stopping:
                self._use_key()
            changes = Changes(self._settings) if self._settings.reload else None
            while not self._stopping:
                self._keep(children)
                self._look_at(others)
                for name in changes.found() if changes else ():
                    self._renew(children, name)
                self._wait(0.5 if self._seen else 0.1)
        finally:
            self._stop(others)
            self._stop([server])
        return 0

    # --- what is told

    def _look_at(self, children: Sequence[Child]) -> None:
        """Tell what each child that has come up since could not use, and once that all of them are at work."""
        new = {child.pid for child in children if child.pid and child.pid not in self._seen}
        if not new:
            return
        first = not self._seen
        nodes = {node["pid"]: node for node in self._nodes() if node.get("pid") in new}
        if nodes.keys() != new or (len(new) < len(children) and first):
            return
        self._seen |= new
        if first:
            self._welcome()
        for node in nodes.values():
            for line in left_out(node):
                say(line)

    def _nodes(self) -> list[dict[str, Any]]:
        """The processes that are at work; none while the server is away."""
        if self._client is None:
            settings = config.parse("client", ["-c", str(self.client_ini)], {})
            self._client = connect(settings, patience=0.0, timeout=(1, 5))
        try:
            return self._client.nodes()
        except CimiError:
            return []

    def _renew(self, children: Sequence[Child], name: str) -> None:
        say(f"{name} starts again: a file has changed")
        for child in children:
            if child.name == name:
                child.renew()

    def _answers(self) -> bool:
        return Client(self.url, timeout=(1, 5)).healthy()

    def _keep(self, children: Sequence[Child]) -> None:
        for child in children:
            child.hurry()
            death = child.death()
            if death:
                say(death)
            if not child.running and time.monotonic() >= child.due:
                child.start()

    def _wait(self, seconds: float) -> None:
        caught = signal.sigtimedwait(SIGNALS, seconds)
        if caught and caught.si_signo != signal.SIGCHLD:
            self._stopping = True

    def _welcome(self) -> None:
        command = command_line(self.client_ini)
        found = "a change is found at once" if self._settings.reload else "found at start; --reload finds changes"
        say(
            f"geventjob is up: {self.url}, user super, password in {self.client_ini}\n"
            f"actions:      {self.actions_dir}/*.py ({found})\n"
            f"distributors: {self.distributors_dir}/*.py (run by --distributor NAME)\n"
            f"logs:         {self._settings.log_dir}/*.log\n"
            f"in a second terminal:\n"
            f"    {command} submit dummy_test_action --wait"
        )
        if self._settings.demo:
            parent = os.getpid()
            demo = isolated("geventjob.cli.demo", str(self.client_ini), command)
            subprocess.Popen(demo, preexec_fn=lambda: _die_with(parent))  # noqa: S603, PLW1509

    def _stop(self, children: Sequence[Child]) -> None:
        """End each in good order; our second signal is passed on as theirs. Tell what is waited for."""
        for child in children:
            child.signal(signal.SIGTERM)
        told = False
        while waited := [child.name for child in children if child.running]:
            caught = signal.sigtimedwait(SIGNALS, 1)
            if caught and caught.si_signo != signal.SIGCHLD:
                for child in children:
                    child.signal(signal.SIGTERM)
            elif not caught and not told:
                told = True
                say(self._waiting(waited))

    def _waiting(self, names: Sequence[str]) -> str:
        if "executor" not in names:
            return f"stopping: waiting for {' and '.join(names)}"
        running = sum(node.get("running", 0) for node in self._nodes())
        longest = self._settings.shutdown_timeout
        return f"stopping: {running} jobs run and have {longest:g} s to end; Ctrl-C again gives them back at once"


class Changes:
    """Changes of the files that a child reads when it starts."""

    def __init__(self, settings: config.Settings) -> None:
        self._folders = {"executor": settings.actions_dir, "distributor": settings.distributors_dir}
        self._known = {name: self._files(name) for name in self._folders}

    def found(self) -> list[str]:
        """Return the names of the children whose files have changed since the last call."""
        now = {name: self._files(name) for name in self._folders}
        changed = [name for name, files in now.items() if files != self._known[name]]
        self._known = now
        return changed

    def _files(self, name: str) -> dict[str, tuple[int, int]]:
        """File → time of its last change and size."""
        found = {}
        for folder in self._folders[name]:
            for file in Path(folder).glob("*.py"):
                with contextlib.suppress(OSError):
                    status = file.stat()
                    found[str(file)] = (status.st_mtime_ns, status.st_size)
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 after a stop, 2 for wrong usage."""
    up = Up(config.parse("up", argv))
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        up.prepare()
        return up.run()
    except UsageError as error:
        print(f"geventjob up: {error}", file=sys.stderr)
        return 2


def say(text: str) -> None:
    """A line for whoever watches the terminal."""
    print(text, flush=True)


def command_line(client_ini: Path) -> str:
    """What to type for `geventjob` in another terminal: its path where it is not on PATH, its `-c` where needed."""
    beside = Path(sys.executable).parent / "geventjob"
    command = "geventjob" if shutil.which("geventjob") else str(beside)
    return command if client_ini.parent == Path(default_data_dir()) else f"{command} -c {client_ini}"


def _free_port(host: str) -> int:
    """Return a port that is free now: the children and their clients are told it before the server listens."""
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        port: int = listening.getsockname()[1]
        return port


def _already_running(pid: object) -> UsageError:
    return UsageError(f"already running as PID {pid}; stop it or choose --port and --data-dir")


def _listener(name: str) -> object:
    """Return the PID of the process that listens at an abstract socket, as the kernel knows it."""
    try:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(name)
            pid, _, _ = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:  # it has just ended, or many ask at once
        return "?"
    return pid or "?"


def _write_private(path: Path, text: str) -> None:
    """Readable by its owner alone from the first moment on, and never half written."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def _die_with(parent: int) -> None:
    """In the child, before it becomes the command: die when the parent dies, and take signals again."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
