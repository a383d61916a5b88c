"""Once a day: delete the jobs that ended long ago."""

from collections.abc import Iterator
from typing import Any

from geventjob import Distributor, distributor


@distributor("jobs_cleanup")
class JobsCleanup(Distributor):
    """The action of that name says how long ago, by `--cleanup-days`."""

    interval = 86_400

    def jobs(self) -> Iterator[dict[str, Any]]:
        yield {"action": "jobs_cleanup", "targetResource": {"href": "job"}}
