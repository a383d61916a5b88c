"""Writes wait for a server that is away for as long as the claim holds."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from geventjob.cimi.errors import CimiError, Conflict, ForeignAnswer, Invalid, LoginRefused, Refused, ServerAway
from geventjob.clock import boottime
from geventjob.coordination.base import Claim, Session
from geventjob.executor.writes import BATCH, WORTH, ClaimLost, OutOfPatience, Writes
from geventjob.server.resources.bulk import MANY_EDITS


class Server:
    """A client whose server comes and goes as the test sets. `requests` holds the edits that were sent."""

    def __init__(self) -> None:
        self.away: bool | Exception = False
        self.limit = 10**9
        """Characters of a statusMessage that pass."""
        self.answers: dict[str, dict[str, Any] | Exception] = {}
        self.answer: Callable[[dict[str, Any]], Any] = lambda edit: {"id": edit["id"], **edit["set"]}
        """The answer to all others."""
        self.requests: list[list[dict[str, Any]]] = []
        self.probes = 0
        self.dialect = Namespace(forgives=True)

    def search(self, kind: str, **parameters: Any) -> dict[str, Any]:
        self.probes += 1
        if self.away:
            raise ServerAway("no connection")
        return {"count": 0}

    def bulk_edit(
        self, edits: list[dict[str, Any]], *, actions: Any = None, held: Any = None
    ) -> list[dict[str, Any] | Exception]:
        away = self.away
        gevent.sleep(0)
        if away:
            raise ServerAway("no connection") if away is True else away
        self.requests.append(edits)
        if len(edits[0]["set"].get("statusMessage", "")) > self.limit:
            return [Invalid(413, "too large")]
        return [self.answers.get(edit["id"], self.answer(edit)) for edit in edits]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def writes(server: Server) -> Writes:
    return Writes(server, "me", lambda: ["one"])  # type: ignore[arg-type]


def claim(name: str = "job/1") -> Claim:
    session = Session("s", 10)
    session.renew(boottime(), 1)
    return Claim(f"/job/entries/{name}", name, 7, 0.0, session)


def test_a_write_carries_its_owner(server: Server, writes: Writes) -> None:
    assert writes.write(claim(), {"progress": 3}) == {"id": "job/1", "progress": 3}
    expected = {"set": {"progress": 3}, "entry": "/job/entries/job/1", "fence": 7, "executor": "me"}
    assert server.requests == [[{"id": "job/1", **expected}]]


def test_a_begin_may_carry_the_most_interruptions(server: Server, writes: Writes) -> None:
    writes.write(claim(), {"state": "RUNNING"}, beside={"maxInterruptions": 1})
    assert server.requests[0][0]["maxInterruptions"] == 1


def lost(name: str = "job/1") -> Claim:
    gone = claim(name)
    gone.session.end()
    return gone


def test_an_attempt_of_a_lost_claim_is_told_of_whatever_the_answer(server: Server, writes: Writes) -> None:
    server.answers["job/2"] = Conflict(409, "not yours", reason="fence")
    for name in ("job/1", "job/2"):
        writes.report_end(lost(name))
    assert [edits[0]["set"] for edits in server.requests] == [{"state": "QUEUED"}] * 2
    assert server.requests[0][0]["fence"] == 7


def test_a_telling_waits_for_a_server_that_is_away(server: Server, writes: Writes) -> None:
    server.away = True
    telling = gevent.spawn(writes.report_end, lost())
    gevent.sleep(0.3)
    server.away = False
    telling.get(timeout=10)
    assert len(server.requests) == 1
    server.away = True
    with pytest.raises(OutOfPatience):
        writes.report_end(lost(), patience=0.2)


def test_a_server_without_fences_is_told_nothing_of_a_lost_claim(server: Server, writes: Writes) -> None:
    server.dialect.forgives = False
    writes.report_end(lost())
    assert server.requests == []


def test_writes_that_gather_are_one_request(server: Server, writes: Writes) -> None:
    greenlets = [gevent.spawn(writes.write, claim(f"job/{n}"), {"progress": n}) for n in range(50)]
    gevent.joinall(greenlets, raise_error=True)
    assert sum(map(len, server.requests)) == 50
    assert len(server.requests) <= 2


def test_a_batch_has_as_many_edits_as_the_server_takes_without_a_permit(server: Server, writes: Writes) -> None:
    assert BATCH <= MANY_EDITS
    callers = [gevent.spawn(writes.write, claim(f"job/{number}"), {"progress": 3}) for number in range(250)]
    gevent.joinall(callers, raise_error=True)
    assert sum(map(len, server.requests)) == 250
    assert max(map(len, server.requests)) == BATCH


def test_an_outcome_waits_for_an_earlier_write_of_its_claim_and_no_other_does(server: Server, writes: Writes) -> None:
    first, edit, go = claim(), server.bulk_edit, Event()

    def bulk_edit(edits: list[dict[str, Any]], **more: Any) -> list[dict[str, Any] | Exception]:
        if edits[0]["set"] == {"progress": 3}:
            go.wait()
        return edit(edits, **more)

    server.bulk_edit = bulk_edit  # type: ignore[method-assign]
    early = gevent.spawn(writes.write, first, {"progress": 3})
    gevent.idle()
    outcome = gevent.spawn(writes.write, first, {"state": "SUCCESS"})
    others = [gevent.spawn(writes.write, claim(f"job/{n}"), {"progress": 4}) for n in range(2, 2 + WORTH)]
    gevent.joinall(others, timeout=10, raise_error=True)
    assert [[edit["id"] for edit in edits] for edits in server.requests] == [[f"job/{n}" for n in range(2, 2 + WORTH)]]
    go.set()
    gevent.joinall([early, outcome], timeout=10, raise_error=True)
    assert [edits[0]["set"] for edits in server.requests[1:]] == [{"progress": 3}, {"state": "SUCCESS"}]


def test_a_refusal_concerns_its_job_alone(server: Server, writes: Writes) -> None:
    server.answers["job/2"] = Conflict(409, "not yours", reason="fence")
    greenlets = [gevent.spawn(writes.write, claim(f"job/{n}"), {"progress": n}) for n in range(4)]
    gevent.joinall(greenlets)
    assert [isinstance(greenlet.exception, Refused) for greenlet in greenlets] == [False, False, True, False]


def test_what_is_in_hand_waits_and_is_told_of_once(
    server: Server, writes: Writes, caplog: pytest.LogCaptureFixture
) -> None:
    server.away = True
    with caplog.at_level(logging.WARNING):
        waiting = [gevent.spawn(writes.write, claim(f"job/{n}"), {"state": "SUCCESS"}) for n in range(10)]
        gevent.sleep(0.5)
        assert not writes.up.is_set()
        server.away = False
        gevent.joinall(waiting, raise_error=True)
    assert writes.up.is_set()
    assert [record.message.split(",")[0] for record in caplog.records] == ["the server is away", "the server is back"]
    assert sorted(edit["id"] for request in server.requests for edit in request) == [f"job/{n}" for n in range(10)]


def test_patience_ends_and_the_write_is_not_sent_later(server: Server, writes: Writes) -> None:
    server.away = True
    with pytest.raises(OutOfPatience):
        writes.write(claim(), {"state": "RUNNING"}, patience=0.2)
    server.away = False
    writes.connect()
    assert server.requests == []


def test_a_lost_claim_writes_nothing(server: Server, writes: Writes) -> None:
    lost = claim()
    lost.session.end()
    with pytest.raises(ClaimLost):
        writes.write(lost, {"state": "SUCCESS"})
    assert server.requests == []


def test_a_claim_that_is_lost_while_the_server_is_away_writes_nothing_later(server: Server, writes: Writes) -> None:
    server.away = True
    losing = claim()
    waiting = gevent.spawn(writes.write, losing, {"state": "SUCCESS"})
    gevent.sleep(0.1)
    losing.session.end()
    server.away = False
    waiting.join()
    assert isinstance(waiting.exception, ClaimLost)
    assert server.requests == []


def test_a_job_that_the_server_cannot_write_does_not_hold_up_the_others(server: Server, writes: Writes) -> None:
    server.answers["job/bad"] = ServerAway("500 for this one")
    stuck = gevent.spawn(writes.write, claim("job/bad"), {"progress": 1})
    good = gevent.spawn(writes.write, claim("job/good"), {"progress": 1})
    assert good.get(timeout=5)["id"] == "job/good"
    assert writes.up.is_set()
    server.answers.clear()
    assert stuck.get(timeout=5)["id"] == "job/bad"


def test_connect_waits_for_the_server(server: Server, writes: Writes) -> None:
    server.away = True
    connecting = gevent.spawn(writes.connect)
    gevent.sleep(0.2)
    assert not connecting.dead
    server.away = False
    connecting.get(timeout=5)
    assert writes.up.is_set()
    assert server.probes >= 2


def test_a_log_in_that_is_refused_waits_as_a_server_that_is_away(server: Server, writes: Writes) -> None:
    server.away = LoginRefused("no", status=403)
    waiting = gevent.spawn(writes.write, claim(), {"state": "SUCCESS"})
    gevent.sleep(0.1)
    assert not waiting.dead
    assert not writes.up.is_set()
    server.away = False
    assert waiting.get(timeout=10)["state"] == "SUCCESS"


def test_an_outcome_that_is_too_large_keeps_its_state_and_says_so(server: Server, writes: Writes) -> None:
    server.limit = 1000
    job = writes.write(claim(), {"state": "SUCCESS", "returnCode": 0, "statusMessage": "m" * 30_000})
    assert (job["state"], job["returnCode"]) == ("SUCCESS", 0)
    assert job["statusMessage"] == "m" * 200 + "… (30000 characters, too many for a proxy on the way to the server)"


def test_what_an_action_writes_and_is_too_large_is_its_own_error(server: Server, writes: Writes) -> None:
    server.answers["job/1"] = Invalid(413, "too large")
    with pytest.raises(Invalid):
        writes.write(claim(), {"affectedResources": []})


@pytest.mark.parametrize("error", [Invalid(400, "unknown field `log`"), Invalid(413, "x"), ForeignAnswer("blocked")])
def test_lines_and_a_record_that_are_refused_fail_no_job(server: Server, writes: Writes, error: CimiError) -> None:
    def answer(edit: dict[str, Any]) -> Any:
        return error if edit.keys() & {"log", "record"} else {**edit, **edit["set"]}

    server.answer = answer
    beside = {"log": {"at": 0, "text": "drop table x\n"}, "record": {}, "failure": {"type": "x", "message": "m"}}
    job = writes.write(claim(), {"state": "FAILED"}, beside=beside)
    assert (job["state"], job["failure"]["message"]) == ("FAILED", "m")


def test_what_is_no_json_is_an_error_of_its_writer_alone(server: Server, writes: Writes) -> None:
    good = [gevent.spawn(writes.write, claim(f"job/{n}"), {"progress": n}) for n in range(3)]
    bad = [gevent.spawn(writes.write, claim(), {"properties": value}) for value in (float("nan"), object())]
    gevent.joinall(good, raise_error=True)
    gevent.joinall(bad)
    assert [type(greenlet.exception) for greenlet in bad] == [ValueError, TypeError]


def test_a_refusal_by_a_proxy_of_one_edit_is_told_once_and_waits(
    server: Server, writes: Writes, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers["job/1"] = ForeignAnswer("PUT answered 403", status=403)
    with caplog.at_level(logging.WARNING):
        waiting = gevent.spawn(writes.write, claim(), {"state": "SUCCESS"})
        gevent.sleep(0.5)
        server.answers.clear()
        assert waiting.get(timeout=10)["state"] == "SUCCESS"
    assert len(server.requests) > 2
    assert [record.message for record in caplog.records] == [
        "job/1: the server could not take an edit: PUT answered 403"
    ]


def test_a_refusal_of_what_is_lost_is_its_loss(server: Server, writes: Writes) -> None:
    losing = claim()
    server.answers["job/1"] = Conflict(409, "lost before it was sent", reason="fence")
    waiting = gevent.spawn(writes.write, losing, {"state": "SUCCESS"})
    gevent.sleep(0)
    losing.session.end()
    waiting.join()
    assert isinstance(waiting.exception, ClaimLost)
