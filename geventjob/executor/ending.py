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


@dataclass(frozen=True, eq=False)
class RaisedApart(Raised):
    """The same in a worker process, where the exception stays; `error` stands for it."""

    kind: str
    """The class of the exception."""
    pause: float | None
    """Seconds before the next try by the rule of the action, as `RetryPolicy.pause` gives them."""
    limit: int
    """Most retries, as `RetryPolicy.limit` gives them."""


@dataclass(frozen=True)
class ForeignValue:
    """A value that an action in a worker process has returned, and that is no result. It stays there."""

    type: str
    """The name of its type."""


@dataclass(frozen=True)
class TimedOut:
    """The time limit was over, whether or not the code swallowed the Timeout."""

    seconds: float
    note: str = ""
    """What the process of the action has used, if it was killed."""


@dataclass(frozen=True)
class Stopped:
    """JobStopped was raised in the code, whether or not the code swallowed the exception."""


@dataclass(frozen=True)
class Lost:
    """JobLost was raised in the code, or its claim was lost before the code began."""


class EndedApart(BaseException):
    """Carries the ending of code in a worker process to the watch, which takes it as the ending of its own code."""

    def __init__(self, ending: Raised) -> None:
        super().__init__()
        self.ending = ending


Ending = Union[Returned, Raised, TimedOut, Stopped, Lost]
