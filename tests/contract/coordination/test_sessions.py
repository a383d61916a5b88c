"""Sessions: their ends, the processes that notice, and the losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import gevent

from geventjob.clock import boottime
from geventjob.coordination.base import Claim, Coordination, CoordinationAway, Session
from tests.contract.coordination.fleets import Fleet
from tests.support.waiting import eventually


class Listener:
    """Records the calls of a coordination's listeners."""

    def __init__(self, coordination: Coordination) -> None:
        self.lost: list[list[Claim]] = []
        self.sessions: list[Session] = []
        coordination.on_lost = self._on_lost
        coordination.on_session = self.sessions.append

    def _on_lost(self, claims: Sequence[Claim]) -> None:
        self.lost.append(list(claims))


def listened_to(fleet: Fleet) -> tuple[Coordination, Listener]:
    """Return a member with a short session timeout, and the record of its listeners after its first session."""
    member = fleet.unstarted(timeout=fleet.short)
    listener = Listener(member)
    member.start()
    eventually(lambda: listener.sessions)
    listener.sessions.clear()
    return member, listener


def test_a_member_that_has_not_started_has_no_session(fleet: Fleet) -> None:
    assert fleet.unstarted().session is None


def test_to_start_begins_a_session_and_tells_of_it(fleet: Fleet) -> None:
    member = fleet.unstarted()
    listener = Listener(member)
    member.start()
    session = member.session
    assert session is not None
    assert not session.over
    eventually(lambda: listener.sessions == [session])


def test_a_lease_grows_and_never_beyond_the_timeout(fleet: Fleet) -> None:
    session = fleet.member(timeout=fleet.short).session
    assert session is not None
    for _ in range(3):
        lease = session.lease
        eventually(lambda lease=lease: session.lease > lease, within=fleet.short)
        assert session.lease < boottime() + session.timeout


def test_a_session_outlives_its_timeout_by_signs_of_life(fleet: Fleet) -> None:
    member, listener = listened_to(fleet)
    session = member.session
    member.put([("job/a", 1)])
    (claim,) = member.take(1)
    gevent.sleep(1.5 * fleet.short)
    assert member.session is session
    assert not claim.lost
    assert not listener.lost
    assert not listener.sessions


def test_a_closed_session_is_over(fleet: Fleet, member: Coordination) -> None:
    leaving = fleet.member()
    leaving.put([("job/a", 1)])
    (claim,) = leaving.take(1)
    session = leaving.session
    leaving.close()
    assert session is not None
    assert session.over
    assert claim.lost
    (again,) = member.take(1)
    leaving.consume([claim])
    leaving.release([claim])
    assert not again.lost
    assert member.stats().taken == 1


def test_with_a_session_all_its_claims_are_lost_once_and_a_new_one_works(fleet: Fleet, other: Coordination) -> None:
    member, listener = listened_to(fleet)
    other.put([(f"job/{i}", 1) for i in range(4)])
    claims = member.take(4)
    member.consume([claims[0]])
    first = member.session
    fleet.expire(member)
    eventually(lambda: listener.lost)
    assert first is not None
    assert first.over
    assert all(claim.lost for claim in claims)
    eventually(lambda: listener.sessions)
    assert member.session is listener.sessions[0] is not first

    assert [claim.entry for claim in member.take(1)] == [claims[1].entry]
    taken = other.take(4)
    member.consume(claims)
    member.release(claims)
    assert [claim.entry for claim in taken] == [claim.entry for claim in claims[2:]]
    assert dict(other.stats().holders) == {member.name: 1, other.name: 2}
    gevent.sleep(fleet.short / 2)
    assert [sorted(claim.job for claim in lost) for lost in listener.lost] == [["job/1", "job/2", "job/3"]]
    assert len(listener.sessions) == 1


def test_each_loss_tells_of_its_own_claims_only(fleet: Fleet, other: Coordination) -> None:
    member, listener = listened_to(fleet)
    for job in ("job/a", "job/b"):
        other.put([(job, 1)])
        (claim,) = member.take(1)
        fleet.expire(member)
        eventually(lambda claim=claim: [claim] in listener.lost)
        eventually(lambda claim=claim: member.session is not claim.session)
        other.consume(other.take(1))
    fleet.expire(member)
    eventually(lambda: len(listener.sessions) == 3)
    assert [[claim.job for claim in lost] for lost in listener.lost] == [["job/a"], ["job/b"]]


