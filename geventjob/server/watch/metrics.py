"""Metrics of a server: jobs by what was written, the queue and the leaders when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from geventjob.cimi.document import Document
from geventjob.clock import boottime, moment_of
from geventjob.coordination.base import Coordination, CoordinationError
from geventjob.job.states import FINAL
from geventjob.metrics import SECONDS, SHORT, BoundedLabel, Observe, observe
from geventjob.server.store.watched import Written
from geventjob.server.watch.fleet import ELECTIONS

SHARE = 50.0
"""A look at a deep queue costs the coordination CPU: the figures are used for so many times as long as it took."""
LEAST = 5.0
"""Seconds for which the figures of the fleet are used at least."""


class JobMetrics:
    """Counts of jobs that this server has written."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._action = BoundedLabel()
        self._children: dict[tuple[Counter, tuple[str, ...]], Counter] = {}
        self._added = Counter("geventjob_jobs_added", "Jobs added", ["action"], registry=registry)
        self._ended = Counter("geventjob_jobs_ended", "Jobs ended", ["action", "outcome"], registry=registry)
        self._retried = Counter("geventjob_jobs_retried", "Failed runs tried again", ["action"], registry=registry)
        self._interrupted = Counter(
            "geventjob_jobs_interrupted", "Runs whose executor died", ["action"], registry=registry
        )
        self._held = Counter("geventjob_jobs_held", "Jobs that began to wait before the queue", ["why"],
                             registry=registry)  # fmt: skip
        self._promoted = Counter("geventjob_jobs_promoted", "Held jobs put into the queue", registry=registry)
        self._waiting = Histogram("geventjob_job_waiting_seconds", "Seconds from the add to the first run",
                                  registry=registry, buckets=SECONDS)  # fmt: skip
        self._running = Histogram("geventjob_job_running_seconds", "Seconds from the first run to the end",
                                  registry=registry, buckets=SECONDS)  # fmt: skip

    def _inc(self, counter: Counter, action: str, *values: str) -> None:
        """Add one to a counter of an action. Children are kept here: the library looks for them more slowly."""
        known = (self._action(action), *values)
        child = self._children.get((counter, known))
        if child is None:
            child = self._children[counter, known] = counter.labels(*known)
        child.inc()

    def note(self, written: Sequence[Written]) -> None:
        """Count what was written."""
        for before, after in written:
            if after is None:
                continue
            if before is None:
                self._inc(self._added, after["action"])
            else:
                self._changed(before, after)
            if "held" in after and (before is None or "held" not in before):
                self._held.labels(after["held"]["why"]).inc()

    def _changed(self, before: Document, after: Document) -> None:
        state = after["state"]
        if state in FINAL and before["state"] not in FINAL:
            self._inc(self._ended, after["action"], state.lower())
            if "started" in after:
                self._running.observe(_seconds(after["started"], after["updated"]))
        elif "started" in after and "started" not in before:
            self._waiting.observe(_seconds(after["created"], after["started"]))
        if after.get("retried", 0) > before.get("retried", 0):
            self._inc(self._retried, after["action"])
        if after.get("interruptions", 0) > before.get("interruptions", 0):
            self._inc(self._interrupted, after["action"])
        if "held" in before and "held" not in after and state == "QUEUED":
            self._promoted.inc()


def observe_store(registry: CollectorRegistry) -> Observe:
    """Register the time that calls to the store take, the wait for their turn included."""
    return observe(registry, "geventjob_store_seconds", "Seconds of a call to the store", "call", SHORT)


class FleetMetrics:
    """The queue, the executors and the leaders, asked for at most each few seconds."""

    def __init__(self, coordination: Coordination) -> None:
        self._coordination = coordination
        self._until = 0.0
        self._found: list[Metric] = []

    def collect(self) -> Iterable[Metric]:
        """Return the present figures; only the lease while coordination is away."""
        session, since = self._coordination.session, boottime()
        left = 0.0 if session is None else max(0.0, session.lease - since)
        yield GaugeMetricFamily("geventjob_server_lease_seconds", "Seconds that are left of the lease", left)
        if since >= self._until:
            try:
                self._found = self._look()
            except CoordinationError:
                return
            self._until = boottime() + max(LEAST, SHARE * (boottime() - since))
        yield from self._found

    def _look(self) -> list[Metric]:
        stats, executors = self._coordination.stats(1), self._coordination.members("executors").values()
        leaders = self._coordination.leaders(ELECTIONS)
        slots = sum(int(info.get("slots", 0)) for info in executors)
        leader = GaugeMetricFamily(
            "geventjob_leader", "Whether a server leads the election, and which", labels=["election", "server"]
        )
        for election in ELECTIONS:
            leader.add_metric([election, leaders.get(election, "")], float(election in leaders))
        return [
            GaugeMetricFamily("geventjob_queue_entries", "Entries in the queue, taken ones too", stats.entries),
            GaugeMetricFamily("geventjob_queue_taken", "Entries that an executor holds", stats.taken),
            GaugeMetricFamily("geventjob_queue_oldest_seconds", "Age of the first entry", stats.oldest or 0.0),
            GaugeMetricFamily("geventjob_executors", "Executors alive", len(executors)),
            GaugeMetricFamily("geventjob_executor_slots", "Slots of all executors", slots),
            leader,
        ]


def _seconds(start: str, end: str) -> float:
    return max(0.0, (moment_of(end) - moment_of(start)).total_seconds())
