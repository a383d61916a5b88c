"""A distributor of a test job every fifteen seconds."""

from collections.abc import Iterator
from typing import Any

from geventjob import Distributor, distributor


@distributor("dummy_test_action")
class DummyTestAction(Distributor):
    """Adds `dummy_test_action`, unless the job before is pending."""

    interval = 15

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Yield the job."""
        yield {"action": "dummy_test_action", "targetResource": {"href": "dummy"}}
