"""The engine of an executor process: its parts, their start and their graceful shutdown."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from geventjob import supervise
from geventjob.clock import boottime
from geventjob.coordination.base import Claim, Coordination, NameInUse, Session
from geventjob.coordination.member import LONGEST_REASON, Announcement, about, join
from geventjob.executor import run_log
from geventjob.executor.announced import told
from geventjob.executor.claims import HeldClaims
from geventjob.executor.context import ExecutorContext
from geventjob.executor.hooks import Hooks
from geventjob.executor.kept_log import KeptLogs
from geventjob.executor.lag import announce_lag
from geventjob.executor.limits import JobLimits
from geventjob.executor.memory import watch_memory
from geventjob.executor.record import Recorder
from geventjob.executor.register import ABANDON
from geventjob.executor.runner import Runner
from geventjob.executor.standing import Standing
from geventjob.executor.stop_poll import StopPoll
from geventjob.executor.take import Taker
from geventjob.executor.unknown import UnknownActions
from geventjob.executor.watch import Watch
from geventjob.executor.work import LAST_WRITE
from geventjob.executor.workers.pool import Workers
from geventjob.executor.writes import Writes
from geventjob.notify import Notifier
from geventjob.plugins import Actions

log = logging.getLogger(__name__)

ROLE = "executors"


class ExecutorEngine:
    """Runs jobs from `run` until `stop`; no job is lost, whenever the stop comes."""

    def __init__(
        self,
        coordination: Coordination,
        context: ExecutorContext,
        actions: Actions,
        limits: JobLimits,
        watch: Watch,
        notifier: Notifier | None = None,
        hooks: Hooks | None = None,
        workers: Workers | None = None,
    ) -> None:
        """`hooks`: further hooks of the runs, as of their metrics. `workers`: processes for actions with one."""
        hooks = hooks or Hooks()
        self._coordination = coordination
        self._context = context
        self._actions = actions
        self._limits = limits
        self._watch = watch
        self._workers = workers
        self._notifier = notifier or Notifier({})
        self._slots = Semaphore(limits.threads)
        self._writes = Writes(
            context.client,
            coordination.name,
            lambda: actions.names,
            on_away=self._tell_away,
        )
        self._claims = HeldClaims(coordination)
        self._kept_logs = KeptLogs(self._writes, context.client)
        self._recorder = Recorder(watch.held)
        self._runner = Runner(
            context,
            actions,
            limits,
            writes=self._writes,
            claims=self._claims,
            watch=watch,
            slots=self._slots,
            unknown=UnknownActions(lambda: coordination.members(ROLE), limits),
            hooks=Hooks(
                on_start=[run_log.started, self._kept_logs.started, *hooks.on_start],
                on_end=[run_log.ended, self._kept_logs.ended, self._recorder.ended, *hooks.on_end],
            ),
            workers=workers,
        )
        self._taker = Taker(coordination, self._claims, self._writes.up, self._slots, self._runner.run)
        self._stop_poll = StopPoll(context.client, coordination.name, watch, self._runner.stop)
        self._stop = Event()
        self._hurry = Event()
        info = about(slots=limits.threads, **told(actions, limits))
        self._announcement = Announcement(coordination, ROLE, info, self._stop)
        self._standing = Standing(self._taker, self._announcement, self._notifier, self._end)
        self._why_stopped = ""
        self._code = 0

    def figures(self) -> dict[str, float]:
        """Return what this executor is doing now, by the names of its metrics."""
        session = self._coordination.session
        return {
            "slots": self._limits.threads,
            "running": self._limits.threads - self._slots.counter,
            "abandoned": len(self._watch.abandoned),
            "lease_seconds": max(0.0, session.lease - boottime()) if session is not None else 0.0,
            "reaches_server": float(self._writes.up.is_set()),
        }

    def counts(self) -> dict[str, int]:
        """Return what this executor has done so far, by the names of its metrics."""
        return {
            "takes": self._taker.taken,
            "take_collisions": self._coordination.collisions,
            "slices": self._watch.slices,
        }

    def why_not_ready(self) -> str | None:
        """Return why this executor takes no jobs; None: it does, as far as slots are free."""
        session = self._coordination.session
        if session is None or session.over:
            return "the queue is out of reach"
        return None if self._writes.up.is_set() else "the job server is out of reach"

    def run(self, wait_for_name: bool = True) -> int:
        """Work until `stop`; return the exit code of the process.

        Raises NameInUse when another executor of this name lives, with `wait_for_name` after a session timeout.
        """
        try:
            if self._start(wait_for_name):
                self._stop.wait()
        except NameInUse:
            self._coordination.close()
            raise
        self._drain(self._limits.shutdown_timeout)
        return self._code

    def stop(self, why: str = "a signal") -> None:
        """Take no new jobs, and end when the running jobs have ended. A second call ends the running jobs.

        Callable from any greenlet and from the hub. `why` is announced.
        """
        if self._stop.is_set():
            self._hurry.set()
        self._why_stopped = self._why_stopped or why
        self._stop.set()
        self._context.stop_event.set()

    # --- the parts

    def _start(self, wait_for_name: bool) -> bool:
        """Join, announce this executor and start its parts; return False if it was stopped meanwhile."""
        self._coordination.on_lost = self._lost
        self._coordination.on_session = self._session
        if not join(self._coordination, self._stop):
            return False
        if not self._announcement.make(wait_for_name):
            return False
        self._coordination.listen(self._message)
        self._kept_logs.start()
        for name, part in (
            ("the connection to the server", self._writes.connect),
            ("the take loop", self._taker.run),
            ("the poll for stops", self._stop_poll.run),
            ("the logs of jobs", self._kept_logs.run),
            ("the look at the memory", lambda: watch_memory(self._limits, self._end)),
            ("the look at the lag", lambda: announce_lag(self._watch.held, self._announcement.tell)),
        ):
            supervise.spawn(name, part, self._failed)
        log.info(
            "%s takes jobs from %s: %d slots, actions %s",
            self._coordination.name,
            self._coordination.place,
            self._limits.threads,
            self._actions.names,
        )
        gevent.spawn(self._tell_ready)
        return True

    def renew(self, found: Actions, limits: JobLimits) -> None:
        """Run the next jobs with the actions that were found anew, and with these limits.

        Running jobs go on in the code in which they began. Raises CoordinationError; the actions then stay.
        """
        self._limits.renew(limits)
        actions = self._actions.merged(found)
        self._announcement.change(**told(actions, limits))
        self._actions.replace(actions)
        if self._workers:
            self._workers.renew(self._actions)
        log.info("actions were read again: %s", actions.names)
        if actions.outdated:
            log.warning("in their old code, since their files do not import: %s", ", ".join(actions.outdated))

    def _tell_ready(self) -> None:
        """Tell the service manager once a take is possible: the session and the server are there."""
        self._writes.up.wait()
        self._notifier.ready()

    def _tell_away(self, reason: str) -> None:
        """Announce why this executor cannot reach the server, for those who ask why a job does not run."""
        self._announcement.tell(away=reason[:LONGEST_REASON])

    def _end(self, why: str) -> None:
        if not self._stop.is_set():  # a second stop, as of an order that is delivered twice, ends the running jobs
            self.stop(why)

    def _failed(self) -> None:
        self._code = 1
        self.stop()
        self.stop()

    # --- called by coordination

    def _lost(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            log.error("%s was lost with its claim: its action is ended, the job runs elsewhere", claim.job)
        self._watch.lose(set(claims))

    def _session(self, session: Session) -> None:
        """Ask which jobs shall stop: messages may have been missed while there was no session."""
        gevent.spawn(self._ask_for_stops)

    def _ask_for_stops(self) -> None:
        self._writes.up.wait()
        self._stop_poll.ask()

    def _message(self, message: dict[str, Any]) -> None:
        if "stop" in message:
            self._runner.stop(message["stop"])
        elif "order" in message:
            self._standing.obey(message)
        elif "stack" in message:
            request = message["request"]
            gevent.spawn(self._runner.answer, message["stack"], lambda work: self._recorder.asked(work, request))
        else:
            log.warning("unknown message: %.200r", message)

    # --- the end

    def _drain(self, timeout: float) -> None:
        """Take no new jobs, wait for the running ones, give the rest back, and only then end the session."""
        self._notifier.stopping(timeout + ABANDON + 2 * LAST_WRITE)
        self._standing.drain(self._why_stopped)
        self._runner.drain()
        if self._runner.works:
            log.info("%d jobs run: waiting %g s for them", len(self._runner.works), timeout)
        gevent.wait([self._runner.idle, self._hurry], timeout=timeout, count=1)
        if self._runner.works:
            log.warning("%d jobs still run: each is ended and goes back to the queue", len(self._runner.works))
            self._runner.give_up()
            self._runner.idle.wait(ABANDON + 2 * LAST_WRITE)
        self._coordination.close()
        self._watch.close()
        self._kept_logs.close()
        log.info("%s has ended; %d jobs left to others", self._coordination.name, len(self._runner.works))
