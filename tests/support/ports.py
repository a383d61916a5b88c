"""Ports of 127.0.0.1 for the servers of tests."""

from __future__ import annotations

import contextlib
import random
import socket

_drawn = random.SystemRandom()  # Hypothesis seeds the module's own generator: all processes would draw the same ports
_reserved: list[socket.socket] = []


def free_port() -> int:
    """Return a port below the range of outgoing connections, reserved among tests until this process ends.

    An abstract socket is the reservation: another process of tests may draw the port before a server listens there.
    """
    while True:
        port = _drawn.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as refused, socket.socket() as trial:
            reservation = refused.enter_context(socket.socket(socket.AF_UNIX))
            reservation.bind(f"\0geventjob-test-port-{port}")
            trial.bind(("127.0.0.1", port))
            refused.pop_all()
            _reserved.append(reservation)
            return port