def test_calls_in_the_name_of_an_expired_session_touch_nothing(fleet: Fleet, other: Coordination) -> None:
    """Not even before the owner knows: its lease goes on while others hold its entries."""
    member = fleet.member()
    paths = member.put([("job/a", 1), ("job/b", 1), ("job/c", 1)])
    claims = member.take(3)
    leadership = member.lead("e")
    fleet.expire(member)
    taken: list[Claim] = []
    while len(taken) < 3:
        taken += other.take(3, timeout=fleet.death)
    for end in (member.consume, member.release):
        with suppress(CoordinationAway):
            end(claims[:2])
    assert dict(other.stats().holders) == {other.name: 3}
    other.consume(taken)
    assert other.standing(paths) == [False] * 3
    assert leadership is not None
    assert other.lead("e", timeout=fleet.death) is not None
    leadership.resign()
    assert other.leaders(["e"]) == {"e": other.name}


def test_a_take_that_waits_ends_empty_with_its_session(fleet: Fleet) -> None:
    member = fleet.member(timeout=fleet.short)
    take = gevent.spawn(member.take, 1)
    gevent.sleep(0.1)
    fleet.expire(member)
    assert take.get(timeout=30) == []


def test_a_listener_that_fails_does_not_end_the_session(fleet: Fleet) -> None:
    member = fleet.unstarted(timeout=fleet.short)
    told = []

    def fail(what: object) -> None:
        told.append(what)
        raise RuntimeError("for the log")

    member.on_lost = member.on_session = fail
    member.start()
    member.put([("job/a", 1)])
    claims = member.take(1)
    fleet.expire(member)
    eventually(lambda: len(told) == 3)
    assert told[1] == claims
    assert [claim.job for claim in member.take(1)] == ["job/a"]


def test_who_is_cut_off_knows_that_its_session_is_over_before_anybody_is_given_its_claims(
    fleet: Fleet, other: Coordination
) -> None:
    member, listener = listened_to(fleet)
    member.put([("job/a", 1)])
    (claim,) = member.take(1)
    session = member.session
    with fleet.cut_off(member):
        since = boottime()
        take = gevent.spawn(other.take, 1)
        eventually(lambda: listener.lost, within=fleet.short + 0.5)
        lost = boottime()
        assert listener.lost == [[claim]]
        assert session is not None
        assert session.over
        assert not take.ready()
        assert [claim.job for claim in take.get(timeout=30)] == ["job/a"]
        assert since + fleet.short / 2 < lost < boottime()
        assert member.take(1, timeout=0) == []
    eventually(lambda: len(listener.sessions) == 1)
    assert member.session is listener.sessions[0]
    assert listener.lost == [[claim]]


def test_calls_of_one_who_is_cut_off_are_refused_in_time(fleet: Fleet, other: Coordination) -> None:
    member = fleet.member(timeout=fleet.short)
    (gone,) = member.put([("job/gone", 0)])
    member.consume(member.take(1))
    member.put([("job/a", 1), ("job/b", 1)])
    claims = member.take(2)
    with fleet.cut_off(member):
        calls: list[Callable[[], object]] = [
            partial(member.remove, [gone]),
            partial(member.consume, claims[:1]),
            partial(member.release, claims[1:]),
            partial(member.send, "anybody", {}),
            partial(member.members, "executors"),
            member.stats,
        ]
        asking = [gevent.spawn(call) for call in calls]
        taking = gevent.spawn(member.take, 1)
        assert len(gevent.joinall([*asking, taking], timeout=2 * fleet.short + 1)) == 7  # type: ignore[type-var]
        assert taking.get() == []
        assert [type(done.exception) for done in asking] == [CoordinationAway] * 6
    eventually(lambda: other.stats().taken == 0)
    assert [claim.entry for claim in other.take(2)] == [claim.entry for claim in claims]


# --- real deaths


def test_what_a_killed_process_held_is_free_at_once(fleet: Fleet, member: Coordination) -> None:
    process = fleet.process()
    member.put([(f"job/{i}", 1) for i in range(3)])
    taken = process.call("take", 2, 5)
    assert [claim.entry for claim in member.take(5)] not in taken
    take = gevent.spawn(member.take, 5)
    gevent.sleep(0.1)
    process.kill()
    assert [claim.entry for claim in take.get(timeout=fleet.death)] == taken


