"""The watch over the actions of one executor process: time slices, time-outs, stops, losses, the hard end.

It ends code that waits by throwing an exception into its greenlet from the hub, and code that computes, which keeps
the hub from running, by raising the same exception in the handler of a kernel timer (FINDINGS §1, §1b). Each action
gets it only while it is in `Watch.running`, so that nothing lands in the runner once the action is over.

SIGALRM and SIGPROF, ITIMER_REAL and ITIMER_PROF are the engine's: `signal.alarm` in an action is an error.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from time import monotonic
from types import FrameType
from typing import Any
from weakref import WeakMethod

import gevent
from gevent import Greenlet
from gevent._waiter import Waiter
from greenlet import getcurrent, greenlet

from geventjob import debug, fork
from geventjob.coordination.base import Claim, Session
from geventjob.ends import JobLost, JobStopped
from geventjob.executor import blocking, telling
from geventjob.executor.blocking import Blocking, Stage
from geventjob.executor.culprits import Culprits
from geventjob.executor.ending import Ending, Lost, Raised, Returned
from geventjob.executor.running import Running, running_in
from geventjob.executor.safepoints import Point, SafePoints, begin
from geventjob.executor.slices import Pace, Slices
from geventjob.executor.state import ActionState
from geventjob.executor.telling import told, untold
from geventjob.executor.watchdog import Watchdog
from geventjob.log import TREE

log = logging.getLogger(__name__)

GRACE = 5.0
"""Seconds of CPU beyond the session timeout after which a process whose hub does not run ends."""
ABANDON = 10.0
"""Seconds after the first exception that ended it in which an action has to come to its end (DESIGN §5.1)."""


class Watch:
    """One for a process, made in its main thread before the first action runs."""

    def __init__(
        self,
        *,
        session_timeout: float | None = None,
        max_blocking: float = 2.0,
        fd: int = 2,
        pace: Pace | None = None,
        abandon: float = ABANDON,
        culprits: Culprits | None = None,
        state: ActionState | None = None,
    ) -> None:
        """`session_timeout`, seconds: a process whose hub did not run for so much CPU time (and GRACE, and times its
        cores) writes its stacks to the file descriptor `fd` and dies; None: never. A hub that was held for longer
        than `max_blocking` seconds is told of in the log, and a system call that holds it is interrupted. One that
        cannot be is noted in `culprits`, and ends the process soon after the session timeout.
        `state` keeps apart what actions change of the process; None: nothing does.
        """
        self._state = state
        self.running: dict[greenlet, Running] = {}
        """What runs, by the greenlet it runs in."""
        self.abandoned: set[Running] = set()
        """What runs on though it was ended: it swallows everything."""
        self.yields = self.raises = self.deferrals = self.faults = 0
        self._abandon_after = abandon
        self._sessions: dict[Session, set[Running]] = {}
        self._ending: set[Running] = set()
        self._hub = gevent.get_hub()
        self._blocked = debug.Blocked(max_blocking)
        self._safe = _safe_points()
        self._slices = Slices(pace or Pace(), self._turned)
        self._watchdog = Watchdog(session_timeout + GRACE, fd) if session_timeout else None
        self.culprits = culprits or Culprits(os.devnull)
        self._noted = ""
        self._blocking = Blocking(lambda: self._slices.ran, *self._stages(session_timeout, max_blocking, fd))
        self._closed = False
        Greenlet.add_spawn_callback(self._spawned)
        # A forked child has the hub's timers, which would arm the kernel's; an interpreter that shuts down with an
        # armed one dies of "Alarm clock".
        close = WeakMethod(self.close)
        os.register_at_fork(after_in_child=lambda: (method := close()) and method())
        atexit.register(self.close)
        self._slices.start(self._alarm, self._beat)

    def close(self) -> None:
        """No more slices, and no hard end. To be called before exec, which keeps timers but no handlers: the new
        program would die of SIGALRM (seen). A forked child does it by itself."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._blocking.close()
        self._slices.close()
        Greenlet.remove_spawn_callback(self._spawned)
        if self._watchdog:
            self._watchdog.close()
        if self._safe:
            self._safe.close()

    # --- in the native thread that sees calls that block

    def _stages(self, session_timeout: float | None, max_blocking: float, fd: int) -> list[Stage]:
        # Interrupted and noted well within the session: then the hub can still run for it, and the next owner look.
        first = min(max_blocking, session_timeout / 3) if session_timeout else max_blocking
        stages = [Stage(first, lambda: self._slices.interrupt(True)), Stage(2 * first, self._note)]
        if session_timeout:
            last = session_timeout + min(GRACE, session_timeout / 2)
            stages.append(Stage(last, lambda: self._end_process(fd, session_timeout)))
        return stages

    def _note(self) -> None:
        culprit = blocking.blocked((*self.running.values(), *self.abandoned))
        if culprit:
            self.culprits.note(culprit.job_id, debug.place(self._blocking.frame()))
            self._noted = culprit.job_id  # last: the hub, which forgets it, may run in between

    def _end_process(self, fd: int, session_timeout: float) -> None:
        culprit = blocking.blocked((*self.running.values(), *self.abandoned))
        blocking.end_process(fd, culprit, self._blocking.frame(), session_timeout)

    # --- in the greenlet of an action

    def run(
        self,
        body: Callable[[], Any],
        *,
        claim: Claim,
        job_id: str,
        action: str,
        timeout: float | None = None,
        preempt: bool = True,
        abandoned: Callable[[Ending], None],
    ) -> Ending | None:
        """Run `body()` in the calling greenlet; how it ended, whatever it raised.

        After `timeout` seconds a gevent.Timeout ends it. One that is swallowed is raised again each 0.25 s,
        JobStopped and JobLost each second. Code that still runs 10 s after the first is abandoned: `abandoned(ending)`
        is called in a greenlet of its own, and this returns None when that code comes to its end. Code that is not
        to `preempt` gets no slices: it holds up the whole process while it computes.

        What was raised in the code and swallowed counts as its end; what was asked for and came too late does not.
        """
        if claim.lost:
            return Lost()
        running = Running(claim, job_id=job_id, action=action, timeout=timeout, preempt=preempt, abandoned=abandoned)
        tree = self._enter(running)
        try:
            ending = self._attempt(running, body)
        finally:
            self.running.pop(running.greenlet, None)  # first of all: from here on nothing is thrown in here
        return self._leave(running, tree, ending)

    def _attempt(self, running: Running, body: Callable[[], Any]) -> Ending:
        """How the code ended; the text of what it raised is made by its code too."""
        try:
            return Returned(begin(body))
        except BaseException as error:
            # Without our own frames: they would hold what holds them.
            raised = untold(BaseException.with_traceback(error, _inner(error)))
        if running.thrown is not None or fork.in_child():
            return raised
        running.raised = raised
        self._give(running, telling.SECONDS)
        with suppress(BaseException):
            running.raised = begin(partial(told, raised))
        return running.raised

    def _give(self, running: Running, seconds: float) -> None:
        """From now on it may take so long."""
        if running.timer is not None:
            running.timer.close()
        running.deadline = monotonic() + seconds
        running.timer = self._hub.loop.timer(seconds)
        # update: the time of a loop that was held up is old, and so long too early the time would be up
        running.timer.start(self._time_is_up, running, update=True)

    def _enter(self, running: Running) -> Any:
        """From now on the action can be ended. Greenlets that it starts inherit the tree (FINDINGS §8)."""
        current: Any = running.greenlet
        tree = getattr(current, "spawn_tree_locals", None)
        current.spawn_tree_locals = {TREE: running}
        if self._state:
            current.switch_out = self._state.wait
        self._sessions.setdefault(running.claim.session, set()).add(running)
        if running.timeout is not None:
            self._give(running, running.timeout)
        self.running[running.greenlet] = running
        return tree

    def _leave(self, running: Running, tree: Any, ending: Ending) -> Ending | None:
        if fork.in_child():  # the code of the action forked, and its child has come to its end
            fork.end(ending.error if isinstance(ending, Raised) else None)
        current: Any = running.greenlet
        if self._state:
            self._state.ended(running)
            del current.switch_out
        current.spawn_tree_locals = tree
        if running in self.abandoned:
            self.abandoned.remove(running)
            return None
        self._forget(running)
        if running.thrown is not None:
            self._hub.loop.run_callback(running.end_children, type(running.thrown))
        return running.judge(ending)

    def _forget(self, running: Running) -> None:
        """Whatever else knows of it besides `running`."""
        running.close()
        self._ending.discard(running)
        session = running.claim.session
        beside = self._sessions.get(session)
        if beside:
            beside.discard(running)
            if not beside:
                del self._sessions[session]

    def _spawned(self, child: Any) -> None:
        """Any greenlet was started; cheap, since it is called for each."""
        running = running_in(child)
        if running is not None:
            running.children.add(child)
            if self._state:
                child.switch_out = self._state.wait

    # --- from any greenlet

    def stop(self, job: str | Running) -> None:
        """End the running actions of a job (an id, or one of `running`) by JobStopped."""
        self._end((r for r in self.running.values() if job in (r.job_id, r)), JobStopped)

    def lose(self, claims: Collection[Claim]) -> None:
        """End the actions of these claims by JobLost."""
        self._end((r for r in self.running.values() if r.claim in claims), JobLost)

    def _end(self, runnings: Iterable[Running], end: type[JobLost] | type[JobStopped]) -> None:
        # In the hub, and only if the action runs then: kill() could land in the runner, after the action.
        for running in list(runnings):
            running.ask(end())
            self._hub.loop.run_callback(self._shoot, running)

    def describe(self, greenlet: object) -> str:
        """What the dump says of a greenlet besides its job."""
        running = running_in(greenlet)
        if running is None:
            return ""
        words = [running.state]
        if running in self.abandoned:
            words.append("abandoned")
        if self._slices.parked(greenlet):
            words.append("waits for its next time slice")
        return ", ".join(filter(None, words))

    # --- in the hub

    def _turned(self, held: float) -> None:
        """At each turn of the loop, before anything else in it; the hub did not run for so long."""
        for session in list(self._sessions):
            if session.over:
                for running in self._sessions.pop(session):
                    running.ask(JobLost())
                    self._shoot(running)
        if self._noted:
            self.culprits.forget(self._noted)
            self._noted = ""
        self._blocked.over(held)

    def _beat(self) -> None:
        now = monotonic()
        self._blocked.beat()
        if self._watchdog:
            self._watchdog.put_off(now)
        for running in list(self._ending):
            if now - running.first > self._abandon_after:
                self._abandon(running)
            else:
                self._shoot(running)

    def _time_is_up(self, running: Running) -> None:
        running.time_is_up()
        self._shoot(running)

    def _shoot(self, running: Running) -> None:
        """Throw what is due into the action and its children, if it still runs and did not get the same just now."""
        if self.running.get(running.greenlet) is not running:
            return
        end = running.shot(monotonic())
        if end is None:
            return
        self._ending.add(running)
        running.greenlet.throw(end)
        running.end_children(type(end))

    def _abandon(self, running: Running) -> None:
        if self.running.get(running.greenlet) is not running:
            return
        assert running.thrown is not None
        del self.running[running.greenlet]
        self.abandoned.add(running)
        self._forget(running)
        running.end_children(type(running.thrown))
        gevent.spawn(_tell_abandoned, running, debug.stack(running.greenlet.gr_frame))

    # --- in whatever runs when the hub did not for a while

    def _alarm(self, signum: int, frame: FrameType | None) -> None:
        """Raise what is due to the action that runs, or let the hub run before it goes on.

        It raises nothing else, and it neither logs nor locks. SIGALRM during it finds its own frames, which are
        the engine's, and does nothing.
        """
        end: BaseException | None = None
        slice_over: Waiter[None] | None = None
        try:
            end, slice_over = self._interrupt(frame)
        except BaseException:  # its own error must not land in the action (a RecursionError of deep code, say)
            self.faults += 1
            end = slice_over = None
        frame = None  # keep no frames alive while parked, nor in the traceback
        if end is not None:
            try:
                raise end
            finally:
                end = None
        if slice_over is not None:
            slice_over.get()  # to the hub; what ends the action is thrown in here too

    def _interrupt(self, frame: FrameType | None) -> tuple[BaseException | None, Waiter[None] | None]:
        """What is due to the action that runs, or that its slice is over; neither if it is not at a safe point."""
        now = monotonic()
        self._blocked.look(frame, now - self._slices.ran)
        if any(session.over for session in self._sessions):
            self._slices.turn_soon()
        current = getcurrent()
        running = self.running.get(current)
        child = running is None
        if running is None:
            running = running_in(current)
        if running is None or frame is None:
            return None, None  # the hub, coordination, the engine itself
        point = self._safe.at(frame, child, self._slices.waits(now)) if self._safe else Point.NOTHING
        if point is Point.NOTHING:
            self.deferrals += 1
            self._slices.retry()
            return None, None
        end = None if child else self._due(running, now)
        if end is not None or point is Point.RAISE or not running.preempt:
            return end, None
        self.yields += 1
        return None, self._slices.park(now)

    def _due(self, running: Running, now: float) -> BaseException | None:
        """The hub that would find these out is the one that is blocked."""
        if running.claim.lost:
            running.ask(JobLost())
        elif now > running.deadline:
            running.time_is_up()
        end = running.shot(now)
        if end is not None:
            self.raises += 1
            self._ending.add(running)
        return end


def _safe_points() -> SafePoints | None:
    try:
        return SafePoints()
    except NotImplementedError as error:
        log.warning("actions that compute are not interrupted: %s", error)
        return None


def _inner(error: BaseException) -> Any:
    """The traceback from the action's own code on."""
    trace = error.__traceback__
    for _ in range(2):  # _attempt, begin
        trace = trace.tb_next if trace and trace.tb_next else trace
    return trace


def _tell_abandoned(running: Running, stack: str) -> None:
    who = {"greenlet": running.greenlet}
    log.error("the action %r swallows its end and is abandoned; it is at\n%s", running.action, stack, extra=who)
    assert running.thrown is not None
    running.abandoned(running.ending_of(running.thrown))
