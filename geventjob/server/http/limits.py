"""Limits of the HTTP server: sizes, times and numbers of connections."""

from __future__ import annotations

import resource
from dataclasses import dataclass


@dataclass(frozen=True)
class HttpLimits:
    """Bounds on each connection and on all of them. Times are in seconds."""

    idle: float = 75.0
    """Time that an authenticated connection may wait for its next request, and that a read or write may block."""
    anonymous_idle: float = 10.0
    """The same time for an anonymous connection."""
    head: float = 10.0
    """Time in which the request line and the headers must arrive."""
    head_size: int = 32 * 1024
    """Bytes of the headers."""
    request: float = 60.0
    """Time for one request, from its head to the end of the response."""
    connections: int = 2_000
    """Connections served at once; more connections wait in the kernel's backlog."""
    anonymous: int = 200
    """Anonymous connections among them."""
    keep_alive_share: float = 0.9
    """Share of `connections` above which each response ends its connection, so that idle connections leave room."""
    discard_size: int = 16 << 20
    """Bytes of a refused body that are read before the connection ends, so that the client sees the response."""
    discard_time: float = 2.0
    """Time for reading a refused body."""


def raise_open_file_limit(connections: int) -> None:
    """Raise the soft limit of open files for this many connections, up to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 200
    enough = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
