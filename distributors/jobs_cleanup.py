"""A distributor of a daily job for the deletion of old jobs."""

from collections.abc import Iterator
from typing import Any

from geventjob import Distributor, distributor


@distributor("jobs_cleanup")
class JobsCleanup(Distributor):
    """A distributor of `cleanup_jobs`, an action that SlipStream's engine has too."""

    interval = 86_400
    election = "cleanup_jobs"  # the name in SlipStream's engine, so that the two exclude each other

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Yield the job."""
        yield {"action": "cleanup_jobs", "targetResource": {"href": "job"}}
