"""Presence: the live processes of each role."""

from __future__ import annotations

import gevent
import pytest

from geventjob.clock import boottime
from geventjob.coordination.base import Coordination, NameInUse
from tests.contract.coordination.fleets import Fleet
from tests.support.waiting import eventually


def test_members_see_each_other_in_their_roles(member: Coordination, other: Coordination) -> None:
    assert member.members("executors") == {}
    member.announce("executors", {"slots": 5, "actions": ["a", "ü"]})
    other.announce("executors", {})
    other.announce("distributors", {"leads": None})
    assert member.members("executors") == {member.name: {"slots": 5, "actions": ["a", "ü"]}, other.name: {}}
    assert member.members("distributors") == {other.name: {"leads": None}}
    assert member.members("servers") == {}


def test_an_announcement_can_be_changed(member: Coordination, other: Coordination) -> None:
    for slots in (1, 2, 3):
        member.announce("executors", {"slots": slots})
        assert other.members("executors") == {member.name: {"slots": slots}}


def test_who_closes_is_gone_at_once(fleet: Fleet, member: Coordination) -> None:
    leaving = fleet.member()
    leaving.announce("executors", {})
    leaving.close()
    assert member.members("executors") == {}


def test_who_is_killed_is_gone_at_once(fleet: Fleet, member: Coordination) -> None:
    process = fleet.process()
    process.call("announce", "executors", {})
    assert list(member.members("executors")) == [process.name]
    process.kill()
    eventually(lambda: member.members("executors") == {}, within=fleet.death)


def test_who_is_frozen_is_gone_after_its_timeout_and_comes_back(fleet: Fleet, member: Coordination) -> None:
    process = fleet.process(timeout=fleet.short)
    process.call("announce", "executors", {"slots": 1})
    fleet.freeze(process)
    eventually(lambda: member.members("executors") == {}, within=fleet.short + 2)
    process.go_on()
    eventually(lambda: member.members("executors") == {process.name: {"slots": 1}}, within=fleet.short)


def test_an_announcement_outlives_a_lost_session(fleet: Fleet, other: Coordination) -> None:
    member = fleet.member(timeout=fleet.short)
    member.announce("executors", {"slots": 1})
    member.announce("executors", {"slots": 2})
    session = member.session
    fleet.expire(member)
    eventually(lambda: member.session is not session)
    eventually(lambda: other.members("executors") == {member.name: {"slots": 2}}, within=fleet.short)


def test_a_name_in_use_is_refused_after_a_session_timeout(fleet: Fleet, member: Coordination) -> None:
    member.announce("executors", {"slots": 1})
    double = fleet.member(name=member.name, timeout=fleet.short)
    began = boottime()
    with pytest.raises(NameInUse, match=member.name):
        double.announce("executors", {"slots": 2})
    assert fleet.short <= boottime() - began < fleet.short + 2
    assert member.members("executors") == {member.name: {"slots": 1}}
    double.announce("distributors", {})  # the same name in another role is free


def test_a_name_in_use_is_refused_at_once_if_one_does_not_wait(fleet: Fleet, member: Coordination) -> None:
    member.announce("executors", {"slots": 1})
    double = fleet.member(name=member.name)
    began = boottime()
    with pytest.raises(NameInUse, match=member.name):
        double.announce("executors", {"slots": 2}, wait=False)
    assert boottime() - began < 1
    double.announce("distributors", {}, wait=False)


def test_a_name_may_have_blanks(fleet: Fleet, member: Coordination) -> None:
    blank = fleet.member(name="M. Garrison")
    blank.announce("executors", {"slots": 1})
    assert member.members("executors") == {"M. Garrison": {"slots": 1}}
    leadership = blank.lead("one", 5)
    assert leadership
    assert member.leaders(["one"]) == {"one": "M. Garrison"}
    heard: list[dict[str, int]] = []
    blank.listen(heard.append)
    member.send("M. Garrison", {"n": 1})
    eventually(lambda: heard == [{"n": 1}])


def test_a_name_that_becomes_free_is_had(fleet: Fleet, member: Coordination) -> None:
    leaving = fleet.member(name="same")
    leaving.announce("executors", {"slots": 1})
    double = fleet.member(name="same")
    announcing = gevent.spawn(double.announce, "executors", {"slots": 2})
    gevent.sleep(0.2)
    assert member.members("executors") == {"same": {"slots": 1}}
    leaving.close()
    announcing.get(timeout=5)
    assert member.members("executors") == {"same": {"slots": 2}}


def test_a_process_that_is_started_again_has_its_name_at_once(fleet: Fleet, member: Coordination) -> None:
    process = fleet.process(name="same")
    process.call("announce", "executors", {"slots": 1})
    process.kill()
    again = fleet.process(name="same")
    began = boottime()
    again.call("announce", "executors", {"slots": 2})
    assert boottime() - began < fleet.death + 1
    assert member.members("executors") == {"same": {"slots": 2}}
