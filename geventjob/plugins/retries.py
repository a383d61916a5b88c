"""How a failed action is tried again: the rule of `@action`, and the exceptions by which code decides for itself."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Union

from geventjob.job.bounds import MOST_RETRIES

Errors = tuple[type[BaseException], ...]
ErrorOrErrors = Union[type[BaseException], Errors]


def _is_number(value: object, least: float) -> bool:
    return type(value) in (int, float) and least <= value <= 1e9  # type: ignore[operator]


class Retry(Exception):
    """Try the job again, after `after` seconds (None: the pause of the action's backoff), while retries are left."""

    def __init__(self, message: str = "", after: float | None = None) -> None:
        """Raise ValueError for an `after` that is negative or no number."""
        if after is not None and not _is_number(after, 0):
            raise ValueError(f"after is seconds from 0, not {after!r}")
        super().__init__(message)
        self.after = after


class GiveUp(Exception):
    """Fail the job for good: no retry can help."""


@dataclass(frozen=True)
class Backoff:
    """The pauses before retries, in seconds: `first`, then each `factor` times the last, `longest` at most.

    `jitter`: the share by which a pause is shorter, at random, so that jobs that failed together do not come back
    together.
    """

    first: float = 1
    factor: float = 2
    longest: float = 3600
    jitter: float = 0.2

    def __post_init__(self) -> None:
        """Raise ValueError for values that give no pauses."""
        for name, least in (("first", 0), ("factor", 1), ("longest", 0), ("jitter", 0)):
            value = getattr(self, name)
            if not _is_number(value, least):
                raise ValueError(f"{name} of a backoff is a number from {least}, not {value!r}")
        if self.jitter > 1:
            raise ValueError(f"jitter of a backoff is a share from 0 to 1, not {self.jitter!r}")

    def pause(self, retried: int) -> float:
        """Return the seconds to wait after a job was retried so often already."""
        try:
            pause = min(self.longest, self.first * self.factor**retried)
        except OverflowError:
            pause = self.longest
        return pause * (1 - self.jitter * random.random())  # noqa: S311  (jitter, no secret)


@dataclass(frozen=True)
class RetryPolicy:
    """The rule of an action about its failures."""

    retries: int | None = None
    """Most retries of a job; None: an exception is not tried again, except Retry."""
    backoff: Backoff = Backoff()
    retry_on: Errors = (Exception,)
    give_up_on: Errors = ()

    def __post_init__(self) -> None:
        """Raise ValueError, TypeError for values that are no rule."""
        retries = self.retries
        if retries is not None and (type(retries) is not int or not 0 <= retries <= MOST_RETRIES):
            raise ValueError(f"retries is a number from 0 to {MOST_RETRIES}, not {retries!r}")
        if not isinstance(self.backoff, Backoff):
            raise TypeError(f"backoff is a geventjob.Backoff, not {self.backoff!r}")
        for name in ("retry_on", "give_up_on"):
            for kind in getattr(self, name):
                if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                    raise TypeError(f"{name} has classes of exceptions, not {kind!r}")

    def pause(self, error: BaseException | None, retried: int) -> float | None:
        """Return the seconds before the next try after this exception; None: the failure is final.

        An `error` of None is a time-out. No code of the exception runs here.
        """
        kinds = type(error).__mro__
        if Retry in kinds:
            after = getattr(error, "after", None)
            return self.backoff.pause(retried) if after is None else float(after)
        if GiveUp in kinds or any(kind in kinds for kind in self.give_up_on):
            return None
        wanted = error is None or any(kind in kinds for kind in self.retry_on)
        return self.backoff.pause(retried) if wanted else None

    def limit(self, error: BaseException | None) -> int:
        """Return the most retries of a job without a limit of its own, after this exception; None is a time-out."""
        if self.retries is not None:
            return self.retries
        return MOST_RETRIES if Retry in type(error).__mro__ else 0


NO_RETRIES = RetryPolicy()
"""The rule of an action that names none."""


def errors(value: ErrorOrErrors) -> Errors:
    """Return one class or several as a tuple."""
    return value if isinstance(value, tuple) else (value,)
