"""A claim in hand, from the take to its end."""

from __future__ import annotations

from dataclasses import dataclass

from geventjob.cimi.errors import Refused
from geventjob.coordination.base import Claim
from geventjob.executor.job import Job

LAST_WRITE = 10.0
"""Seconds that each write may take while the executor shuts down (DESIGN §5.10)."""


@dataclass(eq=False)
class Work:
    """One claim and how far it has come. `Runner` drives it."""

    claim: Claim
    job: Job | None = None
    """Set when the job is RUNNING here."""
    attempt: bool = False
    """Whether the server may have the job RUNNING in the name of this claim."""
    slot: bool = True
    """Whether it occupies a slot of the pool: while it only waits it does not."""
    waiting: bool = False
    """Whether it waits for something before its action may begin."""
    stop: bool = False
    """Whether somebody asked that the job be stopped."""
    giving_up: bool = False
    """Whether the executor shuts down and waits no longer."""
    refusal: Refused | None = None
    """The answer of the server that the job is no longer this executor's."""

    @property
    def beginning(self) -> bool:
        """Whether the job may be RUNNING for the server while its action has not begun."""
        return not (self.job or self.waiting)

    @property
    def patience(self) -> float | None:
        """Seconds that a write may take; None: as long as the claim holds."""
        return LAST_WRITE if self.giving_up else None
