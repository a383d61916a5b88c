"""The process of `geventjob run`, patched like an executor: it runs one action, once."""

import geventjob.patch  # noqa: F401, I001  (before any other import)

import io
import json
import os
import signal
import sys
from typing import Any

import gevent

from geventjob import fork, log, multiprocess
from geventjob.cimi.document import Document
from geventjob.cli.screen import STYLES, Screen
from geventjob.executor.forbidden_calls import refuse_signals, refuse_waits_of_finalizers
from geventjob.exit_code import ExitCode
from geventjob.plugins import PluginError, find_actions
from geventjob.plugins.spawned import share
from geventjob.testing.rehearsal import Rehearsal, named

REPORTED = ("returnCode", "output", "checkpoint", "affectedResources")
"""Attributes that are shown at the end."""


def main() -> int:
    """Run the action that the request describes, and return the exit code: 0 for SUCCESS, else 1, 2, 130."""
    with os.fdopen(int(sys.argv[1])) as file:
        request = json.load(file)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    screen = Screen(json=request["json"])
    log.configure("executor")
    fork.isolate()
    multiprocess.cooperate()
    refuse_signals()
    refuse_waits_of_finalizers()
    try:
        rehearsal = prepared(request, screen)
    except (PluginError, LookupError, ValueError) as error:
        print(f"geventjob: {error.args[0]}", file=sys.stderr)
        return ExitCode.USAGE
    interrupts = Interrupts(rehearsal)
    try:
        rehearsal.run()
        tell(screen, rehearsal)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit does not fail
        return ExitCode.BROKEN_PIPE
    if interrupts.came:
        return ExitCode.INTERRUPTED
    return ExitCode.SUCCESS if rehearsal.state == "SUCCESS" else ExitCode.FAILURE


class Interrupts:
    """Ctrl-C stops the action as `geventjob stop` would; a second one ends the process at once."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.came = False
        self._rehearsal = rehearsal
        gevent.signal_handler(signal.SIGINT, self._interrupt)

    def _interrupt(self) -> None:
        if self.came:
            os._exit(ExitCode.INTERRUPTED)
        self.came = True
        self._rehearsal.stop()


def prepared(request: dict[str, Any], screen: Screen) -> Rehearsal:
    """Return the rehearsal of a request. Raises PluginError, LookupError, ValueError."""
    spec = named(find_actions(request["folders"], request["unsafe"]), request["action"])
    share(request["folders"])
    more: dict[str, Any] = {}
    if request["target"] is not None:
        more["targetResource"] = {"href": request["target"]}
    if request["timeout"] is not None:
        more["timeout"] = request["timeout"]
    return Rehearsal(spec, request["payload"], on_edit=lambda edit: show(screen, edit), **more)


def show(screen: Screen, edit: Document) -> None:
    """Print attributes of the job, a line each."""
    for name, value in edit.items():
        screen.line(f"{name}  {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}", "dim")


def tell(screen: Screen, rehearsal: Rehearsal) -> None:
    """Print how the run has ended."""
    job = rehearsal.job
    if screen.json:
        screen.document(job)
        return
    again = f", tried again in {rehearsal.wait:.3g} s" if rehearsal.wait else ""
    state = "FAILED" if rehearsal.wait else rehearsal.state
    message = f": {rehearsal.message}" if rehearsal.message else ""
    screen.line(f"{state}{again}{message}", STYLES[state])
    show(screen, {name: job[name] for name in REPORTED if name in job})


if __name__ == "__main__":
    sys.exit(main())
