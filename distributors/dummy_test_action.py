"""A job every fifteen seconds, for trying things out."""

from collections.abc import Iterator
from typing import Any

from geventjob import Distributor, distributor


@distributor("dummy_test_action")
class DummyTestAction(Distributor):
    """Keeps one job of `dummy_test_action` going."""

    interval = 15

    def jobs(self) -> Iterator[dict[str, Any]]:
        yield {"action": "dummy_test_action", "targetResource": {"href": "dummy"}}
