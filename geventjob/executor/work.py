"""A claim in hand, from the take to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from geventjob.cimi.errors import Refused
from geventjob.coordination.base import Claim
from geventjob.executor.job import Job
from geventjob.executor.lines import Lines
from geventjob.executor.running import Running

LAST_WRITE = 10.0
"""Seconds that each write may take while the executor shuts down."""


@dataclass(eq=False)
class Work:
    """A claim and its progress. `Runner` drives it."""

    claim: Claim
    job: Job | None = None
    """The job; None until it is RUNNING in this executor."""
    attempt: bool = False
    """Whether the server may have the job RUNNING in the name of this claim."""
    slot: bool = True
    """Whether the claim occupies a slot of the pool. A claim that waits occupies none."""
    ends: bool = False
    """Whether its slot was freed before its outcome was written."""
    waiting: bool = False
    """Whether the claim waits for a condition before its action may begin."""
    stop: bool = False
    """Whether a stop of the job was requested."""
    giving_up: bool = False
    """Whether the executor shuts down and waits no longer for this claim."""
    refusal: Refused | None = None
    """The refusal by which an edit of the action learned about the loss of the job."""

    lines: Lines | None = None
    """The lines that its action has logged; None if there are none."""

    running: Running | None = None
    """Its action, once the code has begun."""
    record: dict[str, Any] | None = None
    """The record of the run when the engine ended it, for the server."""

    @property
    def beside(self) -> dict[str, Any]:
        """Return the fields of an edit at the end of the run: lines and record, as far as there are any."""
        return {**self.log, **({"record": self.record} if self.record else {})}

    @property
    def log(self) -> dict[str, Any]:
        """Return the field of an edit that takes the lines to the server; empty without lines."""
        return self.lines.field() if self.lines else {}

    @property
    def beginning(self) -> bool:
        """Return whether the job may be RUNNING for the server while its action has not begun."""
        return not (self.job or self.waiting)

    @property
    def patience(self) -> float | None:
        """Return the seconds that a write may take; None for as long as the claim holds."""
        return LAST_WRITE if self.giving_up else None
