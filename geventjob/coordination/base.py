"""The contract of coordination: what the processes of a fleet share besides the jobs themselves.

The contract follows ZooKeeper; SQLite keeps it for the processes of one machine. `tests/contract/coordination` holds
every implementation to this text. A call may block the calling greenlet, never the process.

**Session and lease.** A process owns claims, leaderships and announcements through a session. A process that is cut
off must know by its own clock that its session is over. So the implementation counts a **lease**: the time at which
the last *answered* request was sent, plus the session timeout, minus a margin. The margin must be wide enough that the
lease ends before any other process can be given what the session owns. When a session ends, everything that it owned
is lost for good. A new session follows by itself and owns nothing.

**Errors.** An error of the contract is a CoordinationError. CoordinationAway says that the effect of the call is
unknown and that the same call may succeed later. Errors of a client library never reach the caller.

**Durability.** `put`, `send` and `save_note` return when the data is on disk, so that a loss of power keeps the data. A
loss of power may undo other calls: an entry that was consumed may come back, and the store tells that its job is over.

**Fork.** A forked child is no member of the fleet: there the sessions and claims are over, and no call acts in the
parent's name.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from geventjob.clock import boottime

ENTRIES = "/job/entries"


class CoordinationError(Exception):
    """A failure of coordination itself, never of a job."""


class CoordinationAway(CoordinationError):
    """Coordination is out of reach, an answer was lost, or a refusal will pass (a full quota, a read-only server).

    The effect of the call is unknown. The same call may succeed later.
    """


class LeadershipOver(CoordinationError):
    """A call in the name of a leadership that is over. It changed nothing from the end of the leadership on."""


class NameInUse(CoordinationError):
    """Another live process has announced itself under this name."""


@dataclass(eq=False)
class Session:
    """One stretch of membership in the fleet.

    `lease` never decreases while the session lives. A lease that is over stays over.
    """

    id: str
    timeout: float
    """Seconds without a sign of life after which other processes are given what this session owns."""
    lease: float = -math.inf
    """The `boottime()` from which this process must regard the session as over."""

    @property
    def over(self) -> bool:
        """Return whether the lease is over."""
        return boottime() >= self.lease

    def renew(self, sent: float, margin: float) -> bool:
        """Extend the lease after the answer to a request that was sent at `sent` (boottime).

        The lease becomes `sent + timeout - margin` unless the present one is later. Return False, and change nothing,
        if the lease is over already.
        """
        if self.lease != -math.inf and self.over:
            return False
        self.lease = max(self.lease, sent + self.timeout - margin)
        return True

    def end(self) -> None:
        """End the lease now: the session was closed or has expired."""
        self.lease = -1.0


@dataclass(eq=False)
class Claim:
    """An entry of the queue that this process holds. A claim is consumed or released once."""

    entry: str
    """Path of the entry, `/job/entries/entry-<priority>-<sequence>`, without the `--zk-root`."""
    job: str
    """The text of the entry: the id of a job, unless a foreign program put something else."""
    fence: int
    """The fencing token: greater than the token of every earlier claim of the same entry."""
    put_at: float
    """Time at which the entry was put, in Unix seconds."""
    session: Session
    revoked: bool = False
    """True once the claim is known to be gone although its session lives: its taken node was removed by hand."""

    @property
    def lost(self) -> bool:
        """Return whether another process may hold the entry by now. A lost claim entitles to no write."""
        return self.revoked or self.session.over


@dataclass(frozen=True)
class Waiting:
    """An entry near the head of the queue, as operators see it."""

    entry: str
    priority: int
    job: str
    taken_by: str | None


@dataclass(frozen=True)
class QueueStats:
    """Figures of the queue at one moment, for operators and metrics."""

    entries: int
    """Number of all entries, the taken ones included."""
    taken: int
    oldest: float | None
    """Seconds since the entry at the head was put; None for an empty queue."""
    head: list[Waiting] = field(default_factory=list)
    """The first entries in order."""
    next: list[Waiting] = field(default_factory=list)
    """The first entries in order that no process holds: executors take them next."""
    holders: Mapping[str, int] = field(default_factory=dict)
    """Name of an executor → number of entries that the executor holds."""
    numbers: float = 0.0
    """Part of ZooKeeper's sequence numbers that is used, 0 to 1. Always 0 over SQLite, whose numbers do not run out."""


