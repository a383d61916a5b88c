"""One executor process: its parts, wired, and how they start and stop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from geventjob import supervise
from geventjob.coordination.base import Claim, Coordination, NameInUse, Session
from geventjob.coordination.member import about, announce, join, left_out
from geventjob.executor import run_log
from geventjob.executor.claims import HeldClaims
from geventjob.executor.context import ExecutorContext
from geventjob.executor.hooks import Hooks
from geventjob.executor.limits import JobLimits
from geventjob.executor.runner import Runner
from geventjob.executor.stop_poll import StopPoll
from geventjob.executor.take import Taker
from geventjob.executor.unknown import UnknownActions
from geventjob.executor.watch import Watch
from geventjob.executor.work import LAST_WRITE
from geventjob.executor.writes import Writes
from geventjob.plugins import Actions

log = logging.getLogger(__name__)

ROLE = "executors"
ABANDON = 10.0
"""Seconds after which an action that swallows its end is abandoned (DESIGN §5.1)."""


class ExecutorEngine:
    """`run` works until `stop` is called; nothing is lost whenever that is."""

    def __init__(
        self, coordination: Coordination, context: ExecutorContext, actions: Actions, limits: JobLimits, watch: Watch
    ) -> None:
        self._coordination = coordination
        self._context = context
        self._actions = actions
        self._limits = limits
        self._watch = watch
        self._slots = Semaphore(limits.threads)
        self._writes = Writes(context.client, coordination.name, actions.names)
        self._claims = HeldClaims(coordination)
        self._runner = Runner(
            context,
            actions,
            limits,
            writes=self._writes,
            claims=self._claims,
            watch=watch,
            slots=self._slots,
            unknown=UnknownActions(lambda: coordination.members(ROLE), limits.unknown_grace),
            hooks=Hooks(on_start=[run_log.started], on_end=[run_log.ended]),
        )
        self._taker = Taker(coordination, self._claims, self._writes.up, self._slots, self._runner.run)
        self._stop_poll = StopPoll(context.client, coordination.name, watch, self._runner.stop)
        self._stop = Event()
        self._hurry = Event()
        self._code = 0

    def run(self, shutdown_timeout: float, wait_for_name: bool = True) -> int:
        """Work until `stop`; return the exit code of the process.

        Raises NameInUse when another executor of this name lives, with `wait_for_name` after a session timeout.
        """
        try:
            if self._start(wait_for_name):
                self._stop.wait()
        except NameInUse:
            self._coordination.close()
            raise
        self._drain(shutdown_timeout)
        return self._code

    def stop(self) -> None:
        """Take nothing new, end when what runs has ended; again: end what runs. From any greenlet, or the hub."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()
        self._context.stop_event.set()

    # --- the parts

    def _start(self, wait_for_name: bool) -> bool:
        """False if it was stopped meanwhile."""
        self._coordination.on_lost = self._lost
        self._coordination.on_session = self._session
        actions = list(self._actions.names)
        info = about(slots=self._limits.threads, actions=actions, leftOut=left_out(self._actions.failures))
        if not join(self._coordination, self._stop):
            return False
        if not announce(self._coordination, ROLE, info, self._stop, wait_for_name):
            return False
        self._coordination.listen(self._message)
        for name, part in (
            ("the connection to the server", self._writes.connect),
            ("the take loop", self._taker.run),
            ("the poll for stops", self._stop_poll.run),
        ):
            supervise.spawn(name, part, self._failed)
        log.info(
            "%s takes jobs from %s: %d slots, actions %s",
            self._coordination.name,
            self._coordination.place,
            self._limits.threads,
            self._actions.names,
        )
        return True

    def _failed(self) -> None:
        self._code = 1
        self.stop()
        self.stop()

    # --- what coordination tells

    def _lost(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            log.error("%s was lost with its claim: its action is ended, the job runs elsewhere", claim.job)
        self._watch.lose(set(claims))

    def _session(self, session: Session) -> None:
        """Messages may have passed us by while there was no session: ask which of our jobs shall stop (DESIGN §5.9)."""
        gevent.spawn(self._ask_for_stops)

    def _ask_for_stops(self) -> None:
        self._writes.up.wait()
        self._stop_poll.ask()

    def _message(self, message: dict[str, Any]) -> None:
        if "stop" in message:
            self._runner.stop(message["stop"])
        else:
            log.warning("a message that we do not know: %.200r", message)

    # --- the end

    def _drain(self, timeout: float) -> None:
        """In this order: no new work, time for what runs, an end to what still runs, and only then the session."""
        self._taker.stop()
        self._runner.drain()
        if self._runner.works:
            log.info("%d jobs run: waiting %g s for them", len(self._runner.works), timeout)
        gevent.wait([self._runner.idle, self._hurry], timeout=timeout, count=1)
        if self._runner.works:
            log.warning("%d jobs still run: they are ended and given back", len(self._runner.works))
            self._runner.give_up()
            self._runner.idle.wait(ABANDON + 2 * LAST_WRITE)
        self._coordination.close()
        self._watch.close()
        log.info("%s has ended; %d jobs left to others", self._coordination.name, len(self._runner.works))
