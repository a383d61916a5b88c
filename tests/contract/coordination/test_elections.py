"""Elections, and the notes under their names."""

from __future__ import annotations

import random
from functools import partial
from itertools import pairwise
from typing import Any

import gevent
import pytest

from geventjob.clock import boottime
from geventjob.coordination.base import Coordination, CoordinationAway, Leadership, LeadershipOver
from tests.contract.coordination.fleets import Fleet
from tests.support.waiting import eventually


def standing(coordination: Coordination, election: str = "e") -> gevent.Greenlet[..., Any]:
    """Return a greenlet that is a candidate and has had the time to arrive."""
    greenlet = gevent.spawn(coordination.lead, election)
    gevent.sleep(0.1)
    return greenlet


def test_one_leads_and_the_next_does_when_it_resigns(member: Coordination, other: Coordination) -> None:
    first = member.lead("e")
    assert first is not None
    assert (first.name, first.held) == ("e", True)
    assert other.lead("e", timeout=0.2) is None
    waiting = standing(other)
    assert not waiting.ready()
    first.resign()
    assert not first.held
    second = waiting.get(timeout=5)
    assert second.held
    first.resign()  # does nothing
    assert second.held
    assert member.leaders(["e"]) == {"e": other.name}


def test_elections_know_nothing_of_each_other(member: Coordination, other: Coordination) -> None:
    assert member.leaders(["a", "b"]) == {}
    assert member.lead("a") is not None
    assert other.lead("b") is not None
    assert member.leaders(["a", "b", "c"]) == {"a": member.name, "b": other.name}
    assert other.leaders(["b"]) == {"b": other.name}
    assert other.leaders([]) == {}


def test_those_who_stand_lead_in_the_order_in_which_they_came(fleet: Fleet) -> None:
    members = [fleet.member() for _ in range(4)]
    waiting = [standing(one) for one in members]
    for one, greenlet in zip(members, waiting, strict=True):
        leadership = greenlet.get(timeout=5)
        assert members[0].leaders(["e"]) == {"e": one.name}
        leadership.resign()


def test_one_process_can_stand_more_than_once(member: Coordination) -> None:
    first = member.lead("e")
    assert first is not None
    assert member.lead("e", timeout=0.1) is None
    waiting = standing(member)
    first.resign()
    assert waiting.get(timeout=5).held


def test_who_gives_up_waiting_is_passed_over(fleet: Fleet, member: Coordination, other: Coordination) -> None:
    first = member.lead("e")
    killed, patient = standing(other), standing(fleet.member())
    killed.kill()
    assert first is not None
    first.resign()
    assert patient.get(timeout=5).held


def test_who_is_killed_in_the_moment_of_being_elected_leaves_no_one_leading(
    fleet: Fleet, member: Coordination, other: Coordination
) -> None:
    """The next candidate leads, whatever is under way when the caller is killed."""
    dice = random.Random(7)
    for _ in range(30):
        greenlet = gevent.spawn(member.lead, "e")
        gevent.sleep(dice.choice([0, 0.0002, 0.0005, 0.001]))
        unfinished = not greenlet.ready()
        greenlet.kill()
        if not unfinished:
            greenlet.get().resign()
        leadership = other.lead("e", timeout=2)
        assert leadership is not None
        leadership.resign()


def test_leadership_goes_with_its_member(fleet: Fleet, other: Coordination) -> None:
    leaving = fleet.member()
    leadership = leaving.lead("e")
    waiting = standing(other)
    leaving.close()
    assert leadership is not None
    assert not leadership.held
    assert waiting.get(timeout=5).held


def test_leadership_is_lost_with_the_session_and_can_be_won_again(fleet: Fleet, other: Coordination) -> None:
    member = fleet.member(timeout=fleet.short)
    lost = member.lead("e")
    waiting = standing(other)
    fleet.expire(member)
    won = waiting.get(timeout=30)
    assert lost is not None
    eventually(lambda: not lost.held)
    lost.resign()
    assert won.held
    again = standing(member)
    won.resign()
    assert again.get(timeout=5).held


def test_who_waits_stands_again_in_the_next_session(fleet: Fleet, other: Coordination) -> None:
    leader = other.lead("e")
    member = fleet.member(timeout=fleet.short)
    waiting = standing(member)
    session = member.session
    fleet.expire(member)
    eventually(lambda: member.session is not session)
    assert leader is not None
    leader.resign()
    assert waiting.get(timeout=30).held
    assert other.leaders(["e"]) == {"e": member.name}


