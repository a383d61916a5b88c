"""Put held jobs into the queue when nothing holds them any more, and stop jobs that have waited for too long.

One server does so for all. It sleeps until the next time in the store, or until an add, an edit or an end wakes it.
Whatever dies in between: an entry is put before its job is stored with it, so a job that is due has an entry or is
found again; of two entries the job decides, once, which one counts (docs/architecture.md, "Delivery contract").
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import gevent

from geventjob.backoff import Trouble
from geventjob.batch import Batcher
from geventjob.cimi.document import Document
from geventjob.clock import boottime, cimi_time, moment_of, now
from geventjob.coordination.base import Coordination, CoordinationError, Leadership
from geventjob.job.bounds import LOWEST_PRIORITY
from geventjob.job.states import FINAL
from geventjob.server.filter import And, Compare, Filter
from geventjob.server.gate import children
from geventjob.server.gate.after import waits
from geventjob.server.gate.children import BATCH
from geventjob.server.gate.entries import entries_of, remove
from geventjob.server.gate.gate import asked, due, expired, is_awaited, is_due, is_pending, promoted
from geventjob.server.gate.limit import ON
from geventjob.server.gate.line import Waiter, waiter
from geventjob.server.gate.rulebook import RuleBook
from geventjob.server.gate.rules import Rules
from geventjob.server.gate.unique import UniqueJobs
from geventjob.server.gate.waiting import waiting_on
from geventjob.server.leaders.batches import Batches
from geventjob.server.leaders.leading import LeaderTask
from geventjob.server.leaders.limiter import Limiter
from geventjob.server.leaders.pause_rounds import PauseRounds
from geventjob.server.leaders.successors import Successors, written
from geventjob.server.life.changes import PLACE, TURN, entry_of, place_of
from geventjob.server.store.base import Query, Store, StoreError, Update

log = logging.getLogger(__name__)

ELECTION = "promoter"
PAGE = 1_000
"""Most jobs of one commit."""
LONGEST = 30.0
"""Most seconds between two rounds: the wall clock may be set, and a message of another server may be lost."""
SETTLE = 1.5
"""Seconds after which searches see the writes of another server for certain."""
SWEEP = 60.0
"""Seconds between two looks at claims of unique jobs that a server has left behind."""
HELD, EXPIRES = ("held", "until"), ("expires",)
ALL: tuple[Filter, ...] = ()
WAITING: tuple[Filter, ...] = (Compare(("state",), "=", "QUEUED"),)
NEEDED = ("priority", "created", "action", "held", "limits", PLACE, TURN, BATCH)
"""The attributes of a job that decide whether the job may pass, and its place."""


class Promoter:
    """The end of each wait before the queue."""

    def __init__(self, store: Store, coordination: Coordination) -> None:
        self._store = store
        self._coordination = coordination
        trouble = Trouble(log, "held jobs cannot be put into the queue")
        self._task = LeaderTask(coordination, ELECTION, self._round, trouble)
        self._planned = ""
        """Time of the next round, as far as this server knows; a time that is past is none."""
        self._told_at = -SETTLE
        self._ended: set[str] = set()
        """Jobs that have ended since the last round, for which others may wait."""
        self._led: Leadership | None = None
        """The leadership in which this server has looked at all jobs that come after others."""
        self._waiters: set[str] = set()
        """Jobs whose predecessors are over, as servers have seen since the last round."""
        self._notices: Batcher[dict[str, Any], None] = Batcher(self._tell_leader)
        self.book = RuleBook(store, coordination, ELECTION)
        """The rules as this server knows them."""
        self.successors = Successors(store, self.rules)
        self._batches = Batches(store, self.rules, self.successors.watch)
        self._unique = UniqueJobs(store, coordination, self.rules, self._entries, self.stored)
        self._swept = -SWEEP
        self._pauses = PauseRounds(store, coordination, self.book, self.hold, self.let_through)
        self.book.on_change = self._rules_changed
        self._limiter = Limiter(store, coordination, self.book, lambda jobs: self._put(jobs, now()))
        self._must_look = True
        """Whether the next round looks for times that are over, whatever the plan."""
        self._came: list[tuple[str, Waiter]] = []
        """Jobs that have begun to wait for their turn under a limit since the last round, with the key of the limit."""

    @property
    def leads(self) -> bool:
        """Return whether this server is the promoter."""
        return self._task.leads

    def keep(self) -> None:
        """Put jobs that may run into the queue while this server is the leader. Does not return."""
        self._coordination.listen(self._told, ELECTION)
        self._task.keep()

    def rules(self) -> Rules:
        """Return the rules as this server knows them. Raises StoreError."""
        return self.book.rules

    # --- what others tell

    def expect(self, jobs: Sequence[Document]) -> None:
        """Have a round at the earliest time at which one of these jobs, all in the store, is due.

        Jobs that wait on a limit get a round at once. Coordination that is away delays such a round by LONGEST seconds
        at most.
        """
        limited = [job for job in jobs if job.get("held", {}).get("on", "").startswith(ON)]
        if limited:
            self._notify({"waits": [[job["held"]["on"].removeprefix(ON), *waiter(job)] for job in limited]})
        times = [time for time in map(due, jobs) if time is not None]
        if not times:
            return
        earliest, moment = min(times), now()
        planned = self._planned if self._planned > cimi_time(moment) else cimi_time(moment + timedelta(seconds=LONGEST))
        if earliest >= planned:
            return
        self._planned = earliest
        self._notify({"due": earliest})

    def ended(self, jobs: Sequence[Document]) -> None:
        """Have a round for all that wait for these jobs, each final, held or deleted in the store.

        A notice that is lost delays such a round by LONGEST seconds at most.
        """
        ids = [job["id"] for job in jobs if is_awaited(job)]
        if ids:
            self._notify({"ended": ids})

    def watch(self, jobs: Sequence[Document]) -> None:
        """Have these new jobs, which come after others, released when their predecessors are over.

        A store that is away delays such a job until the next round of the reconciler.
        """
        try:
            over = [job["id"] for job in self.successors.watch(jobs)]
        except StoreError as error:
            log.warning("%d jobs that come after others wait for the reconciler: %s", len(jobs), error)
            return
        if over:
            self._notify({"waiters": over})

    def stored(self, jobs: Sequence[Document]) -> None:
        """Have these new jobs, in the store, go on when what they wait for is over."""
        self.expect(jobs)
        if waiting := [job for job in jobs if waits(job)]:
            self.watch(waiting)

    def look(self) -> None:
        """Let all jobs go on whose predecessors are over: notices of ends may be lost. Raises StoreError."""
        for ids in self.successors.waiting():
            self.release(ids)

    def release(self, ids: Sequence[str]) -> None:
        """Let jobs go on whose predecessors are over. Raises StoreError."""
        moved = self._moved(ids)
        self.expect(moved)
        self.ended([job for job in moved if job["state"] in FINAL])

    def _notify(self, notice: dict[str, Any]) -> None:
        """Have the leader act on a notice, without waiting for the leader."""
        if self._task.leads:
            self._heed(notice)
        else:
            self._notices.submit(notice)

    def _heed(self, notice: dict[str, Any]) -> None:
        self._ended.update(notice.get("ended", ()))
        self._waiters.update(notice.get("waiters", ()))
        self._came += [(key, Waiter(place, id, tuple(keys))) for key, place, id, keys in notice.get("waits", ())]
        self._must_look |= "due" in notice
        self._task.wake()

    def _tell_leader(self, notices: Sequence[dict[str, Any]]) -> list[None]:
        try:
            leader = self._coordination.leaders([ELECTION]).get(ELECTION)
            if leader is not None:
                for notice in _merged(notices):
                    self._coordination.send(leader, notice, ELECTION)
        except CoordinationError as error:
            log.debug("the promoter was not told of jobs: %s", error)
        return [None] * len(notices)

    def _told(self, message: dict[str, Any]) -> None:
        """Have a round now, and another one when searches see the job for certain."""
        if "rules" in message:
            self.book.read()
            return
        self._told_at = boottime()
        self._heed(message)

    def _rules_changed(self) -> None:
        self._limiter.rules_changed()
        self._must_look = True
        self._task.wake()

    # --- rounds

    def _round(self) -> float:
        """Do what is due, and return the seconds until the next round. Raises StoreError, CoordinationError."""
        self._must_look |= self._task.leadership is not self._led
        if self._must_look or self._planned <= cimi_time(now()):
            self.run()  # first, so that a job that comes back from a pause is before those that came after it
        pause = self._admit()
        return min(pause, max(0.0, (moment_of(self._planned) - now()).total_seconds()))

    def _admit(self) -> float:
        """Let jobs through their limits. Return the seconds until more may pass."""
        leadership = self._task.leadership
        assert leadership is not None
        self._follow()
        came, self._came = self._came, []
        self._limiter.came(came)
        return self._limiter.round(leadership)

    def run(self) -> float:
        """Put jobs into the queue whose time is over, and stop those that have expired.

        Return the seconds until the next time. Raises StoreError, CoordinationError.
        """
        self._planned, self._must_look = "", False
        if self._task.leadership is not self._led:
            self._led = self._task.leadership
            gevent.spawn(self._look_at_the_start)
        self._follow()
        self._sweep()
        self._all(HELD, ALL, NEEDED, self._promote)  # first, what a leader that has died was about to put
        again = self._pauses.round(self._task.leadership)
        self._all(HELD, ALL, NEEDED, self._promote)
        self._all(EXPIRES, WAITING, ("properties",), self._expire)
        times = [time for time in (self._first(HELD, ALL), self._first(EXPIRES, WAITING)) if time is not None]
        moment = now()
        longest = SETTLE if boottime() - self._told_at < SETTLE else LONGEST
        self._planned = min([*times, cimi_time(moment + timedelta(seconds=min(longest, again)))])
        return max(0.0, (moment_of(self._planned) - moment).total_seconds())

    def _moved(self, ids: Sequence[str]) -> list[Document]:
        """Have jobs look at the jobs on which they wait. Return those that wait on none now. Raises StoreError."""
        return [*self.successors.release(ids), *self._batches.release(ids)]

    def _look_at_the_start(self) -> None:
        """Make up for the notices that an earlier leader did not act on."""
        try:
            self.look()
        except StoreError as error:
            log.warning("jobs that come after others wait for the reconciler: %s", error)

    def _follow(self) -> None:
        """Let the jobs go on that have waited for the ends of which this server was told."""
        while self._ended or self._waiters:
            ended, waiters = self._ended, self._waiters
            self._ended, self._waiters = set(), set()
            try:
                self._limiter.left(sorted(ended))
                moved = self._moved(sorted(waiters | self.successors.waiting_for(sorted(ended))))
                self._ended.update(job["id"] for job in moved if job["state"] in FINAL and is_awaited(job))
                moment = now()
                if ready := sorted((job for job in moved if is_due(job, moment)), key=place_of):
                    self._promote(ready, moment)
                self.expect([job for job in moved if not is_due(job, moment)])
            except (StoreError, CoordinationError):
                self._ended |= ended
                self._waiters |= waiters
                raise

    def ask(self, jobs: Sequence[Document]) -> set[str]:
        """Ask anew whether these QUEUED jobs may pass. Return the ids of those that must wait.

        Only `id` of the jobs is read. A job that was held and may pass now is due at once. Raises StoreError.
        """
        return {job["id"] for job in self.hold(jobs)}

    def hold(self, jobs: Sequence[Document]) -> list[Document]:
        """Ask anew whether these QUEUED jobs may pass, as `ask`; return the jobs that must wait, as they are stored."""
        if not jobs:
            return []
        moment = now()
        results = self._written(jobs, [partial(asked, rules=self.book.rules, now=moment)] * len(jobs))
        waiting = [job for job in results if job is not None and "held" in job and not is_due(job, moment)]
        self.expect(waiting)
        self.ended([job for job in waiting if "admitted" in job])
        return waiting

    def let_through(self, jobs: Sequence[Document]) -> None:
        """Ask anew about these held jobs, with the attributes NEEDED, and put those that may pass into the queue.

        Raises StoreError, CoordinationError.
        """
        waiting = self.ask(jobs)
        self._put([job for job in jobs if job["id"] not in waiting], now())

    def ask_all(self, on: str) -> None:
        """Ask anew about all jobs that wait on this thing, in order, a page at a time. Raises StoreError."""
        for page in waiting_on(self._store, on):
            self.ask(page)

    def _all(
        self,
        time: tuple[str, ...],
        also: tuple[Filter, ...],
        select: Sequence[str],
        work: Callable[[Sequence[Document], datetime], None],
    ) -> None:
        """Call `work(jobs, moment)` for all jobs whose `time` is over, one page after another."""
        while True:
            moment = now()
            is_over = And((*also, Compare(time, "<=", cimi_time(moment))))
            query = Query(is_over, last=PAGE, orderby=[("/".join(time), False)], select=select, counted=False)
            page = self._store.search("job", query).documents
            if page:
                work(page, moment)
            if len(page) < PAGE:
                return

    def _first(self, time: tuple[str, ...], also: tuple[Filter, ...]) -> str | None:
        """Return the earliest `time` of all jobs; None without any."""
        exists = And((*also, Compare(time, "!=", None)))
        query = Query(exists, last=1, orderby=[("/".join(time), False)], select=(time[0],), counted=False)
        for job in self._store.search("job", query).documents:
            found: Any = job
            for name in time:
                found = found[name]
            return str(found)
        return None

    def _sweep(self) -> None:
        if boottime() - self._swept > SWEEP:
            self._unique.sweep()
            self._swept = boottime()

    def _complete(self, jobs: Sequence[Document]) -> None:
        """Complete the adds of unique jobs whose servers have died."""
        found = self._store.get([job["id"] for job in jobs])
        for result in self._unique.complete([job for job in found if job is not None and is_pending(job)]):
            if isinstance(result, Exception):
                raise result

    def _promote(self, jobs: Sequence[Document], moment: datetime) -> None:
        self._complete([job for job in jobs if is_pending(job)])
        if closed := [job["id"] for job in jobs if children.waits(job)]:
            self.release(closed)
        rules = self.book.rules
        jobs = [job for job in jobs if not is_pending(job) and not children.waits(job)]
        waiting = self.ask(
            [job for job in jobs if (rules.concern(job) or "limits" in job) and "token" not in job["held"]]
        )
        self._put(sorted((job for job in jobs if job["id"] not in waiting), key=place_of), moment)

    def _put(self, jobs: Sequence[Document], moment: datetime) -> None:
        """Put jobs that are due into the queue, in this order, each at its old place if it has one."""
        if not jobs:
            return
        items = [(job["id"], job.get("priority", LOWEST_PRIORITY)) for job in jobs]
        entries = self._coordination.put(items, [job.get(PLACE) for job in jobs], self._task.leadership)
        changes = [partial(promoted, entry=entry, now=moment) for entry in entries]
        results = self._written(jobs, changes, durable=False)  # a job that is due is found and put again
        # Other jobs were stopped, deleted, or begun under an earlier entry meanwhile.
        pairs = zip(entries, results, strict=True)
        remove(self._coordination, [entry for entry, job in pairs if job is None or entry_of(job) != entry])

    def _entries(self, jobs: Sequence[Document]) -> list[str]:
        return self._coordination.put([(job["id"], job.get("priority", LOWEST_PRIORITY)) for job in jobs])

    def _expire(self, jobs: Sequence[Document], moment: datetime) -> None:
        results = self._written(jobs, [partial(expired, now=moment)] * len(jobs))
        stopped = [job for job in results if job is not None and job["state"] == "STOPPED"]
        remove(self._coordination, entries_of(stopped))
        if stopped:
            log.info("%d jobs have expired before they could run", len(stopped))
        self.ended(stopped)

    def _written(
        self, jobs: Sequence[Document], changes: Sequence[Callable[[Document], Document]], durable: bool = True
    ) -> list[Document | None]:
        """Change jobs, and return them; None for a job that was deleted. Raises StoreError."""
        updates = [Update(job["id"], change, durable) for job, change in zip(jobs, changes, strict=True)]
        return written(self._store, updates)


def _merged(notices: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return notices that say the same in fewer messages: the earliest time, and all ends, PAGE in each."""
    times = [notice["due"] for notice in notices if "due" in notice]
    ids = [id for notice in notices for id in notice.get("ended", ())]
    waiters = [id for notice in notices for id in notice.get("waiters", ())]
    ends = [{"ended": ids[first : first + PAGE]} for first in range(0, len(ids), PAGE)]
    ends += [{"waiters": waiters[first : first + PAGE]} for first in range(0, len(waiters), PAGE)]
    waits = [each for notice in notices for each in notice.get("waits", ())]
    came = [{"waits": waits[first : first + PAGE // 4]} for first in range(0, len(waits), PAGE // 4)]
    return [*([{"due": min(times)}] if times else []), *ends, *came]
