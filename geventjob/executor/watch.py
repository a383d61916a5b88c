"""The watch over the actions of one executor process: time slices, timeouts, stops, lost claims, calls that block.

Code that waits is ended by an exception, thrown into its greenlet from the hub (`register`). Code that computes keeps
the hub from running, and gets the same exception in the handler of a kernel timer (`alarm`). A process whose hub never
runs again is ended (`watchdog`, `blocking`). docs/decisions/0002-slices-from-a-kernel-timer.md says why.

SIGALRM and SIGPROF, ITIMER_REAL and ITIMER_PROF belong to the engine: `signal.alarm` in an action is an error.
"""

from __future__ import annotations

import atexit
import os
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any
from weakref import WeakMethod

import gevent
from gevent import Greenlet

from geventjob import debug, fork
from geventjob.clock import boottime
from geventjob.coordination.base import Claim
from geventjob.executor import blocking, exception_text
from geventjob.executor.alarm import Alarm
from geventjob.executor.blocking import Blocking, Stage
from geventjob.executor.coroutines import Coroutines
from geventjob.executor.culprits import Culprits
from geventjob.executor.ending import EndedApart, Ending, Lost, Raised, Returned
from geventjob.executor.exception_text import with_text, without_text
from geventjob.executor.register import ABANDON, Register
from geventjob.executor.running import Running, in_coroutine, inherit, running_in
from geventjob.executor.safepoints import begin
from geventjob.executor.slices import Pace, Slices
from geventjob.executor.state import ActionState
from geventjob.executor.watchdog import Watchdog
from geventjob.log import TREE

NOTICED, HELD = 0.1, 50
"""Seconds for which the hub must not have run to be remembered, and the times that are remembered."""
GRACE = 5.0
"""Seconds of CPU beyond the session timeout after which a process whose hub does not run ends."""


