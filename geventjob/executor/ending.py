"""How the code of an action came to its end. What that means for the job is the runner's to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Union


@dataclass(frozen=True)
class Returned:
    """It ran to its end."""

    value: Any


@dataclass(frozen=True, eq=False)
class Raised:
    """It failed by an exception of its own: any BaseException, SystemExit and its own gevent.Timeout included."""

    error: BaseException
    text: str
    """`Type: text`, for the job's message."""
    trace: str
    """The traceback, for the log."""


@dataclass(frozen=True)
class TimedOut:
    """It ran longer than it may, whether or not it swallowed the Timeout."""

    seconds: float


@dataclass(frozen=True)
class Stopped:
    """JobStopped was raised in it, whatever it made of that."""


@dataclass(frozen=True)
class Lost:
    """JobLost was raised in it, or its claim was lost before it began."""


Ending = Union[Returned, Raised, TimedOut, Stopped, Lost]
