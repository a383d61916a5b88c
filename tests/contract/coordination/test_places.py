"""Entries that come back to their places, and changes of the queue that only a leader makes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from geventjob.coordination.base import Coordination, CoordinationAway, Leadership, LeadershipOver
from geventjob.coordination.names import entry_path, parse_entry
from tests.contract.coordination.fleets import Fleet
from tests.contract.coordination.test_queue import entries, jobs, waiting
from tests.support.waiting import eventually


def test_entries_that_are_put_back_are_taken_in_their_old_order(member: Coordination, other: Coordination) -> None:
    items = [("job/a", 5), ("job/b", 1), ("job/c", 5), ("job/d", 5)]
    places = member.put(items)
    assert other.remove(places[:3]) == [True] * 3
    newer = member.put([("job/e", 5), ("job/f", 1)])
    assert other.put(items[:3], places[:3]) == places[:3]
    claims = member.take(6)
    assert jobs(claims) == ["job/b", "job/f", "job/a", "job/c", "job/d", "job/e"]
    assert entries(claims) == [places[1], newer[1], places[0], *places[2:], newer[0]]


def test_claims_of_an_entry_that_came_back_have_greater_fences(member: Coordination, other: Coordination) -> None:
    [place] = member.put([("job/a", 1)])
    fences = []
    for taker in (member, other, member):
        [claim] = taker.take(1)
        fences.append(claim.fence)
        taker.release([claim])
        other.remove([place])
        assert member.put([("job/a", 1)], [place]) == [place]
    [claim] = other.take(1)
    assert [*fences, claim.fence] == sorted({*fences, claim.fence})


def test_many_entries_come_back_some_of_them_new(member: Coordination) -> None:
    items = [(f"job/{n}", n % 3) for n in range(450)]
    places = member.put(items)
    member.remove(places)
    wanted = [place if n % 5 else None for n, place in enumerate(places)]
    paths = member.put(items, wanted)
    assert [path if n % 5 else None for n, path in enumerate(paths)] == wanted
    assert len({*paths, *places}) == 540
    assert member.jobs(paths) == [job for job, _ in items]


def test_an_entry_that_stands_is_not_doubled(member: Coordination) -> None:
    places = member.put([("job/a", 1), ("job/b", 1)])
    assert member.put([("job/b", 1)], places[1:]) == places[1:]
    assert jobs(member.take(5)) == ["job/a", "job/b"]


def test_a_place_that_is_held_is_left_alone(member: Coordination, other: Coordination) -> None:
    [place] = member.put([("job/a", 1)])
    claims = member.take(1)
    [path] = other.put([("job/a", 1)], [place])
    assert path != place
    member.consume(claims)
    assert other.jobs([path, place]) == ["job/a", None]


def test_a_place_whose_claim_has_not_ended_is_left_alone(member: Coordination, other: Coordination) -> None:
    [place] = member.put([("job/a", 1)])
    claims = member.take(1)
    other.discard([place])
    [path] = other.put([("job/a", 1)], [place])
    member.consume(claims)
    assert other.jobs([path]) == ["job/a"], "the end of the claim does not end the new entry"


def test_what_is_no_place_of_the_item_gives_a_new_entry(member: Coordination) -> None:
    [place] = member.put([("job/other", 5)])
    priority, sequence = parse_entry(place) or (0, 0)
    never = entry_path(priority, sequence + 1000)
    member.remove([place])
    member.put([("job/other", 5)], [place])
    wrong = [place, place.replace("005", "006"), never, "no place", ""]
    paths = member.put([("job/a", 5)] * len(wrong), wrong)
    assert not {*paths} & {*wrong}
    assert len({*paths}) == len(wrong)
    assert jobs(member.take(9)) == ["job/other", *["job/a"] * len(wrong)]


def test_a_take_that_waits_gets_what_comes_back(member: Coordination, other: Coordination) -> None:
    places = other.put([("job/a", 1)])
    other.remove(places)
    take = waiting(lambda: member.take(5))
    other.put([("job/a", 1)], places)
    assert jobs(take.get(timeout=5)) == ["job/a"]


def test_a_leader_puts_and_removes(member: Coordination) -> None:
    leadership = member.lead("promoter", timeout=5)
    items = [(f"job/{n}", 1) for n in range(450)]
    paths = member.put(items, leadership=leadership)
    [held] = member.take(1)
    assert member.remove(paths, leadership) == [path != held.entry for path in paths]
    assert member.put(items[1:], paths[1:], leadership) == paths[1:]


def test_who_has_resigned_changes_nothing(member: Coordination) -> None:
    [place, gone] = member.put([("job/a", 1), ("job/b", 1)])
    member.remove([gone])
    leadership = member.lead("promoter", timeout=5)
    assert leadership is not None
    leadership.resign()
    changes_nothing(member, leadership, place, gone)


def test_who_has_lost_the_session_changes_nothing(fleet: Fleet, member: Coordination) -> None:
    """A process that was frozen goes on where it stopped, and does not know yet that another one leads."""
    [place, gone] = member.put([("job/a", 1), ("job/b", 1)])
    member.remove([gone])
    late = fleet.member()
    leadership = late.lead("promoter", timeout=5)
    fleet.expire(late)
    assert member.lead("promoter", timeout=5) is not None
    changes_nothing(member, leadership, place, gone, of=late)


def changes_nothing(
    member: Coordination, leadership: Leadership | None, place: str, gone: str, of: Coordination | None = None
) -> None:
    """Check that no call in the name of this leadership changes the queue: `place` stands there, `gone` does not."""
    caller = of or member
    for call in (
        lambda: caller.remove([place], leadership),
        lambda: caller.put([("job/c", 1)], leadership=leadership),
        lambda: caller.put([("job/b", 1)], [gone], leadership),
    ):
        eventually(partial(is_refused, call))
    assert [waiting.job for waiting in member.stats().head] == ["job/a"]


def is_refused(call: Callable[[], object]) -> bool:
    """Return whether a call is refused; False while coordination is away: the session may just be over."""
    try:
        call()
    except LeadershipOver:
        return True
    except CoordinationAway:
        return False
    raise AssertionError("the call was carried out")
