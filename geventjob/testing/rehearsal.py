"""A job that runs here as in an executor: runner, watch and rules are those of executor and server."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Union, cast

import gevent
from gevent.lock import Semaphore

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, moment_of
from geventjob.config import nearest
from geventjob.coordination.base import Claim, Session
from geventjob.executor import run_log
from geventjob.executor.claims import HeldClaims
from geventjob.executor.context import ExecutorContext
from geventjob.executor.hooks import Hooks
from geventjob.executor.job import checked_report
from geventjob.executor.limits import JobLimits
from geventjob.executor.runner import Runner
from geventjob.executor.unknown import UnknownActions
from geventjob.executor.watch import Watch
from geventjob.executor.writes import Writes
from geventjob.job.states import FINAL
from geventjob.near_uuid import near_uuid
from geventjob.plugins import Actions, ActionSpec, find_actions
from geventjob.plugins.find import action_spec
from geventjob.server.document import public
from geventjob.server.gate.gate import expired, promoted
from geventjob.server.life.changes import added, entry_of, set_entry
from geventjob.server.life.schema import validate_add
from geventjob.testing.stub import NoServer, SteppedClock, StubQueue, StubServer

EXECUTOR = "rehearsal"
MAX_RETRIES = 25
"""The server's default of `--max-retries`."""
Folders = Union[str, "os.PathLike[str]", Sequence[Union[str, "os.PathLike[str]"]]]
BLOCKING = 0.2
"""Seconds after which a call that holds up the process is interrupted: a test process is not patched."""


