"""The contract of coordination: what the processes of a fleet share besides the jobs themselves.

Designed for ZooKeeper; SQLite keeps to it for the processes of one machine. `tests/contract` holds every
implementation to this text. All calls may block the calling greenlet, never the process.

A process owns what it takes through a **session**. It knows the end of its session without being told: the
session's **lease** is counted from the last request that was answered, and ends before anybody else can be given
what this session holds (FINDINGS A). What a session owned is lost with it, for good: a new session starts empty.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from geventjob.clock import boottime

ENTRIES = "/job/entries"
LOWEST_PRIORITY = 999


class CoordinationError(Exception):
    """A failure of coordination itself; never of a job."""


class CoordinationAway(CoordinationError):
    """Coordination is out of reach, an answer was lost, or it refuses for now (a quota is full, a server read-only).

    Whether the call had its effect is not known; the same call may succeed later.
    """


class SessionOver(CoordinationError):
    """What the call is about belongs to a session that has ended; nothing was done."""


class NameInUse(CoordinationError):
    """Another live process has announced itself under this name."""


@dataclass(eq=False)
class Session:
    """One stretch of membership. `lease` only grows while the session lives, and never again once it is over."""

    id: str
    timeout: float
    """Seconds without a sign of life after which the others are given what this session holds."""
    lease: float = -math.inf
    """`boottime()` at which this process must take the session for over."""

    @property
    def over(self) -> bool:
        return boottime() >= self.lease

    def renew(self, sent: float, margin: float) -> bool:
        """A request sent at `sent` (boottime) was answered. False, and nothing changes, if the lease is over."""
        if self.lease != -math.inf and self.over:
            return False
        self.lease = max(self.lease, sent + self.timeout - margin)
        return True

    def end(self) -> None:
        """The session was closed or has expired: its lease is over now, whatever the clock says."""
        self.lease = -1.0


@dataclass(eq=False)
class Claim:
    """An entry of the queue that this process holds, until it is consumed or released, once."""

    entry: str
    """Path of the entry, `/job/entries/entry-<priority>-<sequence>`, without the `--zk-root`."""
    job: str
    """What the entry says: the id of a job, if it is no junk."""
    fence: int
    """The fencing token: greater than that of every earlier claim of the same entry."""
    put_at: float
    """When the entry was put, Unix seconds."""
    session: Session
    revoked: bool = False
    """Set when the claim turned out to be gone though its session lives (its taken node was removed by hand)."""

    @property
    def lost(self) -> bool:
        """The entry may belong to somebody else by now: nothing may be written in its name."""
        return self.revoked or self.session.over


@dataclass(frozen=True)
class Waiting:
    """One of the first entries of the queue, for people to look at."""

    entry: str
    priority: int
    job: str
    taken_by: str | None


@dataclass(frozen=True)
class QueueStats:
    """The queue at a glance."""

    entries: int
    """All entries, the taken ones included."""
    taken: int
    oldest: float | None
    """Seconds since the entry at the head was put; None for an empty queue."""
    head: list[Waiting] = field(default_factory=list)
    """The first entries in order."""
    next: list[Waiting] = field(default_factory=list)
    """The first entries in order that nobody holds: what executors take next."""
    holders: Mapping[str, int] = field(default_factory=dict)
    """Name of an executor → how many entries it holds."""
    numbers: float = 0.0
    """Part of ZooKeeper's sequence numbers that is used, 0 to 1; 0 over SQLite, whose numbers do not end."""


class Leadership(ABC):
    """That this process leads, as far as it knows."""

    name: str

    @property
    @abstractmethod
    def held(self) -> bool:
        """False for good once it was resigned or its session's lease is over."""

    @abstractmethod
    def resign(self) -> None:
        """Let another one lead; does nothing if not held."""


