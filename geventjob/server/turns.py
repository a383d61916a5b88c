"""Work that holds the event loop for milliseconds is done one piece at a time, with turns for all others in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gevent
from gevent.lock import BoundedSemaphore

SMALL = 16 * 1024
"""Bytes of what is decoded or encoded at once, some 0.1 ms."""

_one = BoundedSemaphore(1)


@contextmanager
def turn(size: int) -> Iterator[None]:
    """Wait until nobody else decodes or encodes much, if this is much (`size` in bytes)."""
    if size <= SMALL:
        yield
        return
    with _one:
        gevent.sleep(0)
        yield
