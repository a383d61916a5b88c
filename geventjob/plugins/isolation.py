"""The isolation of an action: a process of its own, and the bounds of the process."""

from __future__ import annotations

from argparse import ArgumentTypeError
from dataclasses import dataclass

from geventjob.config.kinds import size

LEAST_MEMORY = 64 * 1024 * 1024
"""Bytes. A process without any code of an action needs half of them."""


@dataclass(frozen=True)
class Isolation:
    """A process of its own."""

    memory: int | None = None
    """Most bytes of memory of the process; None for no limit."""


def isolation_of(isolation: object, memory: object) -> Isolation | None:
    """Return the isolation that `@action` asks for; None for none. Raises ValueError."""
    if isolation not in (None, "process"):
        raise ValueError(f"isolation is 'process' or None, not {isolation!r}")
    if memory is None:
        return Isolation() if isolation else None
    if isolation is None:
        raise ValueError("memory is a limit of a process: it needs isolation='process'")
    try:
        most = memory if type(memory) is int else size(str(memory))
    except ArgumentTypeError:
        most = 0
    if most < LEAST_MEMORY:
        raise ValueError(f"memory is bytes, as '512m' or '2g', of at least 64m, not {memory!r}")
    return Isolation(most)
