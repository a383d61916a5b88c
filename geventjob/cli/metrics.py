"""The port with the metrics of an executor or a distributor, where `--metrics-port` names one."""

from __future__ import annotations

import logging
from collections.abc import Callable

from geventjob import supervise
from geventjob.config import Settings
from geventjob.metrics import REGISTRY, Collector, HubLag
from geventjob.metrics_port import MetricsPort

log = logging.getLogger(__name__)


def serve_metrics(settings: Settings, figures: Collector, why_not_ready: Callable[[], str | None]) -> None:
    """Serve metrics and health on the port of `--metrics-port`. Raises OSError."""
    REGISTRY.register(figures)
    address = settings.metrics_host, settings.metrics_port
    port = MetricsPort(address, REGISTRY, why_not_ready, settings.metrics_token)
    port.start()
    supervise.spawn("the look at the lag of the hub", HubLag(REGISTRY).run, supervise.end_process)
    log.info("metrics are at http://%s:%d/metrics", settings.metrics_host, port.port)
