"""The question which jobs must stop, to servers that send messages of stops and to servers that send none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import gevent
import pytest

from geventjob.cimi.client import Client
from geventjob.clock import boottime
from geventjob.coordination.base import Claim, Session
from geventjob.executor import stop_poll
from geventjob.executor.running import Running
from geventjob.executor.stop_poll import INTERVAL, StopPoll
from geventjob.executor.watch import Watch
from tests.support.answering import Answering, Asked, Reply, answering
from tests.support.ports import free_port

ENTRY_POINT = {"resourceURI": "http://schemas.dmtf.org/cimi/2/CloudEntryPoint", "jobs": {"href": "job"}}


class Jobs:
    """The responses of a server of SlipStream's kind, or of geventjob's, with these STOPPED jobs."""

    entry_point = True

    def __init__(self, sends_stops: bool, *stopped: str) -> None:
        self.stopped = list(stopped)
        self.broken = False
        self.sends_stops = sends_stops

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/api/cloud-entry-point":
            return Reply(200, Answering.entry_point if self.sends_stops else ENTRY_POINT)
        if self.broken:
            return Reply(400, {"message": "a filter that the server does not know"})
        named = [id for id in self.stopped if self.sends_stops or f"'{id}'" in asked.form["$filter"][0]]
        return Reply(200, {"count": len(named), "jobs": [{"id": id, "state": "STOPPED"} for id in named]})


class Poll:
    """A poll for an executor that runs jobs since given times, and the ids that it stopped."""

    def __init__(self, client: Client) -> None:
        self.stopped: list[str] = []
        self._watch = Watch()
        self.poll = StopPoll(client, "me", self._watch, self.stopped.append)

    def runs(self, id: str, seconds: float = 0.0) -> None:
        """Let a job run here for so many seconds."""
        held = Claim("/job/entries/entry-999-0000000001", id, 1, 0.0, Session("1", 10.0))
        running = Running(held, job_id=id, action="a", timeout=None, preempt=False, abandoned=lambda ending: None)
        running.started = boottime() - seconds
        self._watch.running[gevent.Greenlet()] = running

    def close(self) -> None:
        self._watch.running.clear()
        self._watch.close()


@contextmanager
def asking(jobs: Jobs, url: str = "") -> Iterator[tuple[Answering, Poll]]:
    with answering(jobs) as server, Client(url or server.url, patience=0.1) as client:
        poll = Poll(client)
        try:
            yield server, poll
        finally:
            poll.close()


def searches(server: Answering) -> list[str]:
    """Return the filters of the searches for jobs."""
    return [asked.form["$filter"][0] for asked in server.asked if asked.path == "/api/job"]


def test_the_jobs_that_the_server_names_are_stopped() -> None:
    with asking(Jobs(False, "job/1", "job/2", "job/of-others")) as (_, poll):
        for id in ("job/1", "job/2", "job/3"):
            poll.runs(id)
        poll.poll.ask()
    assert sorted(poll.stopped) == ["job/1", "job/2"]


def test_only_jobs_that_have_run_for_so_long_are_named() -> None:
    with asking(Jobs(False, "job/old", "job/new")) as (server, poll):
        poll.runs("job/old", 6.0)
        poll.runs("job/new", 4.0)
        poll.poll.ask(older=5.0)
        [filter] = searches(server)
    assert "job/old" in filter
    assert "job/new" not in filter
    assert poll.stopped == ["job/old"]


def test_a_server_of_geventjob_is_asked_for_all_jobs_of_the_executor() -> None:
    with asking(Jobs(True, "job/1")) as (server, poll):
        poll.poll.ask()
        assert searches(server) == ["state='STOPPING' and executor='me'"]
    assert poll.stopped == ["job/1"]


def test_a_refusal_is_logged_and_the_next_question_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    jobs = Jobs(False, "job/1")
    with asking(jobs) as (_, poll):
        poll.runs("job/1")
        jobs.broken = True
        poll.poll.ask()
        assert poll.stopped == []
        assert "cannot ask which jobs shall stop: " in caplog.text
        jobs.broken = False
        poll.poll.ask()
    assert poll.stopped == ["job/1"]


class Over(Exception):
    """The rounds of a test are over."""


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let `run` go three rounds without a pause, and then raise Over. Return the pauses that it asked for."""
    made: list[float] = []

    def sleep(seconds: float) -> None:
        made.append(seconds)
        if len(made) == 4:
            raise Over

    monkeypatch.setattr(stop_poll, "gevent", SimpleNamespace(sleep=sleep))
    return made


def test_a_server_that_sends_no_stops_is_asked_in_each_round(pauses: list[float]) -> None:
    with asking(Jobs(False, "job/1")) as (server, poll):
        poll.runs("job/1", 60.0)
        with pytest.raises(Over):
            poll.poll.run()
        assert len(searches(server)) == 3
    assert poll.stopped == ["job/1"] * 3
    assert pauses == [INTERVAL] * 4


def test_jobs_younger_than_the_interval_are_not_asked_for(pauses: list[float]) -> None:
    with asking(Jobs(False, "job/1")) as (server, poll):
        poll.runs("job/1", INTERVAL / 2)
        with pytest.raises(Over):
            poll.poll.run()
        assert searches(server) == []
    assert len(pauses) == 4


def test_a_server_that_sends_stops_is_not_asked(pauses: list[float]) -> None:
    with asking(Jobs(True, "job/1")) as (server, poll):
        poll.runs("job/1", 60.0)
        with pytest.raises(Over):
            poll.poll.run()
        assert searches(server) == []
    assert len(pauses) == 4


def test_nothing_is_sent_while_no_job_runs(pauses: list[float]) -> None:
    with asking(Jobs(False, "job/1")) as (server, poll):
        with pytest.raises(Over):
            poll.poll.run()
        assert server.asked == [], "nor is the server asked for its dialect"
    assert len(pauses) == 4


def test_a_server_that_is_away_ends_no_round(pauses: list[float]) -> None:
    with asking(Jobs(False), f"http://127.0.0.1:{free_port()}") as (_, poll):
        poll.runs("job/1", 60.0)
        with pytest.raises(Over):
            poll.poll.run()
    assert len(pauses) == 4
