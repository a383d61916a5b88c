"""The limits that the operator has set for the jobs of an executor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from geventjob.cimi.document import Document
from geventjob.plugins import ActionSpec


@dataclass
class JobLimits:
    """Options by their names (docs/reference/options.md); times in seconds, None for no limit."""

    threads: int = 100
    cimi_patience: float = 120.0
    not_found_grace: float = 5.0
    unknown_grace: float = 60.0
    max_interruptions: int = 5
    action_timeout: float | None = None
    max_timeout: float | None = None
    shutdown_timeout: float = 120.0
    max_rss: int | None = None
    """Bytes of memory above which the executor ends in good order."""
    max_jobs_per_process: int = 100
    """Jobs that run one after another in the process of an action with `isolation="process"`."""
    timeouts: Mapping[str, float] = field(default_factory=dict)
    """Seconds by action, from the section `[timeouts]` of the ini file."""

    def renew(self, other: JobLimits) -> None:
        """Take over all limits of another but the number of threads."""
        for name in set(vars(self)) - {"threads"}:
            setattr(self, name, getattr(other, name))

    def timeout(self, job: Document, action: ActionSpec) -> float | None:
        """Return the timeout of a job: its own, the ini file's, the decorator's or the default, within the maximum.

        The first of these that is set counts.
        """
        given = (job.get("timeout"), self.timeouts.get(action.name), action.timeout, self.action_timeout)
        chosen = [seconds for seconds in given if seconds is not None][:1]
        most = [self.max_timeout] if self.max_timeout is not None else []
        return min((float(seconds) for seconds in chosen + most), default=None)

    def suspects(self, interruptions: int) -> int:
        """Return how many jobs with so many interruptions may run here at once."""
        return max(1, self.threads >> 3 * (interruptions - 1))
