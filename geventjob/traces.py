"""Traces by OpenTelemetry (docs/how-to/traces.md). `--traces` alone loads this module, which needs the extra `otel`.

The environment variables `OTEL_…` say where spans go, and which: the SDK reads most of them by itself.
"""

from __future__ import annotations

import contextvars
import logging
import os
from collections import deque
from contextlib import suppress

import gevent
from gevent import Greenlet
from opentelemetry import context, trace
from opentelemetry.sdk.environment_variables import (
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_SCHEDULE_DELAY,
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, Tracer

from geventjob import supervise

log = logging.getLogger(__name__)

EXPORTER = "OTEL_TRACES_EXPORTER"
PROTOCOL = "http/protobuf"
LAST_EXPORT = 5.0
"""Seconds for the export of the last spans when the process ends."""


def start(service: str) -> Exporting | None:
    """Trace this process from now on, and return what exports the spans; None: nothing does.

    `service`: the name of the service, unless the environment has another one. Raises ValueError, which names a
    variable of the environment and what was expected.
    """
    exporter = _exporter()
    provider = TracerProvider(resource=_resource(service), shutdown_on_exit=False)
    exporting = Exporting(exporter) if exporter else None
    if exporting:
        provider.add_span_processor(exporting)
        supervise.spawn("the export of spans", exporting.run, supervise.end_process)
    trace.set_tracer_provider(provider)
    Greenlet.add_spawn_callback(hand_on)
    return exporting


def tracer() -> Tracer:
    """Return the tracer of geventjob's own spans."""
    return trace.get_tracer("geventjob")


def parent_of(traceparent: str | None) -> context.Context:
    """Return the context in which the children of a span begin, by its traceparent; an empty one without."""
    if traceparent is None:
        return context.Context()
    _, trace_id, span_id, flags = traceparent.split("-")
    parent = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return trace.set_span_in_context(NonRecordingSpan(parent), context.Context())


def hand_on(child: Greenlet[..., None]) -> None:
    """Let a greenlet that is spawned begin with the present span: gevent lets it begin without context variables.

    The other variables stay apart, as those of a library may hold what two greenlets must not change at once.
    """
    here = context.get_current()
    if here and child.gr_context is None:
        child.gr_context = contextvars.Context()
        child.gr_context.run(context.attach, here)


class Exporting(SpanProcessor):
    """Exports the spans that have ended in batches, by a greenlet of this process.

    Not by the SDK's BatchSpanProcessor, which starts a thread in each forked child: on gevent other greenlets then run
    there, even before an exec (docs/decisions/0044-traces-of-a-gevent-process.md).
    """

    def __init__(self, exporter: SpanExporter) -> None:
        """Read the sizes from the environment. Raises ValueError."""
        self._exporter = exporter
        self._pause = _number(OTEL_BSP_SCHEDULE_DELAY, 1_000) / 1_000
        self._most = _number(OTEL_BSP_MAX_QUEUE_SIZE, 20_000)
        self._batch = _number(OTEL_BSP_MAX_EXPORT_BATCH_SIZE, 512)
        self._ended: deque[ReadableSpan] = deque()
        self._dropped = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Keep a span for the next export. Safe in any thread."""
        if not span.context or not span.context.trace_flags.sampled:
            return
        if len(self._ended) < self._most:
            self._ended.append(span)
        else:
            self._dropped += 1

    def run(self) -> None:
        """Export for ever, at intervals."""
        while True:
            gevent.sleep(self._pause)
            self.export()

    def export(self) -> None:
        """Export the spans that have ended."""
        for _ in range(0, len(self._ended), self._batch):
            size = min(self._batch, len(self._ended))
            self._exporter.export([self._ended.popleft() for _ in range(size)])
        if self._dropped:
            log.warning("%d spans were dropped: at most %d wait for their export", self._dropped, self._most)
            self._dropped = 0

    def close(self) -> None:
        """Export the last spans, for LAST_EXPORT seconds at most."""
        with suppress(gevent.Timeout), gevent.Timeout(LAST_EXPORT):
            self.export()


def _exporter() -> SpanExporter | None:
    """Return the exporter that the environment names. Raises ValueError."""
    name = os.environ.get(EXPORTER) or "otlp"
    if name == "none":
        return None
    if name == "console":
        return ConsoleSpanExporter()
    if name != "otlp":
        raise ValueError(f"{EXPORTER}: expected otlp, console or none, not {name!r}")
    for variable in (OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, OTEL_EXPORTER_OTLP_PROTOCOL):
        protocol = os.environ.get(variable) or PROTOCOL
        if protocol != PROTOCOL:
            raise ValueError(f"{variable}: expected {PROTOCOL}, not {protocol!r}")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _resource(service: str) -> Resource:
    found = Resource.create()
    named = str(found.attributes["service.name"])
    return found.merge(Resource({"service.name": service})) if named.startswith("unknown_service") else found


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{variable}: expected an integer from 1, not {text!r}")
    return int(text)
