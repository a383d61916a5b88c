"""Inboxes: messages in order, each handled at least once."""

from __future__ import annotations

import logging

import gevent
import pytest

from geventjob.coordination.base import Coordination
from tests.contract.coordination.fleets import Fleet
from tests.support.waiting import eventually


def test_messages_are_handled_in_order(member: Coordination, other: Coordination) -> None:
    got: list[object] = []
    member.listen(got.append)
    for n in range(50):
        other.send(member.name, {"n": n})
    eventually(lambda: len(got) == 50)
    assert got == [{"n": n} for n in range(50)]


def test_what_was_sent_before_anybody_listened_waits(fleet: Fleet, member: Coordination) -> None:
    for n in range(250):
        member.send("later", {"n": n, "text": "ü"})
    got: list[object] = []
    fleet.member(name="later").listen(got.append)
    eventually(lambda: len(got) == 250)
    assert got == [{"n": n, "text": "ü"} for n in range(250)]


def test_an_inbox_is_its_owner_s_alone(member: Coordination, other: Coordination) -> None:
    mine: list[object] = []
    theirs: list[object] = []
    member.listen(mine.append)
    other.listen(theirs.append)
    member.send(other.name, {"to": "other"})
    member.send(member.name, {"to": "me"})
    eventually(lambda: mine and theirs)
    assert (mine, theirs) == ([{"to": "me"}], [{"to": "other"}])


def test_a_process_has_an_inbox_for_each_topic(fleet: Fleet, member: Coordination) -> None:
    """A server and an executor may have one name: a message to one of them never reaches the other."""
    stops: list[object] = []
    wakes: list[object] = []
    fleet.member(name="same").listen(stops.append)
    fleet.member(name="same").listen(wakes.append, "promoter")
    member.send("same", {"to": "server"}, "promoter")
    member.send("same", {"to": "executor"})
    eventually(lambda: stops and wakes)
    assert (stops, wakes) == ([{"to": "executor"}], [{"to": "server"}])


def test_a_message_that_was_handled_does_not_come_back(fleet: Fleet, member: Coordination) -> None:
    first = fleet.member(name="same")
    got: list[object] = []
    first.listen(got.append)
    member.send("same", {"n": 1})
    eventually(lambda: got)
    first.send("nobody", {})  # the deletion was sent before this message
    first.close()
    member.send("same", {"n": 2})
    again: list[object] = []
    fleet.member(name="same").listen(again.append)
    eventually(lambda: again)
    assert again == [{"n": 2}]


def test_a_message_whose_handler_raises_is_logged_and_dropped(
    fleet: Fleet, member: Coordination, caplog: pytest.LogCaptureFixture
) -> None:
    first = fleet.member(name="same")
    got: list[object] = []

    def handle(message: dict[str, object]) -> None:
        got.append(message)
        if message["n"] == 1:
            raise gevent.Timeout(1)
        if message["n"] == 2:
            raise RuntimeError("cannot bear it")

    first.listen(handle)
    with caplog.at_level(logging.ERROR):
        for n in (1, 2, 3):
            member.send("same", {"n": n})
        eventually(lambda: len(got) == 3)
    assert "cannot bear it" in caplog.text
    first.send("nobody", {})
    first.close()
    member.send("same", {"n": 4})
    again: list[object] = []
    fleet.member(name="same").listen(again.append)
    eventually(lambda: again)
    assert again == [{"n": 4}]


def test_a_handler_may_take_its_time_and_call_coordination(member: Coordination, other: Coordination) -> None:
    got: list[object] = []

    def handle(message: dict[str, object]) -> None:
        gevent.sleep(0.05)
        got.append((message, member.stats().entries))

    member.listen(handle)
    other.send(member.name, {"n": 1})
    other.send(member.name, {"n": 2})
    eventually(lambda: len(got) == 2)
    assert got == [({"n": 1}, 0), ({"n": 2}, 0)]


def test_a_message_in_whose_handling_the_process_dies_comes_again(fleet: Fleet, member: Coordination) -> None:
    process = fleet.process(name="same")
    process.call("listen", {"n": 2})
    for n in (1, 2, 3):
        member.send("same", {"n": n})
    eventually(lambda: process.is_dead())
    process.kill()
    again = fleet.process(name="same")
    again.call("listen")
    eventually(lambda: {"n": 3} in again.call("messages"))
    assert again.call("messages")[-2:] == [{"n": 2}, {"n": 3}]


def test_an_inbox_is_read_again_after_a_lost_session(fleet: Fleet, other: Coordination) -> None:
    member = fleet.member(timeout=fleet.short)
    got: list[object] = []
    member.listen(got.append)
    other.send(member.name, {"n": 1})
    session = member.session
    fleet.expire(member)
    eventually(lambda: member.session is not session)
    other.send(member.name, {"n": 2})
    eventually(lambda: got == [{"n": 1}, {"n": 2}], within=fleet.short)


def test_a_message_that_is_no_json_is_refused(member: Coordination) -> None:
    with pytest.raises(TypeError):
        member.send("anybody", {"n": object})
