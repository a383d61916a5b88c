"""Where log lines go: `executor.log`, `server.log` or `distributor-NAME.log` in the folder of `--log-dir`, or stderr.

    2026-03-01T08:15:30.123Z INFO     4711 geventjob.executor.runner [job/0b6f… resize_image] done in 1.2 s
    time (UTC)               level    pid  logger                    [job and action, or -]    message

Each line that is logged while an action runs, in its greenlet or in a greenlet that the action has spawned, names the
job. Logging never raises into the code that logs, and waits for the disk only: lines that cannot be written are
counted, and the count is logged once writing works again.

Any number of processes may share one file: each line is a single append, and each process checks before a line
whether another process (or logrotate) has moved the file away.
"""

from geventjob.log.formatting import TREE, LineFormatter, encode, format_line, running_action
from geventjob.log.handlers import FileHandler, StderrHandler
from geventjob.log.rate_limit import SELDOM, RateLimit
from geventjob.log.setup import configure, set_level, toggle_debug
from geventjob.log.turns import set_turns, turn, write_turns

__all__ = [
    "SELDOM",
    "TREE",
    "FileHandler",
    "LineFormatter",
    "RateLimit",
    "StderrHandler",
    "configure",
    "encode",
    "format_line",
    "running_action",
    "set_level",
    "set_turns",
    "toggle_debug",
    "turn",
    "write_turns",
]
