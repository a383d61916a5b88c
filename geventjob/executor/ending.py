"""The ways in which the code of an action can end. `decide` says what each means for the job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Union


@dataclass(frozen=True)
class Returned:
    """The code returned a value."""

    value: Any


@dataclass(frozen=True, eq=False)
class Raised:
    """The code raised an exception of its own: any BaseException, SystemExit and its own gevent.Timeout included."""

    error: BaseException
    text: str
    """`Type: text`, for the job's message."""
    trace: str
    """The traceback, for the log."""


@dataclass(frozen=True)
class TimedOut:
    """The time limit was over, whether or not the code swallowed the Timeout."""

    seconds: float


@dataclass(frozen=True)
class Stopped:
    """JobStopped was raised in the code, whether or not the code swallowed the exception."""


@dataclass(frozen=True)
class Lost:
    """JobLost was raised in the code, or its claim was lost before the code began."""


Ending = Union[Returned, Raised, TimedOut, Stopped, Lost]
