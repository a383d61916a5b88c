"""The port with the metrics of an executor or a distributor, where `--metrics-port` names one."""

from __future__ import annotations

import logging
from collections.abc import Callable

from geventjob import supervise
from geventjob.batch import Batcher
from geventjob.config import Settings
from geventjob.coordination.base import Coordination
from geventjob.coordination.measured import measure
from geventjob.metrics import REGISTRY, Collector, HubLag, observe_batches, observe_queue
from geventjob.metrics_port import MetricsPort

log = logging.getLogger(__name__)


def measured(open_: Callable[[str], Coordination]) -> Callable[[str], Coordination]:
    """Return `open_`, a function that opens coordination under a name, with calls and batches that are measured."""
    queue, Batcher.measure = observe_queue(REGISTRY), observe_batches(REGISTRY)

    def opened(name: str) -> Coordination:
        coordination = open_(name)
        measure(coordination, queue)
        return coordination

    return opened


def serve_metrics(settings: Settings, figures: Collector, why_not_ready: Callable[[], str | None]) -> None:
    """Serve metrics and health on the port of `--metrics-port`. Raises OSError."""
    REGISTRY.register(figures)
    address = settings.metrics_host, settings.metrics_port
    port = MetricsPort(address, REGISTRY, why_not_ready, settings.metrics_token)
    port.start()
    supervise.spawn("the look at the lag of the hub", HubLag(REGISTRY).run, supervise.end_process)
    log.info("metrics are at http://%s:%d/metrics", settings.metrics_host, port.port)