class Coordination(ABC):
    """One process's part in the fleet. Made without I/O; `start` connects, `close` gives everything back.

    `name` is what this process is called in the queue (the holder of a taken entry) and in the roles it announces.
    """

    name: str
    place: str
    """Where the queue is, in words for logs: hosts and root, or the file."""

    # Called in a greenlet of coordination's own, never in one of its caller's. They must return soon.
    on_lost: Callable[[Sequence[Claim]], None] | None = None
    """Claims that were lost: by the end of their session (all of them, once), or one by one (`Claim.revoked`)."""
    on_session: Callable[[Session], None] | None = None
    """A new session began: the first, and each that follows one that was lost."""

    # --- life

    @abstractmethod
    def start(self) -> None:
        """Connect and begin a session. Raises CoordinationAway if that fails within the session timeout."""

    @abstractmethod
    def close(self) -> None:
        """End the session: what it holds is free for others at once. Never blocks longer than a second or two."""

    @property
    @abstractmethod
    def session(self) -> Session | None:
        """The present session; None, or one that is over, while there is none to work in."""

    # --- the queue: whoever adds jobs

    @abstractmethod
    def put(self, items: Sequence[tuple[str, int]]) -> list[str]:
        """Put (job id, priority 0-999) into the queue, durably; the paths of the entries, in order.

        Raises CoordinationAway: any of them may stand in the queue then (a second entry of a job does no harm,
        DESIGN.md §5.3).
        """

    @abstractmethod
    def remove(self, entries: Sequence[str]) -> list[bool]:
        """Delete each entry that nobody holds. True where it is gone now (or was already), False where it is held."""

    @abstractmethod
    def discard(self, entries: Sequence[str]) -> None:
        """Delete each entry, also one that is held, whose claim can still be consumed or released.

        For entries of jobs that are over: an executor that does not understand so would take them again for ever.
        """

    @abstractmethod
    def holders(self, entries: Sequence[str]) -> list[str | None]:
        """The name of the process that holds each entry; None for one that nobody holds.

        Executors of other engines hold entries under names of their own.
        """

    @abstractmethod
    def jobs(self, entries: Sequence[str]) -> list[str | None]:
        """What each entry says, held or not; None for one that does not stand in the queue.

        A queue that was made anew begins its names anew: the entry of a name need not be that of the job that has it.
        """

    @abstractmethod
    def fences(self, entries: Sequence[str]) -> list[int | None]:
        """Return for each entry a number that is at least the fence of its last claim, and at most that of its next.

        None for one that does not stand in the queue. A number below a fence that was given out before proves that
        coordination was restored from an older copy.
        """

    def standing(self, entries: Sequence[str]) -> list[bool]:
        """Whether each entry stands in the queue, held or not."""
        return [job is not None for job in self.jobs(entries)]

    @abstractmethod
    def stats(self, head: int = 20) -> QueueStats:
        """The queue as it is now, with its first `head` entries, and the first `head` that nobody holds."""

    # --- the queue: executors

    @abstractmethod
    def take(self, limit: int, exclude: Collection[str] = (), timeout: float | None = None) -> list[Claim]:
        """Take up to `limit` entries in the queue's order: priority, then sequence by signed 32-bit distance.

        Waits until there is at least one, `timeout` seconds are over (None: no limit; 0: does not wait), `interrupt`
        is called, or the session ends: then the list is empty. `exclude` holds paths of entries to pass over.
        One greenlet calls this at a time. It does not raise for a coordination that is away: it waits.
        A caller that is killed in it loses nothing: what was taken meanwhile comes with the next call.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """Make a `take` that waits return now (the next one, if none waits). Callable from the hub."""

    @abstractmethod
    def consume(self, claims: Sequence[Claim]) -> None:
        """The jobs are done: delete the entries. Claims that are lost are passed over; done twice is done once.

        Raises CoordinationAway when that is not known to have happened; calling again is safe.
        """

    @abstractmethod
    def release(self, claims: Sequence[Claim]) -> None:
        """Give the entries back to the queue, in their old places. As `consume` for lost claims and errors."""

    # --- election and schedule

    @abstractmethod
    def lead(self, election: str, timeout: float | None = None) -> Leadership | None:
        """Wait until this process leads `election`; None after `timeout` seconds. Killing the caller withdraws it.

        It outlives lost sessions: it stands again in the next one.
        """

    @abstractmethod
    def leaders(self, elections: Sequence[str]) -> dict[str, str]:
        """Election → name of the process that leads it, for those that have one."""

    @abstractmethod
    def load_note(self, election: str) -> dict[str, Any] | None:
        """What was last remembered under this election's name (`/distribution/<name>`), or None."""

    @abstractmethod
    def save_note(self, election: str, note: Mapping[str, Any]) -> None:
        """Keep a note (JSON) under this election's name, durably."""

    # --- presence

    @abstractmethod
    def announce(self, role: str, info: Mapping[str, Any], wait: bool = True) -> None:
        """Be seen in `role` (`executors`, `distributors`, `servers`) with this JSON for as long as this process lives.

        Again with other info: changes it. It outlives lost sessions. A name in use is waited for, one session
        timeout at most (its process may have died just now), then NameInUse is raised; at once without `wait`.
        """

    @abstractmethod
    def members(self, role: str) -> dict[str, dict[str, Any]]:
        """Name → info of every live process in this role."""

    # --- inbox

    @abstractmethod
    def send(self, executor: str, message: Mapping[str, Any]) -> None:
        """Put a JSON message into the inbox of an executor, durably, whether it lives or not."""

    @abstractmethod
    def listen(self, handler: Callable[[dict[str, Any]], None]) -> None:
        """From now on `handler` is called with each message of this process's own inbox, in order, at least once.

        It runs in a greenlet of its own; a message is deleted when the handler has returned. One that raises is
        logged and its message deleted, so that junk does not come back for ever.
        """
