"""Errors that end a command, and the exit code of each."""

from __future__ import annotations

from geventjob.cimi.errors import CimiError, Forbidden, Invalid, LoginRefused, NotFound, ServerAway
from geventjob.exit_code import ExitCode


class UsageError(Exception):
    """Wrong usage that the parser could not see; the text is one line for the user."""


class WaitTimedOut(Exception):
    """`--timeout` passed before the end of the jobs; the text is one line for the user."""


class MissingOrHidden(Forbidden):
    """403 for a job: the job does not exist, or the user may not see it. The server does not tell which."""


def explain(error: CimiError, patience: float) -> tuple[ExitCode, str]:
    """Return the exit code and the line for an error of the client; `patience`: seconds of trying for the server."""
    if isinstance(error, (LoginRefused, MissingOrHidden)):
        return ExitCode.DENIED, str(error)
    if isinstance(error, Forbidden):
        return ExitCode.DENIED, f"not allowed: {error}"
    if isinstance(error, ServerAway):
        return ExitCode.SERVER_AWAY, f"the server is away, tried for {patience:g} s: {error}"
    codes: dict[type[CimiError], ExitCode] = {NotFound: ExitCode.NO_SUCH_JOB, Invalid: ExitCode.USAGE}
    return codes.get(type(error), ExitCode.FAILURE), str(error)