class Watch:
    """Runs actions and ends them. One for a process, made in its main thread before the first action runs."""

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
        """Start the watch; all times are in seconds.

        A process whose hub did not run for `session_timeout` + GRACE of CPU time on each of its cores writes its
        stacks to the file descriptor `fd` and dies; with None it lives on. A hub that was held up for longer than
        `max_blocking` is logged, and the system call that holds it up is interrupted. A call that cannot be
        interrupted is noted in `culprits`, and ends the process soon after the session timeout. An action that does
        not end is abandoned after `abandon`. `state` keeps changes to the process apart for each action; without it
        actions share them.
        """
        self._state = state
        self._hub = gevent.get_hub()
        self.register = Register(abandon)
        self.running = self.register.running
        """The actions that run, by their greenlets."""
        self.abandoned = self.register.abandoned
        """The actions that run on although they were ended."""
        self._blocked = debug.Blocked(max_blocking)
        self._slices = Slices(pace or Pace(), self._turned)
        self.alarm = Alarm(self.register, self._slices, self._blocked)
        self._watchdog = Watchdog(session_timeout + GRACE, fd) if session_timeout else None
        self.culprits = culprits or Culprits(os.devnull)
        self._noted = ""
        self._held: deque[tuple[float, float]] = deque(maxlen=HELD)
        self._blocking = Blocking(lambda: self._slices.ran, *self._stages(session_timeout, max_blocking, fd))
        self._coroutines = Coroutines(max_blocking, state)
        self._closed = False
        Greenlet.add_spawn_callback(self._spawned)
        self._close_with_process()
        self._slices.start(self.alarm.handle, self._beat)

    def _close_with_process(self) -> None:
        """Have the watch closed in forked children and at exit.

        A forked child has the hub's timers, which would arm the kernel's. An interpreter that shuts down with an armed
        timer dies of "Alarm clock".
        """
        close = WeakMethod(self.close)
        os.register_at_fork(after_in_child=lambda: (method := close()) and method())
        atexit.register(self.close)

    def close(self) -> None:
        """End slices and watchdog. A forked child does so by itself.

        Call this before exec, which keeps timers but no handlers: the new program would die of SIGALRM.
        """
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._coroutines.close()
        self._blocking.close()
        self._slices.close()
        Greenlet.remove_spawn_callback(self._spawned)
        if self._watchdog:
            self._watchdog.close()
        self.alarm.close()

    # --- in the native thread that sees calls that block

    def _stages(self, session_timeout: float | None, max_blocking: float, fd: int) -> list[Stage]:
        """Return the steps against a call that blocks: interrupt it, note it, end the process."""
        # The first two come well within the session: the hub can still run for it, and the next owner can look.
        first = min(max_blocking, session_timeout / 3) if session_timeout else max_blocking
        stages = [Stage(first, lambda: self._slices.interrupt(True)), Stage(2 * first, self._note)]
        if session_timeout:
            last = session_timeout + min(GRACE, session_timeout / 2)
            stages.append(Stage(last, lambda: self._end_process(fd, session_timeout)))
        return stages

    def _culprit(self) -> Running | None:
        runnings = (*self.running.values(), *self.abandoned)
        return blocking.blocked(runnings) or self._coroutines.acting_in(self._blocking.frame())

    def _note(self) -> None:
        culprit = self._culprit()
        if culprit:
            self.culprits.note(culprit.job_id, debug.place(self._blocking.frame()))
            self._noted = culprit.job_id  # last: the hub, which forgets it, may run in between

    def _end_process(self, fd: int, session_timeout: float) -> None:
        culprit = self._culprit()
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
        """Run `body()` in the calling greenlet and return how it ended, whatever it raised.

        A gevent.Timeout ends the code after `timeout` seconds. A swallowed Timeout is raised again each 0.25 s, a
        swallowed JobStopped or JobLost each second. Code that still runs 10 s after the first exception is abandoned:
        `abandoned(ending)` is called in a greenlet of its own, and this returns None when the code comes to its end.
        Code without `preempt` gets no slices: it holds up the whole process while it computes.

        An exception of the engine decides the ending even if the code swallowed the exception.
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

    def complete(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine of the action on the process's asyncio loop; return its value or raise its exception.

        The calling greenlet runs the action's code, the body of `run`. What ends the action cancels the coroutine.
        """
        return self._coroutines.run(coroutine)

    def _attempt(self, running: Running, body: Callable[[], Any]) -> Ending:
        """Run the code, and the code for the text of its exception; return the ending."""
        try:
            return Returned(begin(body))
        except EndedApart as apart:
            return apart.ending
        except BaseException as error:
            # Without the frames of the engine, which would make a cycle of references.
            raised = without_text(BaseException.with_traceback(error, _inner(error)))
        if running.thrown is not None or fork.in_child():
            return raised
        running.raised = raised
        self.register.limit(running, exception_text.SECONDS)
        with suppress(BaseException):
            running.raised = begin(partial(with_text, raised))
        return running.raised

    def _enter(self, running: Running) -> Any:
        """Let the action be ended from now on; return the tree of the greenlet, to be put back at the end.

        Greenlets that the action starts inherit its tree, but no contextvars (traces.py hands on a span).
        """
        current: Any = running.greenlet
        tree = getattr(current, "spawn_tree_locals", None)
        current.spawn_tree_locals = {TREE: running}
        if self._state:
            current.switch_out = self._state.wait
        self.register.enter(running)
        return tree

    def _leave(self, running: Running, tree: Any, ending: Ending) -> Ending | None:
        """Put the state of the greenlet back; return the ending, None if the action was abandoned before."""
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
        self.register.forget(running)
        if running.thrown is not None:
            self._hub.loop.run_callback(running.end_children, type(running.thrown))
        return running.judge(ending)

    def _spawned(self, child: Any) -> None:
        """Note a child of an action. Cheap, since each greenlet calls it at its start."""
        if in_coroutine():
            inherit(child)
        running = running_in(child)
        if running is not None:
            running.children.add(child)
            if self._state:
                child.switch_out = self._state.wait

    # --- from any greenlet

    def stop(self, job: str | Running) -> None:
        """End the running actions of a job (an id, or one of `running`) by JobStopped."""
        self.register.stop(job)

    def lose(self, claims: Collection[Claim]) -> None:
        """End the actions of these claims by JobLost."""
        self.register.lose(claims)

    @property
    def slices(self) -> int:
        """The slices that code that computes has had so far, after its first ones."""
        return self._slices.given

    def held(self, since: float) -> float:
        """Return the longest time for which the hub did not run since then (boottime), in seconds; 0 if it was short.

        Of more than HELD times the last are known.
        """
        now = monotonic() - self._slices.ran
        times = [held for end, held in self._held if end >= since]
        return max([*times, now if now > NOTICED else 0.0])

    def describe(self, greenlet: object) -> str:
        """Return the state of an action's greenlet in words, for the dump of stacks; empty for other greenlets."""
        running = running_in(greenlet)
        if running is None:
            return ""
        words = [running.state]
        if running in self.abandoned:
            words.append("abandoned")
        if self._slices.parked(greenlet):
            words.append("waits for its next time slice")
        if running.coroutine and running.greenlet is greenlet:
            words.append(f"its coroutine is at\n{running.stack.rstrip()}")
        return ", ".join(filter(None, words))

    # --- in the hub

    def _turned(self, held: float) -> None:
        """Look at leases and blocked calls, at each turn of the loop and ahead of everything else in it.

        `held` is the seconds for which the hub did not run.
        """
        self.register.lose_sessions()
        if self._noted:
            self.culprits.forget(self._noted)
            self._noted = ""
        self._blocked.over(held)
        if held > NOTICED:
            self._held.append((boottime(), held))

    def _beat(self) -> None:
        now = monotonic()
        self._blocked.beat()
        if self._watchdog:
            self._watchdog.put_off(now)
        self.register.throw_again(now)


def _inner(error: BaseException) -> Any:
    """Return the traceback from the action's own code on."""
    trace = error.__traceback__
    while trace and trace.tb_next and trace.tb_frame.f_globals.get("__name__", "").startswith("geventjob.executor."):
        trace = trace.tb_next
    return trace
