"""A distributor whose every tick must make one job."""

from collections.abc import Iterator
from typing import Any

from geventjob import Distributor, distributor


@distributor("ticking")
class Ticking(Distributor):
    """Make a job with the number of each second."""

    interval = 1
    catchup = 1000
    unless_pending = False

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Yield the job of the tick."""
        yield {"action": "ticked", "name": "ticking", "payload": {"tick": round(self.tick.timestamp())}}
