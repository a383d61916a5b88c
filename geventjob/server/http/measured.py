"""Middleware that measures requests by route, method and status."""

from __future__ import annotations

import falcon
from prometheus_client import CollectorRegistry, Counter, Histogram

from geventjob.clock import boottime
from geventjob.metrics import SHORT

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class Measured:
    """Falcon middleware around the resources, and without the sending of the response."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "geventjob_http_requests", "Requests answered", ["route", "method", "status"], registry=registry
        )
        self._seconds = Histogram(
            "geventjob_http_request_seconds", "Seconds until the answer is made", ["route"], registry=registry,
            buckets=SHORT,
        )  # fmt: skip

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Note the beginning of a request."""
        req.context.began = boottime()

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: object, succeeded: bool) -> None:
        """Count the request. Its route is the template of the path, and `none` for a path without a route."""
        route = req.uri_template or "none"
        method = req.method if req.method in METHODS else "other"
        self._requests.labels(route, method, str(resp.status_code)).inc()
        self._seconds.labels(route).observe(boottime() - req.context.began)
