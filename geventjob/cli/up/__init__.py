"""`geventjob up`: job server, executor and distributor on this machine, as children of one process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from geventjob import config
from geventjob.cli.errors import UsageError
from geventjob.cli.renewal import LiveOptions
from geventjob.cli.up.announcer import say
from geventjob.cli.up.folder import DataFolder
from geventjob.cli.up.supervisor import SIGNALS, Supervisor
from geventjob.exit_code import ExitCode
from geventjob.notify import Notifier


def main(argv: Sequence[str] | None = None) -> int:
    """Run the engine until SIGTERM or SIGINT, and return the exit code: 0, or 2 for wrong usage."""
    notifier = Notifier()
    settings = config.parse("up", argv)
    options = LiveOptions("up", settings, argv, say)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        folder = DataFolder(settings)
        folder.prepare()
        return Supervisor(settings, options, folder, notifier).run()
    except UsageError as error:
        print(f"geventjob up: {error}", file=sys.stderr)
        return ExitCode.USAGE
