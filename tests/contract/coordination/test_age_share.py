"""The share of takes that goes to the oldest entries: no entry waits for ever behind more urgent ones."""

from __future__ import annotations

from tests.contract.coordination.fleets import Fleet
from tests.contract.coordination.test_queue import jobs

URGENT = [(f"job/urgent-{n}", 0) for n in range(40)]


def test_each_eighth_entry_that_is_taken_is_the_oldest(fleet: Fleet) -> None:
    member = fleet.member(age_share=8)
    member.put([("job/old-0", 999), ("job/old-1", 500), ("job/old-2", 999)])
    member.put(URGENT)
    taken = [jobs(member.take(1, timeout=5))[0] for _ in range(43)]
    assert [taken[n] for n in (7, 15, 23)] == ["job/old-0", "job/old-1", "job/old-2"]
    assert [job for job in taken if "urgent" in job] == [job for job, _ in URGENT]


def test_one_take_of_many_entries_brings_as_many_old_ones(fleet: Fleet) -> None:
    member = fleet.member(age_share=8)
    member.put([(f"job/old-{n}", 999) for n in range(5)])
    member.put(URGENT)
    first, second = jobs(member.take(20, timeout=5)), jobs(member.take(20, timeout=5))
    assert sorted(first) == sorted(["job/old-0", "job/old-1", *(job for job, _ in URGENT[:18])])
    assert sorted(second) == sorted(["job/old-2", "job/old-3", "job/old-4", *(job for job, _ in URGENT[18:35])])


def test_an_old_entry_is_taken_though_urgent_ones_never_end(fleet: Fleet) -> None:
    members = [fleet.member(age_share=8) for _ in range(2)]
    members[0].put([("job/old", 999)])
    for round in range(8):
        members[0].put([(f"job/urgent-{round}-{n}", 0) for n in range(20)])
        for member in members:
            claims = member.take(4)
            if "job/old" in jobs(claims):
                return
            member.consume(claims)
    raise AssertionError("the old entry was not among 64")


def test_old_entries_wait_for_all_urgent_ones_without_a_share(fleet: Fleet) -> None:
    member = fleet.member(age_share=0)
    member.put([("job/old", 999)])
    member.put(URGENT)
    assert [jobs(member.take(1, timeout=5))[0] for _ in range(41)] == [*(job for job, _ in URGENT), "job/old"]


def test_the_oldest_entries_that_are_held_or_excluded_are_passed_over(fleet: Fleet) -> None:
    member, other = fleet.member(age_share=2), fleet.member()
    excluded, held, *_ = member.put([("job/excluded", 999), ("job/held", 1), ("job/old", 999), ("job/younger", 999)])
    assert jobs(other.take(1)) == ["job/held"]
    member.put(URGENT[:3])
    taken = [jobs(member.take(1, exclude={excluded}, timeout=5))[0] for _ in range(4)]
    assert taken == ["job/urgent-0", "job/old", "job/urgent-1", "job/younger"]
    assert other.holders([excluded, held]) == [None, other.name]
