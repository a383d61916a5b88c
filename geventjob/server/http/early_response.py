"""Responses that the HTTP server makes without the application: errors of the protocol, time-outs."""

from __future__ import annotations

import json
from http import HTTPStatus

from geventjob.server.problem import Problem

SECURITY_HEADERS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
"""Headers of every response: no cache keeps it, no browser guesses another type."""


def status_of(problem: Problem) -> str:
    """Return the status with its phrase, `404 Not Found`."""
    return f"{problem.status} {HTTPStatus(problem.status).phrase}"


def headers_and_body(problem: Problem) -> tuple[list[tuple[str, str]], bytes]:
    """Return the headers of the problem's body, and the body as JSON."""
    body = json.dumps(problem.body()).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if problem.retry_after is not None:
        headers.append(("Retry-After", str(problem.retry_after)))
    return headers, body


def whole_response(problem: Problem) -> tuple[str, bytes]:
    """Return the status and all bytes of a response that ends the connection."""
    status = status_of(problem)
    headers, body = headers_and_body(problem)
    lines = [f"HTTP/1.1 {status}", *map(": ".join, [*headers, *SECURITY_HEADERS]), "Connection: close", "", ""]
    return status, "\r\n".join(lines).encode("latin-1") + body
