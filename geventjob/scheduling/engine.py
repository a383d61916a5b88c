"""One distributor process: its parts, and the order in which they start and stop."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gevent
from gevent.event import Event

from geventjob import supervise
from geventjob.calendar import zones
from geventjob.calendar.schedule import plan
from geventjob.cimi.client import Client
from geventjob.config import nearest
from geventjob.coordination.base import Coordination, Leadership, NameInUse, Session
from geventjob.coordination.member import Announcement, about, join, left_out
from geventjob.exit_code import ExitCode
from geventjob.notify import Notifier
from geventjob.plugins import Distributors, DistributorSpec, PluginError
from geventjob.plugins.marks import checked
from geventjob.scheduling.endless import Endless
from geventjob.scheduling.leader import ENDING, Leader
from geventjob.scheduling.stored import StoredSchedules
from geventjob.scheduling.ticking import Ticking

log = logging.getLogger(__name__)

ROLE = "distributors"


def chosen(found: Distributors, names: Sequence[str], all: bool) -> list[DistributorSpec]:
    """Return the distributors to run, each once. Raises PluginError for a name that was not found."""
    unknown = [name for name in names if found.get(name) is None]
    if unknown:
        failed = "".join(f"; {file} did not import: {why}" for file, why in found.failures.items())
        told = f"{nearest(unknown[0], found.names)}; there are {', '.join(found.names) or 'none'}{failed}"
        raise PluginError(f"no distributor {unknown[0]!r}{told}")
    specs = [spec for name in (found.names if all else names) if (spec := found.get(name))]
    if not specs:
        raise PluginError("--all: no distributor was found")
    return list(dict.fromkeys(specs))


class DistributorEngine:
    """The distributors of one process. `run` works until `stop` is called."""

    def __init__(
        self,
        coordination: Coordination,
        client: Client,
        specs: Sequence[DistributorSpec],
        settings: Namespace,
        failures: Mapping[str, str] | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        """Make the distributors. `failures`: file that did not import → reason, to be announced.

        Raises PluginError for a distributor that cannot be used.
        """
        self._coordination = coordination
        self._client = client
        self._settings = settings
        self._notifier = notifier or Notifier({})
        self._specs = {spec.name: spec for spec in specs}
        works = {spec.name: self._work(spec) for spec in specs}
        self._works = {name: work for name, (_, work) in works.items()}
        self._elections = {name: election for name, (election, _) in works.items()}
        for name, election in self._elections.items():
            if other := next((o for o, e in self._elections.items() if e == election and o != name), None):
                raise PluginError(f"distributors {name!r} and {other!r} share the election {election!r}: choose one")
        self._leaders = {name: Leader(election, coordination, work, name) for name, (election, work) in works.items()}
        self._stop = Event()
        info = about(
            distributors=sorted(works),
            elections=self._elections,
            timing=self._timing(),
            leftOut=left_out(failures or {}),
        )
        self._announcement = Announcement(coordination, ROLE, info, self._stop)
        self._code = ExitCode.SUCCESS

    def _timing(self) -> dict[str, dict[str, Any]]:
        """Return when each distributor with ticks fires."""
        return {name: work.timing for name, work in self._works.items() if isinstance(work, Ticking)}

    def _work(self, spec: DistributorSpec) -> tuple[str, Callable[[Leadership], None]]:
        """Return the election of a distributor, and the work that it does while it leads. Raises PluginError."""
        try:
            if spec.old:
                endless = Endless(spec, self._client, self._settings)
                return checked(endless.election), endless
            made = spec.target(self._client, self._settings)
            election = checked(getattr(made, "election", None) or spec.name)
            if isinstance(made, StoredSchedules):
                return election, partial(made.work, spec.name)
            return election, Ticking(plan(spec.name, made), made, self._client, self._coordination)
        except Exception as error:
            raise PluginError(f"distributor {spec.name!r} in {spec.source}: {type(error).__name__}: {error}") from error

    @property
    def leads(self) -> dict[str, bool]:
        """Whether this process leads each of its distributors."""
        return {name: leader.leads for name, leader in self._leaders.items()}

    @property
    def session(self) -> Session | None:
        """The present session with coordination."""
        return self._coordination.session

    def run(self, wait_for_name: bool = True) -> int:
        """Work until `stop`, and return the exit code of the process.

        Raises NameInUse when another live distributor has this name; with `wait_for_name` after a session timeout.
        """
        try:
            return self._run(wait_for_name)
        except NameInUse:
            self._coordination.close()
            raise

    def _run(self, wait_for_name: bool) -> int:
        greenlets = []
        if join(self._coordination, self._stop) and self._announcement.make(wait_for_name):
            greenlets = [supervise.spawn(name, each.run, self._failed) for name, each in self._leaders.items()]
            log.info("%s runs %s (tzdata %s)", self._coordination.name, ", ".join(self._leaders), zones.version())
            self._notifier.ready()
            self._stop.wait()
        self._notifier.stopping(2 * ENDING)
        gevent.killall(greenlets, timeout=2 * ENDING)
        self._coordination.close()
        log.info("%s has ended", self._coordination.name)
        return self._code

    def renew(self, specs: Sequence[DistributorSpec], failures: Mapping[str, str]) -> None:
        """Fire the next ticks in the code that was found anew, and announce the failures.

        A distributor that cannot be used, or of SlipStream's kind, goes on in its old code. Raises CoordinationError.
        """
        for spec in specs:
            if spec.name not in self._specs:
                log.warning("restart to run the distributor %s", spec.name)
            elif spec.target is not self._specs[spec.name].target:
                self._renew(spec)
        log.info("distributors were read again: %s", ", ".join(self._works))
        self._announcement.change(timing=self._timing(), leftOut=left_out(failures))

    def _renew(self, spec: DistributorSpec) -> None:
        running = self._works[spec.name]
        try:
            election, work = self._work(spec)
        except PluginError as error:
            log.error("%s goes on in its old code: %s", spec.name, error)
            return
        if election != self._elections[spec.name]:
            log.warning("restart to change the election of %s to %s: it goes on in its old code", spec.name, election)
        elif isinstance(running, Ticking) and isinstance(work, Ticking):
            running.renew(work)
            self._specs[spec.name] = spec
        else:
            log.warning("restart to run the new code of %s, which adds jobs at times of its own", spec.name)

    def stop(self) -> None:
        """Resign and end; may be called from any greenlet and from the hub."""
        self._stop.set()

    def _failed(self) -> None:
        """Stop with exit code 1, since a part of the process has failed."""
        self._code = ExitCode.FAILURE
        self.stop()
