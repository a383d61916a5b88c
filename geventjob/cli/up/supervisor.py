"""The loop of `geventjob up`, which starts its children, keeps them running and stops them.

Signals are waited for (`sigtimedwait`), not handled, so that one loop sees deaths, stops and restarts in order.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from geventjob import config
from geventjob.cimi.client import Client
from geventjob.cimi.errors import CimiError
from geventjob.cli.renewal import LiveOptions
from geventjob.cli.up.announcer import Announcer, say
from geventjob.cli.up.child import Child
from geventjob.cli.up.folder import DataFolder
from geventjob.cli.up.reload import FileChanges
from geventjob.exit_code import ExitCode
from geventjob.notify import Notifier

PASSED_ON = {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
"""Signals whose meaning is that of the children (docs/operations.md, "Signals")."""
SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, *PASSED_ON}
EXTRA = 30.0
"""Seconds that a stop of all children may take beyond the shutdown timeout of the executor."""
DISTRIBUTORS = ("jobs_cleanup", "schedules")
"""Distributors that always run."""


class Supervisor:
    """The children, in order: the server starts first and stops last."""

    def __init__(
        self, settings: config.Settings, options: LiveOptions, folder: DataFolder, notifier: Notifier | None = None
    ) -> None:
        self._settings = settings
        self._options = options
        self._folder = folder
        self._announcer = Announcer(settings, folder)
        self._notifier = notifier or Notifier({})
        self._ready = False
        self._all: list[Child] = []
        self._stopping = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT. Raises UsageError when a child refuses its options."""
        server, *workers = children = self._all = self._children()
        try:
            server.start()
            while not self._stopping and not Client(self._folder.url, timeout=(1, 5)).healthy():
                self._keep([server])
                self._notifier.starting()  # the server may upgrade a large store
                self._wait(0.1)
            if not self._stopping:
                self._use_key()
            changes = FileChanges(self._settings) if self._settings.reload else None
            while not self._stopping:
                self._keep(children)
                self._announcer.look_at(workers)
                self._tell_ready()
                for name in changes.found() if changes else ():
                    self._renew(children, name)
                self._wait(0.5 if self._announcer.welcomed else 0.1)
        finally:
            self._notifier.stopping(self._settings.shutdown_timeout + EXTRA)
            self._stop(workers)
            self._stop([server])
        return ExitCode.SUCCESS

    def _children(self) -> list[Child]:
        """Return the children in the order of their start."""
        folder = self._folder
        names = dict.fromkeys((*DISTRIBUTORS, *self._settings.distributor))
        return [
            self._child("server", str(folder.write_server_ini())),
            self._child("executor", str(folder.write_worker_ini("executor"))),
            self._child("distributor", str(folder.write_worker_ini("distributor")), *names),
        ]

    def _child(self, command: str, ini: str, *arguments: str) -> Child:
        return Child(command, f"geventjob.cli.{command}", ["-c", ini, *arguments], self._folder.log_dir)

    def _use_key(self) -> None:
        try:
            self._folder.use_key()
        except CimiError as error:
            say(f"executor and distributor log in by password, not by API key: {error}")

    def _renew(self, children: Sequence[Child], name: str) -> None:
        """Start a child again, since one of its files has changed."""
        say(f"{name} starts again: a file has changed")
        for child in children:
            if child.name == name:
                child.renew()

    def _keep(self, children: Sequence[Child]) -> None:
        """Start each child that is due, and print each death. Raises UsageError."""
        for child in children:
            child.hurry()
            death = child.death()
            if death:
                say(death)
            if child.due:
                child.start()

    def _tell_ready(self) -> None:
        """Tell the service manager once the engine takes jobs."""
        if self._announcer.welcomed and not self._ready:
            self._ready = True
            self._notifier.ready()

    def _wait(self, seconds: float) -> None:
        """Wait for a death or a request to stop, `seconds` at most."""
        self._notifier.alive()
        caught = signal.sigtimedwait(SIGNALS, seconds)
        if caught and caught.si_signo in PASSED_ON:
            if caught.si_signo != signal.SIGHUP or self._read_again():
                for child in self._all:
                    child.signal(signal.Signals(caught.si_signo))
        elif caught and caught.si_signo != signal.SIGCHLD:
            self._stopping = True

    def _read_again(self) -> bool:
        """Read the options again, and write the ini files of the children; return False for options with an error."""
        try:
            self._options.apply(self._options.read())
            self._folder.write_again()
        except (config.WrongUsage, OSError) as error:
            say(f"SIGHUP: nothing changes: {getattr(error, 'message', error)}")
            return False
        return True

    def _stop(self, children: Sequence[Child]) -> None:
        """Stop children gracefully, and print what the stop waits for; a second signal is passed on to them."""
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
                self._announcer.stopping(waited)
