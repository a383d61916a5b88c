"""The queue: order, claims and their ends, wake-ups, and figures."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
import pytest

from geventjob.coordination.base import Claim, Coordination, Waiting
from geventjob.coordination.names import parse_entry
from tests.contract.coordination.fleets import Fleet
from tests.support.waiting import eventually


def entries(claims: list[Claim]) -> list[str]:
    return [claim.entry for claim in claims]


def jobs(claims: list[Claim]) -> list[str]:
    return [claim.job for claim in claims]


def waiting(take: Callable[[], list[Claim]]) -> gevent.Greenlet[..., Any]:
    """Return a greenlet that waits in a take: it has had the time to find nothing."""
    greenlet = gevent.spawn(take)
    gevent.sleep(0.1)
    assert not greenlet.ready(), "this take should wait"
    return greenlet


# --- put, and the order of the queue


def test_the_path_of_an_entry_says_its_priority_and_its_turn(member: Coordination) -> None:
    paths = member.put([("job/a", 7), ("job/b", 999), ("job/c", 0)])
    names = [parse_entry(path) for path in paths]
    assert [name[0] for name in names if name] == [7, 999, 0]
    assert [name[1] - names[0][1] for name in names if name and names[0]] == [0, 1, 2]


def test_nothing_is_put_for_no_items(member: Coordination) -> None:
    assert member.put([]) == []
    assert member.stats().entries == 0


@pytest.mark.parametrize("priority", [-1, 1000])
def test_a_priority_that_is_none_is_refused_and_nothing_put(member: Coordination, priority: int) -> None:
    with pytest.raises(ValueError, match=f"job/b.*{priority}"):
        member.put([("job/a", 5), ("job/b", priority)])
    assert member.stats().entries == 0


def test_entries_are_taken_by_priority_and_then_in_the_order_of_their_putting(
    member: Coordination, other: Coordination
) -> None:
    first = member.put([("job/1", 999), ("job/2", 5), ("job/3", 999)])
    second = other.put([("job/4", 0), ("job/5", 5)])
    claims = member.take(10)
    assert jobs(claims) == ["job/4", "job/2", "job/5", "job/1", "job/3"]
    assert entries(claims) == [second[0], first[1], second[1], first[0], first[2]]


def test_many_greenlets_put_at_once_and_each_gets_its_own_paths(member: Coordination) -> None:
    putting = [gevent.spawn(member.put, [(f"job/{i}", 500), (f"job/{i}", 2)]) for i in range(100)]
    put = {path: f"job/{i}" for i, done in enumerate(gevent.joinall(putting)) for path in done.get()}
    assert len(put) == 200
    taken: dict[str, str] = {}
    while len(taken) < 200:
        taken.update((claim.entry, claim.job) for claim in member.take(100, timeout=5))
    assert taken == put


# --- take


def test_a_claim_says_what_was_put_and_when(member: Coordination) -> None:
    before = time.time()
    (path,) = member.put([("job/a", 3)])
    (claim,) = member.take(1)
    assert (claim.entry, claim.job, claim.session) == (path, "job/a", member.session)
    assert before - 1 <= claim.put_at <= time.time() + 1
    assert not claim.lost


def test_a_take_brings_no_more_than_its_limit(member: Coordination) -> None:
    member.put([(f"job/{i}", 1) for i in range(5)])
    assert [jobs(member.take(2, timeout=0)) for _ in range(4)] == [
        ["job/0", "job/1"],
        ["job/2", "job/3"],
        ["job/4"],
        [],
    ]


def test_what_one_holds_nobody_else_is_given(member: Coordination, other: Coordination) -> None:
    member.put([("job/a", 1), ("job/b", 1)])
    assert jobs(member.take(1)) == ["job/a"]
    assert jobs(other.take(10)) == ["job/b"]
    assert other.take(10, timeout=0) == []


def test_members_that_take_at_once_share_the_queue_without_an_entry_twice(fleet: Fleet, member: Coordination) -> None:
    member.put([(f"job/{i}", i % 3) for i in range(200)])
    taken: list[str] = []

    def work(one: Coordination) -> None:
        while len(taken) < 200:
            claims = one.take(7, timeout=0.5)
            taken.extend(jobs(claims))
            one.consume(claims)

    working = [gevent.spawn(work, fleet.member()) for _ in range(4)]
    assert len(gevent.joinall(working, timeout=60, raise_error=True)) == 4
    assert sorted(taken) == sorted(f"job/{i}" for i in range(200))
    assert member.stats().entries == 0


def test_each_claim_of_an_entry_has_a_greater_fence_than_those_before(fleet: Fleet, member: Coordination) -> None:
    member.put([("job/a", 1)])
    fences = []
    for _ in range(3):
        one = fleet.member()
        for taker in (member, one):
            (claim,) = taker.take(1)
            fences.append(claim.fence)
            taker.release([claim])
        (claim,) = one.take(1)
        fences.append(claim.fence)
        one.close()
    assert fences == sorted(set(fences))


def test_what_is_left_is_passed_over_and_stays(member: Coordination, other: Coordination) -> None:
    paths = member.put([(f"job/{i}", 1) for i in range(5)])
    assert jobs(member.take(2, exclude={paths[0], paths[2]})) == ["job/1", "job/3"]
    assert jobs(member.take(5, exclude=[paths[0], paths[2]])) == ["job/4"]
    assert member.take(5, exclude={paths[0], paths[2]}, timeout=0) == []
    assert jobs(other.take(5)) == ["job/0", "job/2"]


def test_thousands_of_entries_can_be_left(member: Coordination) -> None:
    paths = member.put([(f"job/{i}", 1) for i in range(5000)])
    assert jobs(member.take(5, exclude=set(paths[:-1]))) == ["job/4999"]


def test_to_leave_what_is_no_entry_does_no_harm(member: Coordination) -> None:
    member.put([("job/a", 1)])
    assert jobs(member.take(1, exclude={"", "/job/entries/entry-001-9999999999", "/job/entries/", "x' OR 1"})) == [
        "job/a"
    ]


def test_a_take_without_time_does_not_wait(member: Coordination) -> None:
    began = time.monotonic()
    assert member.take(1, timeout=0) == []
    assert time.monotonic() - began < 5


def test_a_take_waits_no_longer_than_its_time(member: Coordination) -> None:
    began = time.monotonic()
    assert member.take(1, timeout=0.3) == []
    assert 0.3 <= time.monotonic() - began < 5


def test_a_take_that_waits_gets_what_is_put(member: Coordination, other: Coordination) -> None:
    take = waiting(partial(member.take, 5))
    other.put([("job/a", 1)])
    assert jobs(take.get(timeout=5)) == ["job/a"]


def test_a_take_that_waits_gets_what_is_released(member: Coordination, other: Coordination) -> None:
    other.put([("job/a", 1)])
    claims = other.take(1)
    take = waiting(partial(member.take, 5))
    other.release(claims)
    assert jobs(take.get(timeout=5)) == ["job/a"]


def test_a_take_that_waits_gets_what_a_closed_member_held(fleet: Fleet, member: Coordination) -> None:
    leaving = fleet.member()
    leaving.put([("job/a", 1)])
    leaving.take(1)
    take = waiting(partial(member.take, 5))
    leaving.close()
    assert jobs(take.get(timeout=5)) == ["job/a"]


def test_all_who_wait_are_woken_by_as_many_entries(fleet: Fleet, member: Coordination) -> None:
    takes = [waiting(partial(fleet.member().take, 1)) for _ in range(4)]
    member.put([(f"job/{i}", 1) for i in range(4)])
    assert sorted(jobs(claims)[0] for claims in (take.get(timeout=5) for take in takes)) == [
        f"job/{i}" for i in range(4)
    ]


def test_entries_put_one_by_one_find_all_who_wait(fleet: Fleet, member: Coordination) -> None:
    takes = [waiting(partial(fleet.member().take, 1)) for _ in range(4)]
    for i in range(4):
        member.put([(f"job/{i}", 1)])
    assert sorted(jobs(take.get(timeout=5))[0] for take in takes) == [f"job/{i}" for i in range(4)]


def test_one_who_leaves_an_entry_does_not_keep_it_from_another(fleet: Fleet, member: Coordination) -> None:
    (path,) = member.put([("job/a", 1)])
    claims = member.take(1)
    one_who_leaves = fleet.member()
    passing = waiting(partial(one_who_leaves.take, 1, exclude={path}))
    take = waiting(partial(fleet.member().take, 1))
    member.release(claims)
    assert jobs(take.get(timeout=5)) == ["job/a"]
    one_who_leaves.interrupt()
    assert passing.get(timeout=5) == []


def test_one_who_has_stopped_waiting_does_not_keep_an_entry_from_another(fleet: Fleet, member: Coordination) -> None:
    gone = fleet.member()
    waiting(partial(gone.take, 1)).kill()
    impatient = fleet.member()
    assert impatient.take(1, timeout=0.1) == []
    take = waiting(partial(fleet.member().take, 1))
    member.put([("job/a", 1)])
    eventually(lambda: take.ready() or gone.stats().taken == 1, within=5)
    take.join(timeout=5)  # the entry is taken in the queue before the taker has heard of it
    assert take.ready()
    assert jobs(take.get()) == ["job/a"]


# --- interrupt


def test_an_interrupt_ends_a_take_that_waits(member: Coordination) -> None:
    take = waiting(partial(member.take, 1))
    member.interrupt()
    assert take.get(timeout=5) == []


def test_an_interrupt_ends_the_next_take_if_none_waits_and_only_that(member: Coordination) -> None:
    member.interrupt()
    assert gevent.spawn(member.take, 1).get(timeout=5) == []
    take = waiting(partial(member.take, 1))
    member.put([("job/a", 1)])
    assert jobs(take.get(timeout=5)) == ["job/a"]


def test_what_is_left_is_not_brought_by_an_earlier_take_that_was_interrupted(
    fleet: Fleet, member: Coordination, other: Coordination
) -> None:
    """The entry may have been taken before the caller excluded it; then it is given back."""
    (path,) = other.put([("job/a", 1)])
    with fleet.cut_off(member):
        take = gevent.spawn(member.take, 1)
        gevent.sleep(0.1)
        member.interrupt()
        assert take.get(timeout=5) == []
    assert member.take(1, exclude={path}, timeout=0.1) == []
    assert jobs(other.take(1, timeout=1)) == ["job/a"]


def test_what_an_interrupted_take_brings_too_late_comes_with_the_next(
    fleet: Fleet, member: Coordination, other: Coordination
) -> None:
    other.put([("job/a", 1), ("job/b", 1), ("job/c", 1)])
    with fleet.cut_off(member):
        take = gevent.spawn(member.take, 2)
        gevent.sleep(0.1)
        take.kill()
    assert [jobs(member.take(1, timeout=1)) for _ in range(3)] == [["job/a"], ["job/b"], ["job/c"]]


def test_what_an_interrupted_take_brings_too_late_is_free_again_if_no_take_follows(
    fleet: Fleet, member: Coordination, other: Coordination
) -> None:
    other.put([("job/a", 1), ("job/b", 1)])
    with fleet.cut_off(member):
        take = gevent.spawn(member.take, 2)
        gevent.sleep(0.1)
        member.interrupt()
        assert take.get(timeout=5) == []
    assert jobs(other.take(2, timeout=5)) == ["job/a", "job/b"]
    assert member.take(1, timeout=0) == []


def test_an_interrupt_may_come_from_the_hub(member: Coordination) -> None:
    take = waiting(partial(member.take, 1))
    gevent.get_hub().loop.run_callback(member.interrupt)
    assert take.get(timeout=5) == []


def test_interrupts_and_kills_at_any_moment_lose_no_entry(member: Coordination, other: Coordination) -> None:
    """Takes are ended again and again while entries come. In the end each entry was given to one caller, once."""
    total = 300
    given: list[Claim] = []
    dice = random.Random(4)

    def put() -> None:
        for i in range(0, total, 3):
            other.put([(f"job/{i + k}", 1) for k in range(3)])

    putting = gevent.spawn(put)
    end = time.monotonic() + 60
    while len(given) < total:
        assert time.monotonic() < end, f"only {len(given)} were given"
        taking = gevent.spawn(lambda: given.extend(member.take(5)))
        gevent.sleep(dice.choice([0, 0.0005, 0.002]))
        if dice.random() < 0.5:
            member.interrupt()
            taking.get()
        else:
            taking.kill()
    putting.get()
    assert sorted(jobs(given)) == sorted(f"job/{i}" for i in range(total))
    member.consume(given)
    assert member.stats().entries == 0


# --- consume and release


def test_what_is_consumed_is_gone(member: Coordination, other: Coordination) -> None:
    paths = member.put([("job/a", 1), ("job/b", 1)])
    claims = member.take(2)
    member.consume(claims[:1])
    assert member.standing(paths) == [False, True]
    assert (member.stats().entries, member.stats().taken) == (1, 1)
    assert other.take(1, timeout=0) == []


def test_what_is_released_stands_in_its_old_place(member: Coordination, other: Coordination) -> None:
    member.put([("job/a", 1), ("job/b", 1), ("job/c", 0)])
    claims = member.take(3)
    member.release([claims[2], claims[0]])
    assert jobs(other.take(3)) == ["job/c", "job/b"]


def test_an_end_that_is_told_twice_is_one(member: Coordination, other: Coordination) -> None:
    """A second end does not touch an entry that another member has taken since."""
    member.put([("job/a", 1), ("job/b", 1)])
    a, b = member.take(2)
    member.consume([a])
    member.release([b])
    (again,) = other.take(2)
    for end in (member.consume, member.release):
        end([a, b])
        end([a, a, b])
    assert not again.lost
    assert [(w.job, w.taken_by) for w in member.stats().head] == [("job/b", other.name)]
    other.consume([again])
    assert member.stats().entries == 0


def test_a_claim_ends_but_once_though_its_holder_takes_the_entry_again(member: Coordination) -> None:
    member.put([("job/a", 1)])
    (first,) = member.take(1)
    member.release([first])
    (second,) = member.take(1)
    member.consume([first])
    member.release([first])
    assert [w.taken_by for w in member.stats().head] == [member.name]
    member.consume([second])
    assert member.stats().entries == 0


def test_claims_are_consumed_by_many_greenlets_at_once(member: Coordination) -> None:
    member.put([(f"job/{i}", 1) for i in range(100)])
    claims = member.take(100)
    consuming = [gevent.spawn(member.consume, [claim]) for claim in claims[:90]]
    releasing = [gevent.spawn(member.release, [claim]) for claim in claims[90:]]
    gevent.joinall(consuming + releasing, raise_error=True)
    assert jobs(member.take(100)) == jobs(claims[90:])


# --- remove and standing


def test_what_nobody_holds_can_be_removed(member: Coordination, other: Coordination) -> None:
    free, held, gone = member.put([("job/free", 2), ("job/held", 0), ("job/gone", 1)])
    claims = member.take(2)
    member.consume(claims[1:])
    assert other.jobs([free, held, gone]) == ["job/free", "job/held", None]
    assert other.standing([free, held, gone]) == [True, True, False]
    assert other.remove([gone, held, free]) == [True, False, True]
    assert other.standing([free, held, gone]) == [False, True, False]
    assert not any((other.remove([]), other.standing([]), other.jobs([])))
    member.release(claims[:1])
    assert other.remove([held]) == [True]


def test_an_entry_is_named_by_its_whole_path(member: Coordination) -> None:
    (path,) = member.put([("job/a", 5)])
    wrong = [path.replace("005", "006"), path + "0", "entry-005-0000000001", ""]
    assert member.standing(wrong) == [False] * 4
    assert member.remove(wrong) == [True] * 4
    assert member.standing([path]) == [True]


# --- look


def test_a_look_at_an_empty_queue(member: Coordination) -> None:
    stats = member.stats()
    assert (stats.entries, stats.taken, stats.oldest, stats.head, dict(stats.holders)) == (0, 0, None, [], {})


def test_a_look_shows_the_head_of_the_queue_and_who_holds_what(member: Coordination, other: Coordination) -> None:
    member.put([("job/a", 5), ("job/b", 1), ("job/c", 1), ("job/d", 9)])
    held = member.take(2)
    (others,) = other.take(1)  # after a failed try the member takes from its own part of the rest
    stats = other.stats(head=3)
    assert (stats.entries, stats.taken, dict(stats.holders)) == (4, 3, {member.name: 2, other.name: 1})
    assert [(w.priority, w.job, w.taken_by) for w in stats.head] == [
        (1, "job/b", member.name),
        (1, "job/c", member.name),
        (5, "job/a", other.name if others.job == "job/a" else None),
    ]
    assert stats.head[0] == Waiting(held[0].entry, 1, "job/b", member.name)
    assert stats.oldest is not None
    assert 0 <= stats.oldest < 5


# --- close


def test_to_close_frees_everything_at_once_and_takes_no_time(fleet: Fleet, member: Coordination) -> None:
    leaving = fleet.member()
    leaving.put([(f"job/{i}", 1) for i in range(50)])
    leaving.take(50)
    began = time.monotonic()
    leaving.close()
    assert time.monotonic() - began < 5
    assert len(member.take(50, timeout=0)) == 50
    leaving.close()


def test_a_take_that_waits_ends_when_its_member_closes(fleet: Fleet) -> None:
    leaving = fleet.member()
    take = waiting(partial(leaving.take, 1))
    leaving.close()
    assert take.get(timeout=5) == []


def test_what_was_put_outlives_its_putter_and_all_members(fleet: Fleet) -> None:
    first = fleet.member()
    (path,) = first.put([("job/a", 1)])
    first.close()
    second = fleet.member()
    assert entries(second.take(1)) == [path]


def test_fences_of_entries_lie_between_their_claims(fleet: Fleet) -> None:
    member, other = fleet.member(), fleet.member()
    first, second = member.put([("job/a", 1), ("job/b", 2)])
    [claim] = member.take(1)
    [seen, free, missing] = other.fences([first, second, "/job/entries/entry-001-0999999999"])
    assert seen is not None
    assert free is not None
    assert missing is None
    member.release([claim])
    [again] = other.take(1)
    assert claim.fence <= seen <= again.fence
    [next] = other.take(1)
    assert free <= next.fence


# --- discard and holders


def test_who_holds_an_entry(member: Coordination, other: Coordination) -> None:
    first, second, free = member.put([("job/a", 0), ("job/b", 1), ("job/c", 2)])
    mine, others = member.take(1), other.take(1)
    asked = [free, second, first, "/job/entries/entry-999-2000000000", "nothing"]
    assert member.holders(asked) == other.holders(asked) == [None, other.name, member.name, None, None]
    member.release(mine)
    other.consume(others)
    assert member.holders(asked) == [None] * 5
    assert member.holders([]) == []


def test_an_entry_is_discarded_whoever_holds_it(member: Coordination, other: Coordination) -> None:
    held, consumed, free, stays = member.put([("job/a", 0), ("job/b", 1), ("job/c", 2), ("job/d", 3)])
    releases, consumes = member.take(2)
    other.discard([free, held, consumed, "/job/entries/entry-999-2000000000", "nothing"])
    other.discard([])
    assert other.standing([held, consumed, free, stays]) == [False, False, False, True]
    member.release([releases])
    member.consume([consumes])
    stats = other.stats()
    assert (stats.entries, stats.taken) == (1, 0)
    assert jobs(member.take(5, timeout=0)) == ["job/d"]


def test_the_place_of_an_entry_counts_what_is_taken_before_it(member: Coordination, other: Coordination) -> None:
    paths = member.put([("job/a", 9), ("job/b", 5), ("job/c", 5), ("job/d", 999)])
    assert [other.ahead(path) for path in paths] == [2, 0, 1, 3]
    [claim] = member.take(1)
    assert claim.job == "job/b"
    assert [other.ahead(path) for path in paths] == [1, 0, 0, 2], "what a process holds does not count"
    member.consume([claim])
    assert other.ahead(claim.entry) is None
    assert other.ahead("/job/entries/entry-005-2000000000") is None
    assert other.ahead("no entry") is None
