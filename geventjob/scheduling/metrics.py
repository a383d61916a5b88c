"""Metrics of a distributor process: which of its distributors lead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from geventjob.clock import boottime
from geventjob.coordination.base import Session


class DistributorFigures:
    """The present activity of a distributor process."""

    def __init__(self, leads: Callable[[], Mapping[str, bool]], session: Callable[[], Session | None]) -> None:
        self._leads = leads
        self._session = session

    def collect(self) -> Iterable[Metric]:
        """Return the present figures."""
        metric = GaugeMetricFamily(
            "geventjob_distributor_leads", "Whether this process leads the distributor", labels=["distributor"]
        )
        for name, leads in self._leads().items():
            metric.add_metric([name], float(leads))
        yield metric
        session = self._session()
        left = 0.0 if session is None else max(0.0, session.lease - boottime())
        yield GaugeMetricFamily("geventjob_distributor_lease_seconds", "Seconds that are left of the lease", left)

    def why_not_ready(self) -> str | None:
        """Return why this process cannot lead; None: it can."""
        session = self._session()
        return "the queue is out of reach" if session is None or session.over else None
