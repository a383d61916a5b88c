"""The interface for authors of actions and distributors.

The decorators only mark their targets; there is no registry, so that two engines in one process never share plugins
(docs/decisions/0004-no-global-registries.md). An action in five lines:

    from geventjob import action

    @action("say_hello", timeout=10)
    def say_hello(job):
        job.set_status_message(f"hello, {job.payload.get('name', 'world')}")
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, overload

from geventjob.plugins.isolation import Isolation, isolation_of
from geventjob.plugins.retries import Backoff, ErrorOrErrors, RetryPolicy, errors

NAME = re.compile(r"[A-Za-z0-9_.:@+-]{1,100}")

Target = TypeVar("Target", bound=Callable[..., Any])


class Action(ABC):
    """One run of an action on one job. `self.job` is the job, `self.executor` the executor.

    @action("resize_image", timeout=60)
    class ResizeImage(Action):
        def do_work(self):
            self.job.set_progress(50)
            return 0
    """

    def __init__(self, executor: Any, job: Any) -> None:
        self.executor = executor
        self.job = job

    @abstractmethod
    def do_work(self, *values: Any, **fields: Any) -> Any:
        """Do the work of the job; may be `async def`. Declare only the parameters that the payload fills, if any.

        0 or None is SUCCESS, another int FAILED with this return code, a dict or list SUCCESS with this output, an
        exception FAILED with its text.
        """


class Distributor(ABC):
    """A source of jobs on a schedule, while its process leads (docs/reference/distributors.md).

    @distributor("nightly_report")
    class NightlyReport(Distributor):
        cron = "0 3 * * *"
        def jobs(self):
            yield {"action": "make_report", "targetResource": {"href": "report/daily"}}
    """

    interval: float | None = None
    """Seconds from one firing to the next; exclusive with `cron`."""
    cron: str | None = None
    """The firings as a crontab line."""
    timezone: str | None = None
    """The time zone of `cron`, as "Europe/Berlin"; None: UTC (docs/how-to/schedules.md)."""
    catchup: str | int = "last"
    """Which ticks that passed without a leader fire: "none", "last", or this many of the last ones."""
    jitter: float = 0
    """Seconds by which a tick fires later at most; each tick has its own share, the same in every process."""
    election: str | None = None
    """The name of the election, by default the name of the distributor. Candidates of one election, those of
    SlipStream's engine included, never lead at the same time."""
    unless_pending: bool = True
    """Whether a job is left out while another job of its action and target is QUEUED or RUNNING."""
    tick: datetime
    """The tick of the firing, on the clock of `timezone`; set before each call of `jobs`."""

    def __init__(self, client: Any, settings: Any) -> None:
        self.client = client
        self.settings = settings

    @abstractmethod
    def jobs(self) -> Iterator[dict[str, Any]]:
        """Yield the jobs of one firing, as the server takes them."""


@dataclass(frozen=True)
class ActionMark:
    """The mark that `@action` leaves on its target."""

    name: str
    timeout: float | None
    preempt: bool
    isolation: Isolation | None
    aliases: tuple[str, ...]
    retry: RetryPolicy


@overload
def action(name: Target) -> Target: ...
@overload
def action(
    name: str | None = None,
    *,
    timeout: float | None = None,
    retries: int | None = None,
    backoff: Backoff = ...,
    retry_on: ErrorOrErrors = ...,
    give_up_on: ErrorOrErrors = ...,
    preempt: bool = True,
    isolation: str | None = None,
    memory: int | str | None = None,
    aliases: Iterable[str] = (),
) -> Callable[[Target], Target]: ...
def action(
    name: Any = None,
    *,
    timeout: float | None = None,
    retries: int | None = None,
    backoff: Backoff = Backoff(),  # noqa: B008  (frozen)
    retry_on: ErrorOrErrors = Exception,
    give_up_on: ErrorOrErrors = (),
    preempt: bool = True,
    isolation: str | None = None,
    memory: int | str | None = None,
    aliases: Iterable[str] = (),
) -> Any:
    """Mark a function `(job)` or a class with `do_work()` as an action; bare `@action` takes the target's own name.

    Both may be `async def` (docs/how-to/async-actions.md).
    `timeout`: time limit in seconds, which the job and the ini file override. `retries`: how often a run that raises or
    times out is tried again, 0 to 100, after the pauses of `backoff`; only exceptions of the classes `retry_on` are,
    and none of `give_up_on` (docs/how-to/retry-jobs.md). `preempt=False`: never interrupted for
    a slice of another action, for code that slices would break; such code holds up the whole executor. `aliases`:
    other names of the action. `isolation="process"`: the action runs in a process of its own, with at most `memory`
    bytes (`"512M"`), see docs/how-to/isolate-actions.md. Raises TypeError, ValueError for a target, name or value
    that no action can have.
    """
    if callable(name):
        return action()(name)
    if timeout is not None and (not isinstance(timeout, (int, float)) or not timeout > 0):
        raise ValueError(f"timeout is seconds above 0, not {timeout!r}")
    apart = isolation_of(isolation, memory)
    policy = RetryPolicy(retries, backoff, errors(retry_on), errors(give_up_on))
    others = (aliases,) if isinstance(aliases, str) else tuple(aliases)

    def mark(target: Target) -> Target:
        check_runs(target, "do_work")
        names = [checked(n) for n in (target.__name__ if name is None else name, *others)]
        marked = ActionMark(names[0], timeout, preempt, apart, tuple(names[1:]), policy)
        target.__geventjob_action__ = marked  # type: ignore[attr-defined]
        return target

    return mark


def distributor(name: str) -> Callable[[Target], Target]:
    """Mark a class with `jobs()` as the distributor `name`. Raises TypeError, ValueError for other targets or names."""

    def mark(target: Target) -> Target:
        if not inspect.isclass(target):
            raise TypeError(f"a distributor is a class, not {target!r}")
        check_method(target, "jobs")
        target.__geventjob_distributor__ = checked(name)  # type: ignore[attr-defined]
        return target

    return mark


def checked(name: object) -> str:
    """Return a name of an action, distributor or election. Raises ValueError."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"a name is up to 100 of letters, digits and _.:@+-, not {name!r}")
    return name


def check_runs(target: Any, method: str) -> None:
    """Check that a target can run. Raises TypeError, also for generators: they would never run."""
    if inspect.isclass(target):
        check_method(target, method)
        target = getattr(target, method)
    elif not inspect.isfunction(target):
        raise TypeError(f"an action is a function or a class, not {target!r}")
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise TypeError(f"{target.__qualname__} must be a function or a coroutine function, not a generator")


def check_method(target: Any, method: str) -> None:
    """Check that a class has a method and is not abstract. Raises TypeError."""
    if not callable(getattr(target, method, None)) or inspect.isabstract(target):
        raise TypeError(f"class {target.__qualname__} has no method {method}()")