def test_a_killed_leader_is_followed_at_once(fleet: Fleet, member: Coordination) -> None:
    process = fleet.process()
    process.call("lead", "e")
    waiting = standing(member)
    assert not waiting.ready()
    process.kill()
    assert waiting.get(timeout=fleet.death).held


def test_a_frozen_leader_is_followed_and_never_leads_again(fleet: Fleet, member: Coordination) -> None:
    process = fleet.process(timeout=fleet.short)
    process.call("lead", "e")
    waiting = standing(member)
    fleet.freeze(process)
    leadership = waiting.get(timeout=30)
    since = boottime()
    process.go_on()
    eventually(lambda: process.call("sessions") == 2)
    ((_, last_held),) = process.call("led")
    assert last_held < since
    assert leadership.held


def test_there_are_never_two_leaders(fleet: Fleet) -> None:
    """Leaders resign or are cut off. The times in which a leadership was held never overlap."""
    stretches: list[list[float]] = []
    cuts = 0

    def note(leadership: Leadership, seconds: float) -> None:
        stretch = [boottime(), boottime()]
        stretches.append(stretch)
        while leadership.held and boottime() < stretch[0] + seconds:
            stretch[1] = boottime()
            gevent.sleep(0.001)

    def compete(one: Coordination) -> None:
        nonlocal cuts
        for turn in range(6):
            leadership = one.lead("e")
            assert leadership is not None
            if turn == 2:
                with fleet.cut_off(one):
                    note(leadership, seconds=30)
                    cuts += 1
            else:
                note(leadership, seconds=0.02)
                leadership.resign()

    members = [fleet.member(timeout=fleet.short) for _ in range(2)]
    gevent.joinall([gevent.spawn(compete, one) for one in members], raise_error=True)
    stretches.sort()
    assert (len(stretches), cuts) == (12, 2)
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(stretches))


def test_processes_that_die_and_freeze_never_lead_together(fleet: Fleet) -> None:
    stretches: list[list[float]] = []
    frozen = None
    for _ in range(3):
        process = fleet.process(timeout=fleet.short)
        process.call("lead", "e")
        if frozen is not None:
            frozen.go_on()
            eventually(lambda frozen=frozen: frozen.call("sessions") == 2)
            stretches += frozen.call("led")
        fleet.freeze(process)
        frozen = process
    assert len(stretches) == 2
    assert stretches[0][1] < stretches[1][0]


# --- notes


def test_what_is_remembered_is_recalled_by_all(member: Coordination, other: Coordination) -> None:
    assert member.load_note("e") is None
    member.save_note("e", {"tick": 1.5, "jobs": ["a", None, {"b": "ü"}]})
    assert other.load_note("e") == {"tick": 1.5, "jobs": ["a", None, {"b": "ü"}]}
    other.save_note("e", {})
    assert member.load_note("e") == {}
    assert member.load_note("f") is None


def test_a_note_outlives_everybody_even_the_killed(fleet: Fleet) -> None:
    first = fleet.member()
    first.save_note("e", {"tick": 7})
    first.close()
    process = fleet.process()
    process.kill()
    assert fleet.member().load_note("e") == {"tick": 7}


def test_a_note_that_is_no_json_is_refused(member: Coordination) -> None:
    with pytest.raises(TypeError):
        member.save_note("e", {"tick": partial})
    assert member.load_note("e") is None


def test_a_leadership_is_confirmed_until_another_may_lead(fleet: Fleet, member: Coordination) -> None:
    late = fleet.member()
    first = late.lead("e", timeout=5)
    assert first is not None
    first.confirm()
    fleet.expire(late)
    second = member.lead("e", timeout=5)
    assert second is not None
    second.confirm()
    assert first.token != second.token
    eventually(lambda: is_over(first))
    second.resign()
    assert is_over(second)
    third = member.lead("e", timeout=5)
    assert third is not None
    third.confirm()
    assert is_over(second)
    assert len({first.token, second.token, third.token}) == 3


def is_over(leadership: Leadership) -> bool:
    """Return whether coordination says that the leadership is over; False while coordination is away."""
    try:
        leadership.confirm()
    except LeadershipOver:
        return True
    except CoordinationAway:
        return leadership.held is False
    return False