class Rehearsal:
    """One job and its attempts.

    A run happens in this process and in real time. Only the pauses before retries follow `clock`, which stands apart
    from the machine's: `clock.advance(30)`.
    """

    def __init__(
        self,
        action: Any,
        payload: Mapping[str, Any] | None = None,
        *,
        actions_dir: Folders = (),
        client: Any = None,
        settings: Any = None,
        max_retries: int = MAX_RETRIES,
        action_timeout: float | None = None,
        on_edit: Callable[[Document], None] = lambda edit: None,
        interrupted: bool = False,
        **attributes: Any,
    ) -> None:
        """Make the job; nothing runs yet.

        `action`: a function or class with `@action`, a spec, or a name among the shipped actions and those of
        `actions_dir`, a folder or several. `client`: what the action has as `job.client` (None: each use raises
        RuntimeError). `settings`: the options of the executor. `max_retries`, `action_timeout`: as the options of
        server and executor. `on_edit`: called with the attributes of each edit that the action makes.
        `interrupted`: an earlier run of the job has ended without an outcome. `attributes`: those of the job
        (`timeout=5`, `retries=0`, `checkpoint={"row": 3}`, `targetResource={"href": "x/1"}`).

        Raises ValueError for values that the server refuses, LookupError for an unknown name, PluginError, TypeError
        for wrong code.
        """
        self.spec = found(action, actions_dir)
        self.clock = SteppedClock()
        own: Document = {"attempts": 1, "interrupted": True} if interrupted else {}
        if "checkpoint" in attributes:
            own["checkpoint"] = checked_report("checkpoint", attributes.pop("checkpoint"))
        body = validate_add({"action": self.spec.name, "payload": dict(payload or {}), **attributes})
        job = added(body, id=f"job/{near_uuid()}", now=self.clock.now(), acl={}) | own
        self._server = StubServer(job, self.clock, max_retries, on_edit)
        self._context = ExecutorContext(client or cast(Any, NoServer()), settings or SimpleNamespace(name=EXECUTOR))
        self._limits = JobLimits(threads=1, action_timeout=action_timeout)
        self._entries = 0
        self._now: Runner | None = None
        self._session = Session(EXECUTOR, math.inf, math.inf)
        self.pauses: list[float] = []
        """The seconds of each pause before a retry."""
        self._enter()

    def __repr__(self) -> str:
        return f"<{self.spec.name} {self.state} after {self.attempts} attempts: {self.message}>"

    # --- the job

    @property
    def job(self) -> Document:
        """The job's document, as a client would get it."""
        return public(self._server.job)

    @property
    def state(self) -> str:
        """QUEUED before a run and between two of them, else SUCCESS, FAILED or STOPPED."""
        return str(self.job["state"])

    @property
    def output(self) -> Any:
        """The output; None without one."""
        return self.job.get("output")

    @property
    def message(self) -> str:
        """The statusMessage; empty without one."""
        return str(self.job.get("statusMessage", ""))

    @property
    def checkpoint(self) -> Any:
        """The checkpoint; None without one."""
        return self.job.get("checkpoint")

    @property
    def errors(self) -> list[Document]:
        """The failures of all attempts, each with `type`, `message` and `traceback`."""
        return list(self.job.get("errors", []))

    @property
    def attempts(self) -> int:
        """The number of runs so far."""
        return int(self.job["attempts"])

    @property
    def edits(self) -> list[Document]:
        """The attributes that the action has set, edit by edit."""
        return self._server.edits

    @property
    def wait(self) -> float:
        """The seconds until the job may run; 0 if it may now."""
        held = self.job.get("held")
        return max(0.0, (moment_of(held["until"]) - self.clock.now()).total_seconds()) if held else 0.0

    # --- runs

    def run(self) -> Rehearsal:
        """Run one attempt, and return this rehearsal.

        Raises RuntimeError for a job that has ended, or that waits: move the clock first.
        """
        if self.state in FINAL:
            raise RuntimeError(f"the job is {self.state}: there is nothing more to run")
        if self.wait:
            raise RuntimeError(f"the job waits for {self.wait:.3g} s more: call clock.advance({math.ceil(self.wait)})")
        self._enter()
        if self.state not in FINAL:
            self._attempt()
            if self.wait:
                self.pauses.append(self.wait)
        return self

    def finish(self) -> Rehearsal:
        """Run until the job has ended, moving the clock over each pause, and return this rehearsal."""
        while self.state not in FINAL:
            self.clock.advance(math.ceil(1000 * self.wait) / 1000)
            self.run()
        return self

    def stop(self) -> None:
        """Stop the attempt that runs, as `geventjob stop` does. Callable from other greenlets: `gevent.spawn_later`."""
        if self._now:
            self._now.stop(self._server.job["id"])

    def lose(self) -> None:
        """Take the job away from the attempt that runs, as after a session that is over. Callable as `stop` is.

        The action is ended by JobLost; the job is QUEUED then, and its next run begins as interrupted.
        """
        if self._now:
            self._session.end()

    def _enter(self) -> None:
        """Let the job have an entry in the queue, unless it waits, as the server's promoter does."""
        job, now = self._server.job, self.clock.now()
        if "notBefore" in job and job["notBefore"] > cimi_time(now) and not self.attempts:
            job = {**job, "held": {"why": "notBefore", "until": job["notBefore"], "detail": ""}}
        elif "held" in job or entry_of(job) is None:
            self._entries += 1
            entry = f"/job/entries/entry-{job['priority']:03}-{self._entries:010}"
            job = promoted(job, entry, now)
            set_entry(job, entry)
        self._server.job = expired(job, now)

    def _attempt(self) -> None:
        """Run one attempt to its end. Raises RuntimeError outside of the main thread, where no signals arrive."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("an action is rehearsed in the main thread alone, where signals arrive")
        job = self._server.job
        self._session = Session(EXECUTOR, math.inf, math.inf)
        claim = Claim(entry_of(job) or "", job["id"], self.attempts + 1, time.time(), self._session)
        timer = signal.getitimer(signal.ITIMER_REAL)  # of a time limit of the test, which the watch takes over
        watch = Watch(max_blocking=BLOCKING)
        try:
            self._now = self._runner(watch)
            gevent.spawn(self._now.run, claim)
            gevent.sleep(0)
            self._now.idle.wait()
        finally:
            self._now = None
            watch.close()
            signal.setitimer(signal.ITIMER_REAL, *timer)

    def _runner(self, watch: Watch) -> Runner:
        actions = Actions([self.spec])
        return Runner(
            self._context,
            actions,
            self._limits,
            writes=Writes(cast(Any, self._server), EXECUTOR, lambda: actions.names),
            claims=HeldClaims(cast(Any, StubQueue())),
            watch=watch,
            slots=Semaphore(1),
            unknown=UnknownActions(dict, self._limits),
            hooks=Hooks(on_start=[run_log.started], on_end=[run_log.ended]),
        )


def run_action(action: Any, payload: Mapping[str, Any] | None = None, **options: Any) -> Rehearsal:
    """Run an action to the end of its job, with all retries and without their pauses. Options: those of `Rehearsal`."""
    return Rehearsal(action, payload, **options).finish()


def found(action: Any, actions_dir: Folders = ()) -> ActionSpec:
    """Return the spec of an action or of a name. Raises LookupError, PluginError, TypeError."""
    if isinstance(action, ActionSpec):
        return action
    if not isinstance(action, str):
        if not hasattr(action, "__geventjob_action__"):
            raise TypeError(f"expected a function or class with @action, or a name, not {action!r}")
        return action_spec(action, "the test")
    folders = [actions_dir] if isinstance(actions_dir, (str, os.PathLike)) else actions_dir
    return named(find_actions([os.fspath(folder) for folder in folders], unsafe=True), action)


def named(actions: Actions, name: str) -> ActionSpec:
    """Return the spec of a name. Raises LookupError."""
    spec = actions.get(name)
    if spec is None:
        failed = "".join(f"; {file} does not import: {why}" for file, why in actions.failures.items())
        searched = ", ".join(actions.folders) or "the shipped actions"
        told = nearest(name, actions.names)
        raise LookupError(f"no action is named {name!r} in {searched}{told}{failed}")
    return spec
