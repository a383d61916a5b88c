"""Metrics of a process in the text format of Prometheus, by its client library (docs/how-to/monitor.md)."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import gevent
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric

from geventjob.clock import boottime

Observe = Callable[[str, float], None]
"""Counts a value of one label in a histogram."""
REGISTRY = CollectorRegistry()
"""The metrics of this process."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
"""Bounds of the histograms of durations."""
SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Bounds of the histograms of requests."""
MOST_VALUES = 100
"""Different values of a label that names come in, as the action of a job; all others are OTHER."""
OTHER = "other"
ITEMS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Bounds of the histogram of batches."""
LOOK = 1.0
"""Seconds between two looks at the lag of the hub."""


class Collector(Protocol):
    """Metrics that are read when they are asked for."""

    def collect(self) -> Iterable[Metric]:
        """Return the present values."""


class BoundedLabel:
    """The values of a label: the first MOST_VALUES as they are, so that no input makes the metrics grow."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return the value, or OTHER."""
        if value not in self._known:
            if len(self._known) >= MOST_VALUES:
                return OTHER
            self._known.add(value)
        return value


def text(registry: CollectorRegistry) -> bytes:
    """Return the metrics as text."""
    return generate_latest(registry)


class HubLag:
    """How late the event loop runs what is due: a measure of code that computes or blocks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lag = Gauge("geventjob_hub_lag_seconds", "Delay of the event loop at the last look", registry=registry)
        self._lags = Histogram(
            "geventjob_hub_delay_seconds", "Delay of the event loop, looked at each second", registry=registry,
            buckets=SHORT,
        )  # fmt: skip

    def run(self) -> None:
        """Look for ever. Does not return."""
        while True:
            due = boottime() + LOOK
            gevent.sleep(LOOK)
            lag = max(0.0, boottime() - due)
            self._lag.set(lag)
            self._lags.observe(lag)


def observe(registry: CollectorRegistry, name: str, about: str, label: str, bounds: Sequence[float]) -> Observe:
    """Register a histogram with one label. Return the function that counts a value."""
    histogram = Histogram(name, about, [label], registry=registry, buckets=bounds)
    return lambda which, value: histogram.labels(which).observe(value)


def observe_queue(registry: CollectorRegistry) -> Observe:
    """Register the time that calls of coordination take (coordination/measured.py)."""
    return observe(registry, "geventjob_queue_seconds", "Seconds of a call to the queue", "call", SHORT)


def observe_batches(registry: CollectorRegistry) -> Observe:
    """Register the sizes of batches (batch.py)."""
    return observe(registry, "geventjob_batch_items", "Items sent together", "batch", ITEMS)


def is_authorized(header: str | None, token: str) -> bool:
    """Return whether a header `Authorization: Bearer …` has this token."""
    scheme, _, given = (header or "").strip().partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
