"""Admission control of expensive requests."""

from __future__ import annotations

from contextlib import ExitStack

import gevent
import pytest
from gevent.event import Event

from geventjob.server.http import admission
from geventjob.server.http.admission import AdmissionLimit
from geventjob.server.problem import Problem


class Clients:
    """Callers that hold a permit until `leave`; `entered` lists them in the order of their turns."""

    def __init__(self, limit: AdmissionLimit) -> None:
        self.limit = limit
        self.entered: list[str] = []
        self._leave: dict[str, Event] = {}
        self._gone: set[str] = set()

    def ask(self, name: str) -> gevent.Greenlet[[], None]:
        """Start a request: `ann1` is a request of `ann`."""
        self._leave[name] = Event()

        def hold() -> None:
            with self.limit.permit(name.rstrip("0123456789"), lambda: name in self._gone):
                self.entered.append(name)
                self._leave[name].wait()

        greenlet = gevent.spawn(hold)
        gevent.sleep(0)
        return greenlet

    def leave(self, name: str) -> None:
        self._leave[name].set()
        gevent.sleep(0.01)

    def go_away(self, name: str) -> None:
        self._gone.add(name)


def test_callers_take_turns() -> None:
    clients = Clients(AdmissionLimit(1, 1))
    for name in ("ann1", "ann2", "ann3", "bob1", "cid1"):
        clients.ask(name)
    for name in ("ann1", "ann2", "bob1", "cid1", "ann3"):
        assert clients.entered[-1] == name
        clients.leave(name)


def test_a_caller_gets_no_more_than_a_share() -> None:
    clients = Clients(AdmissionLimit(3, 1))
    for name in ("ann1", "ann2", "bob1"):
        clients.ask(name)
    assert clients.entered == ["ann1", "bob1"]
    clients.leave("bob1")
    assert clients.entered == ["ann1", "bob1"]
    clients.leave("ann1")
    assert clients.entered == ["ann1", "bob1", "ann2"]


def test_waiting_requests_are_bounded() -> None:
    clients = Clients(AdmissionLimit(1, 1, waiting=2, all_waiting=3))
    for name in ("ann1", "ann2", "ann3"):
        clients.ask(name)
    with pytest.raises(Problem) as refused:
        clients.ask("ann4").get()
    assert (refused.value.status, refused.value.retry_after) == (503, 2)
    clients.ask("bob1")
    with pytest.raises(Problem):
        clients.ask("bob2").get()
    for name in ("ann1", "ann2", "bob1", "ann3"):
        clients.leave(name)
    assert clients.entered == ["ann1", "ann2", "bob1", "ann3"]


def test_a_request_whose_client_is_gone_is_dropped() -> None:
    clients = Clients(AdmissionLimit(1, 1))
    clients.ask("ann1")
    gone = clients.ask("bob1")
    clients.ask("cid1")
    clients.go_away("bob1")
    clients.leave("ann1")
    assert clients.entered == ["ann1", "cid1"]
    with pytest.raises(Problem):
        gone.get()


def test_a_request_that_is_killed_releases_its_permit() -> None:
    clients = Clients(AdmissionLimit(1, 1))
    clients.ask("ann1")
    waits = clients.ask("bob1")
    turn = clients.ask("cid1")
    waits.kill()
    clients.ask("dan1")
    clients._leave["ann1"].set()
    turn.kill(block=False)
    gevent.sleep(0.01)
    if clients.entered[-1] == "cid1":
        clients.leave("cid1")
    assert clients.entered[-1] == "dan1"


def test_the_wait_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_WAIT", 0.01)
    with ExitStack() as held:
        limit = AdmissionLimit(1, 1)
        held.enter_context(limit.permit("ann"))
        with pytest.raises(Problem, match="are waiting already"):
            held.enter_context(limit.permit("bob"))
    with limit.permit("bob"):
        pass


def test_the_event_loop_turns_before_a_waiting_request_starts() -> None:
    clients = Clients(AdmissionLimit(1, 1, pause=0.05))
    clients.ask("ann1")
    clients.ask("bob1")
    clients._leave["ann1"].set()
    turns = 0
    with gevent.Timeout(5):
        while clients.entered[-1] != "bob1":
            turns += 1
            gevent.sleep(0)
    assert turns > 10
