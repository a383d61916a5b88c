"""Once a day: delete the jobs that ended long ago."""

from collections.abc import Iterator
from typing import Any

from geventjob import Distributor, distributor


@distributor("jobs_cleanup")
class JobsCleanup(Distributor):
    """The action, which SlipStream's engine has too, says how long ago, by `--cleanup-days`."""

    interval = 86_400
    election = "cleanup_jobs"  # as SlipStream's own, so that the two exclude each other

    def jobs(self) -> Iterator[dict[str, Any]]:
        yield {"action": "cleanup_jobs", "targetResource": {"href": "job"}}
