"""Let jobs through their limits: never one too many, whatever dies or freezes (docs/architecture.md, "Limits").

What runs is counted from the documents of jobs. The promoter's server alone lets jobs through, in this order:

1. The store marks the job with the token of the leadership. From here on the job counts.
2. Coordination confirms the leadership. So the mark was made in time for every later leader to find.
3. The store makes the job due, if the mark is still there. The promoter puts due jobs into the queue, as any others.

A new leader takes back the marks of earlier leaders, and counts what the store has then. A server that was frozen finds
its mark gone at step 3, or its leadership at step 2.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from geventjob.cimi.document import Document
from geventjob.clock import boottime, cimi_time, moment_of, now
from geventjob.coordination.base import Coordination, Leadership
from geventjob.job.states import FINAL
from geventjob.server.filter import And, Compare, Filter
from geventjob.server.gate.gate import asked, is_due, is_expired, wait_of
from geventjob.server.gate.limit import ADMITTED, ON, UNFINISHED, Limit, counts
from geventjob.server.gate.line import Line, Waiter, waiter
from geventjob.server.gate.rulebook import INTERVAL, RuleBook
from geventjob.server.gate.rules import Rules
from geventjob.server.gate.waiting import PAGE, waited_on
from geventjob.server.life.changes import changed, entry_of
from geventjob.server.life.wait import hold
from geventjob.server.store.base import NoSuchDocument, Query, Store, Update

log = logging.getLogger(__name__)

CHECK = 30.0
"""Seconds between two comparisons of the counts with the store, since notices may be lost."""
STALE = INTERVAL + 1.5
"""Seconds after a change of the rules in which another server may still add jobs by the old rules."""
NEW: Sequence[Filter] = (Compare(("held", "why"), "=", None), Compare(("admitted",), "=", None))


class Limiter:
    """The counts and the lines of all limits, in the server that leads."""

    def __init__(
        self,
        store: Store,
        coordination: Coordination,
        book: RuleBook,
        put: Callable[[Sequence[Document]], None],
    ) -> None:
        """Count nothing yet. `put(jobs)` puts jobs into the queue that are due, in this order."""
        self._store = store
        self._coordination = coordination
        self._book = book
        self._put = put
        self._leadership: Leadership | None = None
        """The leadership for which the counts are known; None: they must be counted."""
        self._forget()

    def _forget(self) -> None:
        self._rules = Rules()
        self._counted: dict[str, tuple[str, ...]] = {}
        """The jobs that count, each with its keys."""
        self._running: dict[str, set[str]] = {}
        """Key → jobs that count under the key."""
        self._starts: dict[str, deque[float]] = {}
        """Key → times at which jobs were let through, in Unix seconds, as many as the limit can need."""
        self._lines: dict[str, Line] = {}
        self._ready: dict[str, None] = {}
        """Keys whose line may go on, in the order of their turns."""
        self._later: dict[str, float] = {}
        """Key whose line waits for a time → that time, in Unix seconds."""
        self._chosen: list[tuple[str, Waiter]] = []
        """Jobs that may pass, each with the key under which it waits."""
        self._check_at = self._recount_at = 0.0

    # --- what the promoter calls

    def rules_changed(self) -> None:
        """Count anew in the next round."""
        self._leadership = None

    def left(self, ids: Sequence[str]) -> None:
        """Look whether these jobs still count, and let others take their turns. Raises StoreError."""
        known = [id for id in ids if id in self._counted]
        for first in range(0, len(known), PAGE):
            some = known[first : first + PAGE]
            for id, job in zip(some, self._store.get(some), strict=True):
                if job is None or not counts(job):
                    self._discount(id)

    def came(self, waiters: Sequence[tuple[str, Waiter]]) -> None:
        """Note pairs of a key and a job that has begun to wait under the key."""
        for key, job in waiters:
            self._lines.setdefault(key, Line(key, more=False)).add(job)
            self._ready.setdefault(key)

    def round(self, leadership: Leadership) -> float:
        """Let through what may pass now. Return the seconds until the next round.

        Raises StoreError, CoordinationError, after which the next round counts anew.
        """
        try:
            if self._leadership is not leadership or boottime() >= self._recount_at > 0:
                self._recount(leadership)
            elif boottime() >= self._check_at:
                self._check()
            self._wake_rates()
            while self._choose():
                if self._chosen:
                    self._put(self._let_through(leadership))
        except BaseException:
            self._leadership = None
            raise
        times = [time - now().timestamp() for time in self._later.values()]
        times += [time - boottime() for time in (self._check_at, self._recount_at) if time]
        return max(0.0, min(times))

    # --- count

    def _recount(self, leadership: Leadership) -> None:
        """Count what the store has, and have every job hold to the present rules."""
        is_change = self._leadership is not leadership
        self._forget()
        self._rules = self._book.read()
        self._store.refresh("job")
        for page in self._pages(And((UNFINISHED, ADMITTED))):
            for job in self._written([(job["id"], partial(_recounted, rules=self._rules)) for job in page]):
                self._count(job)
        for action in sorted({limit.action for limit in self._rules.limits.values()}):
            new: Filter = And((Compare(("action",), "=", action), UNFINISHED, *NEW))
            for page in self._pages(new, ("state", "properties")):
                self._adopt(page, leadership)
        for limit in self._rules.limits.values():
            if limit.starts is not None:
                self._find_starts(limit)
        self._find_lines()
        self._check_at = boottime() + CHECK
        self._recount_at = boottime() + STALE if is_change else 0.0
        self._leadership = leadership

    def _adopt(self, jobs: Sequence[Document], leadership: Leadership) -> None:
        """Count jobs that began before their limit; hold those that wait in the queue, and whose entry nobody holds."""
        queued = [job for job in jobs if job["state"] == "QUEUED"]
        gone = self._coordination.remove([entry_of(job) or "" for job in queued], leadership)
        waits = {job["id"] for job, is_gone in zip(queued, gone, strict=True) if is_gone}
        moment = now()
        changes: list[tuple[str, Any]] = [
            (job["id"], partial(asked if job["id"] in waits else _adopted, rules=self._rules, now=moment))
            for job in jobs
        ]
        for job in self._written(changes):
            self._count(job)

    def _find_starts(self, limit: Limit) -> None:
        """Find when jobs were let through lately."""
        since = cimi_time(now() - timedelta(seconds=limit.each))
        lately: Filter = And((Compare(("action",), "=", limit.action), Compare(("admitted",), ">", since)))
        found = [job for page in self._pages(lately, ("admitted", "limits")) for job in page]
        for job in sorted(found, key=lambda job: str(job["admitted"])):
            for key in job.get("limits", ()):
                if key.startswith(limit.prefix):
                    self._start(key, moment_of(job["admitted"]).timestamp())

    def _find_lines(self) -> None:
        """Find the keys under which jobs wait, and ask anew about jobs that wait under a key that is none any more."""
        self._lines.clear()
        for on in waited_on(self._store, ON):
            key = on.removeprefix(ON)
            if self._rules.limit_of(key) is None:
                self._strand(on)
            else:
                self._lines[key] = Line(key, more=True)
                self._ready.setdefault(key)

    def _strand(self, on: str) -> None:
        for page in self._pages(Compare(("held", "on"), "=", on), ()):
            change = partial(asked, rules=self._rules, now=now())
            asked_anew = self._written([(job["id"], change) for job in page])
            self._put([job for job in asked_anew if is_due(job, now())])
            for job in asked_anew:
                self._line_up(job)

    def _check(self) -> None:
        """Compare the counts and the lines with the store."""
        self.left(list(self._counted))
        self._find_lines()
        self._check_at = boottime() + CHECK

    def _count(self, job: Document) -> None:
        if counts(job):
            self._discount(job["id"])
            self._counted[job["id"]] = keys = tuple(job["limits"])
            for key in keys:
                self._running.setdefault(key, set()).add(job["id"])

    def _discount(self, id: str) -> None:
        for key in self._counted.pop(id, ()):
            running = self._running.get(key, set())
            running.discard(id)
            if not running:
                self._running.pop(key, None)
            if key in self._lines:
                self._ready.setdefault(key)

    def _start(self, key: str, time: float) -> None:
        limit = self._rules.limit_of(key)
        if limit is not None and limit.starts is not None:
            self._starts.setdefault(key, deque(maxlen=limit.starts)).append(time)

    # --- choose

    def _has_room(self, key: str) -> bool:
        """Return whether one more job may pass under this key."""
        limit = self._rules.limit_of(key)
        if limit is None:
            return True
        if self._rules.pause_of({"action": limit.action}, cimi_time(now())):
            return False
        if limit.running is not None and len(self._running.get(key, ())) >= limit.running:
            return False
        starts = self._starts.get(key)
        if limit.starts is None or starts is None or len(starts) < limit.starts:
            return True
        free_at = starts[0] + limit.each
        if free_at <= now().timestamp():
            return True
        self._later[key] = free_at
        return False

    def _wake_rates(self) -> None:
        moment = now().timestamp()
        for key in [key for key, time in self._later.items() if time <= moment]:
            del self._later[key]
            self._ready.setdefault(key)

    def _choose(self) -> bool:
        """Choose up to PAGE jobs that may pass, one of each key in turn. Return whether a line has moved."""
        self._chosen = []
        moved: list[tuple[str, Waiter, str]] = []
        while self._ready and len(self._chosen) + len(moved) < PAGE:
            key = next(iter(self._ready))
            del self._ready[key]
            if not self._has_room(key):
                continue
            job = self._lines[key].next(self._store) if key in self._lines else None
            if job is None:
                self._lines.pop(key, None)
                continue
            self._ready[key] = None
            full = next((other for other in job.limits if not self._has_room(other)), None)
            if full is not None:
                moved.append((key, job, full))
            elif job.id not in self._counted:
                self._chosen.append((key, job))
                self._reserve(job)
        self._move(moved)
        return bool(self._chosen or moved)

    def _reserve(self, job: Waiter) -> None:
        self._counted[job.id] = job.limits
        for key in job.limits:
            self._running.setdefault(key, set()).add(job.id)
            self._start(key, now().timestamp())

    def _move(self, moved: Sequence[tuple[str, Waiter, str]]) -> None:
        """Let jobs wait under another key, which is full."""
        changes = [(job.id, partial(_moved, old=key, new=full, rules=self._rules)) for key, job, full in moved]
        for job in self._written(changes):
            self._line_up(job)

    def _line_up(self, job: Document) -> None:
        on = job.get("held", {}).get("on", "")
        if on.startswith(ON):
            self.came([(on.removeprefix(ON), waiter(job))])

    # --- let through

    def _let_through(self, leadership: Leadership) -> list[Document]:
        """Let the chosen jobs through. Return those that are due."""
        moment, token = now(), leadership.token
        marks = [(job.id, partial(_marked, key=key, limits=job.limits, token=token, rules=self._rules, now=moment))
                 for key, job in self._chosen]  # fmt: skip
        marked = set()
        for job in self._written(marks):
            if job.get("held", {}).get("token") == token:
                marked.add(job["id"])
            else:
                self._line_up(job)
        for _, other in self._chosen:
            if other.id not in marked:
                self._discount(other.id)
        passing = [job.id for _, job in self._chosen if job.id in marked]
        leadership.confirm()
        due = self._written([(id, partial(_let, token=token, now=now())) for id in passing])
        return [job for job in due if "until" in job.get("held", ())]

    # --- store

    def _pages(self, filter: Filter, select: Sequence[str] = ("limits",)) -> Iterator[list[Document]]:
        """Yield pages of the jobs that match, in the order of their ids."""
        last = ""
        while True:
            query = Query(And((filter, Compare(("id",), ">", last))), last=PAGE, orderby=[("id", False)], select=select)
            page = self._store.search("job", query).documents
            if page:
                yield page
            if len(page) < PAGE:
                return
            last = page[-1]["id"]

    def _written(self, changes: Sequence[tuple[str, Any]]) -> list[Document]:
        """Change jobs, and return those that exist. Raises StoreError.

        A change that a power loss undoes is made again: no process of the same machine runs a job on its strength then.
        """
        written = []
        updates = [Update(id, change, durable=False) for id, change in changes]
        for result in self._store.write(updates) if updates else ():
            if isinstance(result, dict):
                written.append(result)
            elif not isinstance(result, NoSuchDocument):
                assert isinstance(result, Exception)
                raise result
        return written


# --- changes of a job: pure


def _recounted(job: Document, rules: Rules) -> Document:
    """Return a job that was let through, under its present limits, or without the mark of an earlier leader."""
    held = job.get("held")
    if held is not None and "token" in held and "until" not in held:
        return job | {"held": {name: value for name, value in held.items() if name != "token"}}
    keys = [*rules.keys_of(job)]
    return job if not counts(job) or job["limits"] == keys or not keys else job | {"limits": keys}


def _adopted(job: Document, rules: Rules, now: datetime) -> Document:
    """Return a job that runs, or is taken, under the limits that were made since."""
    keys = [*rules.keys_of(job)]
    if job["state"] in FINAL or "held" in job or "admitted" in job or not keys:
        return job
    return job | {"limits": keys, "admitted": cimi_time(now)}


def _moved(job: Document, old: str, new: str, rules: Rules) -> Document:
    """Return a job that waits under the key `old`, held under the key `new`."""
    limit = rules.limit_of(new)
    if limit is None or job.get("held", {}).get("on") != ON + old or "token" in job["held"]:
        return job
    hold(job, limit.hold(new, tuple(job["limits"])))
    return job


def _marked(job: Document, key: str, limits: tuple[str, ...], token: str, rules: Rules, now: datetime) -> Document:
    """Return a job that waits under this key, with the mark of the leader; held anew if it waits for something else."""
    if job["state"] != "QUEUED" or job.get("held", {}).get("on") != ON + key or is_expired(job, now):
        return job
    wait = wait_of(job, rules, now)
    if wait is None or (wait.on, wait.limits) != (ON + key, limits):
        return asked(job, rules, now)
    return job | {"held": {**job["held"], "token": token}, "admitted": cimi_time(now)}


def _let(job: Document, token: str, now: datetime) -> Document:
    """Return a job with the mark of this leader, due; the very same document without the mark."""
    held = job.get("held", {})
    if held.get("token") != token or "until" in held:
        return job
    kept = {name: held[name] for name in ("why", "detail", "token")}
    return changed(job, {}, (), now) | {"held": {**kept, "until": cimi_time(now)}}
