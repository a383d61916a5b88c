"""Searches of callers that have just written see the writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from geventjob.coordination.base import Coordination
from geventjob.server.accounts.caller import Caller
from geventjob.server.filter import parse
from geventjob.server.jobs import recent_writers as writers_module
from geventjob.server.jobs.lifecycle import Edit, JobEdit
from geventjob.server.jobs.recent_writers import MOMENT, RecentWriters
from geventjob.server.jobs.service import Jobs
from geventjob.server.store.base import Page, Query
from geventjob.server.store.sqlite import SqliteStore


def session(name: str) -> Caller:
    return Caller("super", frozenset({"ADMIN", "USER", "ANON", f"session/{name}"}))


WRITER, READER = session("writer"), session("reader")


class Asked(SqliteStore):
    """A store that records whether the last search had to be fresh."""

    fresh: bool | None = None

    def search(self, kind: str, query: Query) -> Page:
        self.fresh = query.fresh
        return super().search(kind, query)


class Nothing:
    """A queue that takes everything."""

    def put(self, items: Any) -> list[str]:
        return [f"/job/entries/entry-999-{number:010d}" for number in range(len(items))]

    def remove(self, entries: Any) -> list[bool]:
        return [True] * len(entries)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Asked]:
    made = Asked(tmp_path / "store.db")
    made.start()
    yield made
    made.close()


@pytest.fixture
def jobs(store: Asked) -> Jobs:
    return Jobs(store, cast(Coordination, Nothing()))


WRITES: dict[str, Callable[[Jobs, str], Any]] = {
    "add": lambda jobs, id: jobs.add([{"action": "a"}], WRITER),
    "edit": lambda jobs, id: jobs.edit([JobEdit(id, Edit({"name": "n"}))], WRITER),
    "stop": lambda jobs, id: jobs.stop(id, WRITER),
    "delete": lambda jobs, id: jobs.delete(id, WRITER),
    "delete all": lambda jobs, id: jobs.delete_all(parse("state='QUEUED'"), 10, WRITER),
}


@pytest.mark.parametrize("write", WRITES)
def test_only_the_session_that_has_written_searches_fresh(store: Asked, jobs: Jobs, write: str) -> None:
    [id] = jobs.add([{"action": "a"}], session("another"))
    jobs.search(Query(), WRITER)
    assert store.fresh is False
    WRITES[write](jobs, str(id))
    jobs.search(Query(), READER)
    assert store.fresh is False
    jobs.search(Query(), WRITER)
    assert store.fresh is True


def test_a_writer_is_forgotten_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    time = [1000.0]
    monkeypatch.setattr(writers_module, "boottime", lambda: time[0])
    writers = RecentWriters()
    writers.note(WRITER)
    time[0] += MOMENT - 1
    assert writers.wrote(WRITER)
    writers.note(READER)
    time[0] += 2
    assert (writers.wrote(WRITER), writers.wrote(READER)) == (False, True)
    writers.note(session("third"))
    assert len(writers._last) == 2