class Leadership(ABC):
    """The leadership of one election, as far as this process knows."""

    name: str
    token: str
    """A text that no other leadership has."""

    @abstractmethod
    def confirm(self) -> None:
        """Return if this process leads at a moment during the call, however late coordination receives the call.

        Work that reached the store before the call was then the work of the leader. Raises LeadershipOver,
        CoordinationAway: whether this process leads is unknown.
        """

    @property
    @abstractmethod
    def held(self) -> bool:
        """Return whether this process leads.

        False for good after `resign`, and once the lease of the session is over.
        """

    @abstractmethod
    def resign(self) -> None:
        """Let another process lead. Does nothing if the leadership is not held.

        Raises CoordinationAway if the other candidates may still wait. This process does not lead in either case.
        """


class Coordination(ABC):
    """The connection of one process to the fleet.

    The constructor does no I/O; `start` connects, `close` gives everything back. `name` is the name of this process in
    the queue (the holder of a taken entry) and in the roles that the process announces.
    """

    name: str
    place: str
    """Where the queue is, in words for logs: hosts and root, or the file."""

    # Listeners: called in a greenlet of coordination's own, never in a caller's greenlet. They must return soon.
    on_lost: Callable[[Sequence[Claim]], None] | None = None
    """Called with lost claims: all claims of a session that ended, in one call; or single claims (`Claim.revoked`)."""
    on_session: Callable[[Session], None] | None = None
    """Called with each new session: the first one, and every one that follows a lost session."""

    # --- start and end

    @abstractmethod
    def start(self) -> None:
        """Connect and begin a session. Raises CoordinationAway if there is no session within the session timeout.

        Raises CoordinationError for settings that cannot work, such as a file that belongs to another program.
        """

    @abstractmethod
    def close(self) -> None:
        """End the session and free what it owns for other processes at once.

        Blocks for two seconds at most; calls no listener.
        """

    @property
    @abstractmethod
    def session(self) -> Session | None:
        """The present session. None, or a session that is over, while there is no session to work in."""

    # --- the queue: servers

    @abstractmethod
    def put(
        self, items: Sequence[tuple[str, int]], places: Sequence[str | None] = (), leadership: Leadership | None = None
    ) -> list[str]:
        """Put (job id, priority 0-999) pairs into the queue. Return the paths of the entries, in order.

        `places`: for each item the path of an entry that it had before, or None; empty: none for any item. The item
        gets the same path again, and so its old place, if this queue has given out the path, and no other entry and no
        claim has the name now. Otherwise it gets a new path. The fencing tokens of later claims are greater than those
        of earlier claims of the path. `leadership`: see `remove`.

        The entries survive the death of any process. Over SQLite a power loss may undo the last puts, and their names
        are given to no other entry: the reconciler puts the jobs again, which are on the disk.

        Raises ValueError for a priority out of range. Raises CoordinationAway: any of the entries may be in the queue
        then. A second entry of a job does no harm (docs/architecture.md, "Delivery contract").
        """

    @abstractmethod
    def remove(self, entries: Sequence[str], leadership: Leadership | None = None) -> list[bool]:
        """Delete each entry that no process holds.

        Return True for an entry that is gone now, False for one that is held. `leadership`: a leadership of this
        process; nothing is changed once another process may lead, however late the call arrives. Raises LeadershipOver.
        """

    @abstractmethod
    def discard(self, entries: Sequence[str]) -> None:
        """Delete each entry, held or not. The claim of a held entry can still be consumed or released.

        For entries of jobs that are over: an executor of another engine would take such an entry again for ever.
        """

    @abstractmethod
    def holders(self, entries: Sequence[str]) -> list[str | None]:
        """Return for each entry the name of the process that holds it, or None.

        Executors of other engines hold entries under names of their own.
        """

    @abstractmethod
    def jobs(self, entries: Sequence[str]) -> list[str | None]:
        """Return for each entry its text, held or not; None for an entry that is not in the queue.

        A queue that was made anew begins its names anew: a name may now belong to the entry of another job.
        """

    @abstractmethod
    def fences(self, entries: Sequence[str]) -> list[int | None]:
        """Return for each entry a bound: at least the fence of its last claim, and at most the fence of its next claim.

        None for an entry that is not in the queue. A bound below a fence that was given out before proves that
        coordination was restored from an older copy.
        """

    @abstractmethod
    def ahead(self, entry: str) -> int | None:
        """Return the number of entries that executors take before this one; None for an entry that is not in the queue.

        Entries that a process holds do not count.
        """

    def standing(self, entries: Sequence[str]) -> list[bool]:
        """Return for each entry whether the entry is in the queue, held or not."""
        return [job is not None for job in self.jobs(entries)]

    @abstractmethod
    def stats(self, head: int = 20) -> QueueStats:
        """Return the figures of the queue, with its first `head` entries and the first `head` that no process holds."""

    # --- the queue: executors

    @abstractmethod
    def take(self, limit: int, exclude: Collection[str] = (), timeout: float | None = None) -> list[Claim]:
        """Take up to `limit` entries in the order of the queue: by priority, then by sequence (signed 32-bit distance).

        A process with an age share of N takes the oldest entry, whatever its priority, as each N-th (`AgeShare`).

        Waits until there is an entry, `timeout` seconds are over (None: no limit; 0: no wait), `interrupt` is called,
        or the session ends; the list is empty in the last three cases. `exclude` holds paths of entries to pass over.
        One greenlet calls at a time. Coordination that is away raises nothing: the call waits. A caller that is killed
        during the call loses nothing: the next call returns the claims that were taken meanwhile. Claims that arrive
        after an interrupt or a kill, and that no call fetches within a second, are released.

        Raises ValueError for a limit below 1.
        """

    @property
    def collisions(self) -> int:
        """The takes of this process that another process was ahead of. Always 0 over SQLite, where takes queue."""
        return 0

    @abstractmethod
    def interrupt(self) -> None:
        """Make a `take` that waits return now, or the next one if none waits. May be called from the hub."""

    @abstractmethod
    def consume(self, claims: Sequence[Claim]) -> None:
        """Delete the entries of jobs that are done.

        Lost claims are passed over; a second call for a claim does nothing.

        Raises CoordinationAway if the deletion is not certain; the caller may call again.
        """

    @abstractmethod
    def release(self, claims: Sequence[Claim]) -> None:
        """Give the entries back to the queue, in their old places. Lost claims and errors: as for `consume`."""

    # --- election and schedule

    @abstractmethod
    def lead(self, election: str, timeout: float | None = None) -> Leadership | None:
        """Wait until this process leads `election`; return None after `timeout` seconds.

        The candidacy outlives lost sessions: the process stands again in the next session. A caller that is killed
        withdraws.
        """

    @abstractmethod
    def leaders(self, elections: Sequence[str]) -> dict[str, str]:
        """Return election → name of the leading process, for the elections that have a leader."""

    @abstractmethod
    def load_note(self, election: str) -> dict[str, Any] | None:
        """Return the note that was last saved under the name of this election (`/distribution/<name>`), or None."""

    @abstractmethod
    def save_note(self, election: str, note: Mapping[str, Any]) -> None:
        """Save a note (JSON) under the name of this election, durably."""

    # --- presence

    @abstractmethod
    def announce(self, role: str, info: Mapping[str, Any], wait: bool = True) -> None:
        """Show this process with its JSON info in `role` (`executors`, `distributors`, `servers`) until its end.

        A second call with other info replaces the info. The announcement outlives lost sessions. A name in use is
        waited for up to one session timeout, since its process may have died just now; then the call raises NameInUse.
        With `wait` False the call raises at once.
        """

    @abstractmethod
    def members(self, role: str) -> dict[str, dict[str, Any]]:
        """Return name → info of every live process in this role."""

    # --- inbox

    @abstractmethod
    def send(self, name: str, message: Mapping[str, Any], topic: str = "") -> None:
        """Put a JSON message into the inbox of a process, durably, whether the process lives or not.

        `topic`: the process has one inbox without a topic, which executors use for stops, and one for each topic. A
        server and an executor may have one name.
        """

    @abstractmethod
    def listen(self, handler: Callable[[dict[str, Any]], None], topic: str = "") -> None:
        """Call `handler` with each message to this process on a topic from now on: in order, each at least once.

        The handler runs in a greenlet of its own. A message is deleted when the handler has returned. When the handler
        raises, the error is logged and the message deleted, so that a bad message does not come back for ever. A
        process listens on one topic.
        """
