"""Metrics of an executor: its runs by the hooks of their start and end, the rest when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from geventjob.clock import boottime
from geventjob.executor.decision import OUTCOMES, Decision
from geventjob.executor.engine import ExecutorEngine
from geventjob.executor.work import Work
from geventjob.metrics import SECONDS, BoundedLabel


class RunMetrics:
    """Counts of the runs of this executor."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._action = BoundedLabel()
        self._started = Counter("geventjob_runs_started", "Runs begun", ["action"], registry=registry)
        self._ended = Counter("geventjob_runs_ended", "Runs ended", ["action", "outcome"], registry=registry)
        self._seconds = Histogram("geventjob_run_seconds", "Seconds of a run", ["action"], registry=registry,
                                  buckets=SECONDS)  # fmt: skip

    def started(self, work: Work) -> None:
        """Count the start of a run."""
        assert work.job
        self._started.labels(self._action(work.job["action"])).inc()

    def ended(self, work: Work, decision: Decision) -> None:
        """Count the end of a run."""
        assert work.job
        action = self._action(work.job["action"])
        self._ended.labels(action, OUTCOMES[type(decision)]).inc()
        if work.running is not None:
            self._seconds.labels(action).observe(boottime() - work.running.started)


HELP = {
    "slots": "Slots of this executor",
    "running": "Jobs that this executor runs",
    "abandoned": "Actions that swallow their end and still run",
    "lease_seconds": "Seconds that are left of the lease",
    "reaches_server": "Whether the job server answers",
}
COUNTS = {
    "takes": "Claims taken from the queue",
    "take_collisions": "Takes that another executor was ahead of",
    "slices": "Time slices given to actions that compute",
}


class ExecutorFigures:
    """The present activity of an executor."""

    def __init__(self, engine: Callable[[], ExecutorEngine]) -> None:
        """`engine` returns the present engine: a process whose name is in use makes another one."""
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """Return the present figures."""
        for name, value in self._engine().figures().items():
            yield GaugeMetricFamily(f"geventjob_executor_{name}", HELP[name], value)
        for name, count in self._engine().counts().items():
            yield CounterMetricFamily(f"geventjob_{name}", COUNTS[name], count)

    def why_not_ready(self) -> str | None:
        """Return why this executor takes no jobs; None: it does, as far as slots are free."""
        return self._engine().why_not_ready()
