"""A name for each process, where several units were given the same name."""

from __future__ import annotations

import pytest

from geventjob.coordination.base import CoordinationError, NameInUse
from geventjob.coordination.naming import Numbered


class Named:
    """An engine with a name. `run` raises NameInUse while another process has the name."""

    used = frozenset({"a", "a-2"})

    def __init__(self, name: str) -> None:
        self.name = name
        self.stops = 0

    def run(self, wait: bool) -> int:
        if self.name in self.used:
            raise NameInUse(f"{self.name} is in use")
        return 7

    def stop(self) -> None:
        self.stops += 1


def test_the_first_free_name_is_used_and_only_the_own_name_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    tried: list[tuple[str, bool]] = []
    numbered = Numbered("a", Named)

    def run(engine: Named, wait: bool) -> int:
        tried.append((engine.name, wait))
        return engine.run(wait)

    assert numbered.run(run) == 7
    assert tried == [("a", True), ("a-2", False), ("a-3", False)]
    assert numbered.engine.name == "a-3"
    assert [record.getMessage() for record in caplog.records] == [
        "a is in use: this process is called a-2",
        "a-2 is in use: this process is called a-3",
    ]


def test_a_free_name_is_kept() -> None:
    numbered = Numbered("b", Named)
    assert numbered.run(Named.run) == 7
    assert numbered.engine.name == "b"


def test_stops_before_the_last_name_was_found_reach_its_engine() -> None:
    """The second stop of a user means: now."""
    engines: list[Named] = []
    numbered = Numbered("a", lambda name: engines.append(Named(name)) or engines[-1])

    def run(engine: Named, wait: bool) -> int:
        if engine.name == "a":
            numbered.stop()
            numbered.stop()
        return engine.run(wait)

    numbered.run(run)
    assert [engine.stops for engine in engines] == [2, 2, 2]
    numbered.stop()
    assert [engine.stops for engine in engines] == [2, 2, 3]


def test_other_errors_are_raised() -> None:
    def run(engine: Named, wait: bool) -> int:
        raise CoordinationError("no")

    numbered = Numbered("a", Named)
    with pytest.raises(CoordinationError, match="no"):
        numbered.run(run)
    assert numbered.engine.name == "a"
