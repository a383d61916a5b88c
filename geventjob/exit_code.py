"""The exit codes of all commands. `docs/reference/cli.md`, "Exit codes", has the same table."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """An exit code and its meaning in a few words."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> ExitCode:
        """Make a member of its code and meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    SUCCESS = 0, "success"
    FAILURE = 1, "the job did not succeed, or a part of the process failed"
    USAGE = 2, "wrong usage"
    TIMEOUT = 3, "--wait or watch ID ran out of time"
    SERVER_AWAY = 4, "the server is away"
    DENIED = 5, "log-in refused, or not allowed"
    NO_SUCH_JOB = 6, "no such job"
    INTERRUPTED = 130, "interrupted by Ctrl-C"
    BROKEN_PIPE = 141, "the reader of the output has gone"