def test_one_who_comes_later_finds_what_a_killed_process_held(fleet: Fleet) -> None:
    process = fleet.process()
    (path,) = process.call("put", ["job/a", 1])
    assert process.call("take", 1, 5) == [path]
    process.kill()
    assert [claim.entry for claim in fleet.member().take(1, timeout=fleet.death)] == [path]


def test_a_frozen_process_loses_what_it_held_and_goes_on_with_nothing_of_it(fleet: Fleet, member: Coordination) -> None:
    process = fleet.process(timeout=fleet.short)
    paths = process.call("put", ["job/a", 1], ["job/b", 1], ["job/c", 1])
    assert process.call("take", 3, 5) == paths

    fleet.freeze(process)
    taken: list[Claim] = []
    while len(taken) < 3:
        taken += (more := member.take(3, timeout=2 * fleet.short + 2))
        assert more, "the entries of a frozen process must become free"
    member.consume(taken[:1])
    member.release(taken[1:2])
    process.go_on()

    assert process.call("are_lost", *paths) == [True, True, True]
    process.call("consume", *paths)
    process.call("release", *paths)
    assert [(w.job, w.taken_by) for w in member.stats().head] == [("job/b", None), ("job/c", member.name)]

    eventually(lambda: process.call("sessions") == 2)
    assert process.call("losses") == [paths]
    assert process.call("take", 3, 5) == paths[1:2]
    process.call("consume", paths[1])
    assert member.standing(paths) == [False, False, True]


def test_calls_that_were_under_way_when_a_process_was_frozen_touch_nothing(fleet: Fleet, member: Coordination) -> None:
    process = fleet.process(timeout=fleet.short)
    paths = process.call("put", ["job/a", 1], ["job/b", 1])
    process.call("take", 2, 5)
    fleet.freeze(process)
    consuming = process.begin("consume", paths[0])  # the calls wait in the pipe of the process, and come first
    releasing = process.begin("release", paths[1])
    taken: list[Claim] = []
    while len(taken) < 2:
        taken += member.take(2, timeout=2 * fleet.short + 2)
    process.go_on()
    consuming.get(timeout=10)
    releasing.get(timeout=10)
    assert dict(member.stats().holders) == {member.name: 2}


def test_a_take_that_waited_in_a_frozen_process_ends_empty(fleet: Fleet, member: Coordination) -> None:
    process = fleet.process(timeout=fleet.short)
    taking = process.begin("take", 1, None)
    gevent.sleep(0.2)
    fleet.freeze(process)
    gevent.sleep(1.2 * fleet.short)
    process.go_on()
    assert taking.get(timeout=5) == []
    eventually(lambda: process.call("sessions") == 2)
    taking = process.begin("take", 1, None)
    paths = member.put([("job/a", 1)])
    assert taking.get(timeout=5) == paths


def test_an_entry_is_not_kept_waiting_by_a_frozen_taker(fleet: Fleet, member: Coordination) -> None:
    process = fleet.process()
    process.begin("take", 1, None)
    gevent.sleep(0.2)
    take = gevent.spawn(fleet.member(timeout=fleet.short).take, 1)
    gevent.sleep(0.1)
    fleet.freeze(process)
    member.put([("job/a", 1)])
    assert [claim.job for claim in take.get(timeout=30)] == ["job/a"]


def test_processes_die_in_any_number_and_nothing_is_lost_or_run_by_two(fleet: Fleet, member: Coordination) -> None:
    """In each round a process takes some entries, consumes a part and is killed.

    The last process finds all the rest.
    """
    paths = member.put([(f"job/{i}", i % 2) for i in range(40)])
    consumed: list[str] = []
    for _ in range(3):
        process = fleet.process()
        taken = process.call("take", 10, 5)
        process.call("consume", *taken[:5])
        consumed += taken[:5]
        process.kill()
    take = partial(member.take, 40, timeout=fleet.death)
    rest: list[str] = []
    while len(rest) < 25:
        claims = take()
        assert claims
        rest += [claim.entry for claim in claims]
    assert sorted(consumed + rest) == sorted(paths)
