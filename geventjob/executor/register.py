"""The actions that run in this process, and the exceptions that end them.

An exception is thrown into the greenlet of an action from the hub, and only while the action stands in
`Register.running`: nothing lands in the runner once the action is over. Code that computes keeps the hub from running;
`alarm` raises the same exceptions in such code.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from time import monotonic

import gevent
from greenlet import greenlet

from geventjob.coordination.base import Claim, Session
from geventjob.ends import JobLost, JobStopped
from geventjob.executor import stacks
from geventjob.executor.running import Running

log = logging.getLogger(__name__)

ABANDON = 10.0
"""Seconds that an action has to end after the first exception that was raised to end it."""


class Register:
    """The actions of one process, by greenlet and by session."""

    def __init__(self, abandon_after: float) -> None:
        """Set the seconds after which an action is abandoned that swallows its end."""
        self.running: dict[greenlet, Running] = {}
        """The actions that run, by their greenlets."""
        self.abandoned: set[Running] = set()
        """The actions whose code goes on after the end: it swallows every exception."""
        self.sessions: dict[Session, set[Running]] = {}
        """The actions that run, by the session of their claims."""
        self.ending: set[Running] = set()
        """The actions in whose code an exception was raised to end them."""
        self.abandon_after = abandon_after
        self._hub = gevent.get_hub()

    def enter(self, running: Running) -> None:
        """Add an action. From now on exceptions may be raised in its greenlet."""
        self.sessions.setdefault(running.claim.session, set()).add(running)
        if running.timeout is not None:
            self.limit(running, running.timeout)
        self.running[running.greenlet] = running

    def limit(self, running: Running, seconds: float) -> None:
        """End the action by a Timeout in `seconds`, in place of an earlier time."""
        if running.timer is not None:
            running.timer.close()
        running.deadline = monotonic() + seconds
        running.timer = self._hub.loop.timer(seconds)
        # update: the clock of a loop that was held up is late, and the timer would end too early by that
        running.timer.start(self._time_is_up, running, update=True)

    def forget(self, running: Running) -> None:
        """Remove an action after its removal from `running`."""
        running.close()
        self.ending.discard(running)
        session = running.claim.session
        beside = self.sessions.get(session)
        if beside:
            beside.discard(running)
            if not beside:
                del self.sessions[session]

    # --- from any greenlet

    def stop(self, job: str | Running) -> None:
        """End the running actions of a job (an id, or one of `running`) by JobStopped."""
        self._end((r for r in self.running.values() if job in (r.job_id, r)), JobStopped)

    def lose(self, claims: Collection[Claim]) -> None:
        """End the actions of these claims by JobLost."""
        self._end((r for r in self.running.values() if r.claim in claims), JobLost)

    def _end(self, runnings: Iterable[Running], end: type[JobLost] | type[JobStopped]) -> None:
        # In the hub, and only if the action still runs by then: kill() could land in the runner, after the action.
        for running in list(runnings):
            running.schedule(end())
            self._hub.loop.run_callback(self._throw_due, running)

    # --- in the hub

    def lose_sessions(self) -> None:
        """End the actions of every session whose lease is over."""
        for session in list(self.sessions):
            if session.over:
                for running in self.sessions.pop(session):
                    running.schedule(JobLost())
                    self._throw_due(running)

    def throw_again(self, now: float) -> None:
        """Raise the exception again in actions that swallowed it; abandon an action whose time to end is over."""
        for running in list(self.ending):
            if now - running.first > self.abandon_after:
                self._abandon(running)
            else:
                self._throw_due(running)

    def _time_is_up(self, running: Running) -> None:
        running.schedule_timeout()
        self._throw_due(running)

    def _throw_due(self, running: Running) -> None:
        """Throw the due exception into the action and its children, unless the action is over or got it just now."""
        if self.running.get(running.greenlet) is not running:
            return
        end = running.take_due(monotonic())
        if end is None:
            return
        self.ending.add(running)
        running.greenlet.throw(end)
        running.end_children(type(end))

    def _abandon(self, running: Running) -> None:
        if self.running.get(running.greenlet) is not running:
            return
        assert running.thrown is not None
        del self.running[running.greenlet]
        running.is_abandoned = True
        running.seen = stacks.taken(running)
        self.abandoned.add(running)
        self.forget(running)
        running.end_children(type(running.thrown))
        gevent.spawn(_report_abandoned, running, running.stack)

    # --- in the greenlet of an action that keeps the hub from running

    def due(self, running: Running, now: float) -> BaseException | None:
        """Return the exception to raise in this action at `now` (monotonic), or None.

        The hub, which finds lost claims and timeouts otherwise, does not run.
        """
        if running.claim.lost:
            running.schedule(JobLost())
        elif now > running.deadline:
            running.schedule_timeout()
        end = running.take_due(now)
        if end is not None:
            self.ending.add(running)
        return end


def _report_abandoned(running: Running, stack: str) -> None:
    where = {"greenlet": running.greenlet}
    log.error("the action %r swallows its end and is abandoned; it is at\n%s", running.action, stack, extra=where)
    assert running.thrown is not None
    running.abandoned(running.ending_of(running.thrown))
