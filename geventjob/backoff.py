"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Iterator


def delays() -> Iterator[float]:
    """Seconds between tries: 0.1 doubling to 5, each with jitter so that processes do not come in step."""
    delay = 0.1
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, no secret)
        delay = min(5.0, delay * 2)
