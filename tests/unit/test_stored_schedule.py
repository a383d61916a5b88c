"""The ticks of a schedule as data: which are due, and when the next one fires."""

from __future__ import annotations

from typing import Any

import pytest

from geventjob.calendar.stored import date_of, due, is_paused, milliseconds, next_moment

MINUTE = 60_000
NOON = milliseconds("2027-03-27T12:00:00.000Z")


def schedule(**more: Any) -> dict[str, Any]:
    """Return a schedule of each minute that was made half a minute before noon."""
    return {"name": "s", "every": 60, "since": date_of(NOON - MINUTE // 2), **more}


def test_no_tick_before_the_schedule_was_made_is_due() -> None:
    assert due(schedule(), NOON - 1) == []
    assert due(schedule(), NOON) == [NOON]
    assert due(schedule(since=date_of(NOON)), NOON) == []


def test_a_tick_that_fired_is_not_due() -> None:
    assert due(schedule(tick=NOON), NOON + 1) == []
    assert due(schedule(tick=NOON), NOON + MINUTE) == [NOON + MINUTE]


def test_a_tick_later_than_now_counts_for_nothing() -> None:
    assert due(schedule(tick=NOON + 60 * MINUTE), NOON) == [NOON]


@pytest.mark.parametrize(("catchup", "count"), [("last", 1), ("none", 0), (3, 3), (100, 31)])
def test_ticks_that_passed(catchup: Any, count: int) -> None:
    late = NOON + 30 * MINUTE + MINUTE // 2
    now = late + 2 * MINUTE if catchup == "none" else late
    found = due(schedule(catchup=catchup, every=3600 if catchup == "none" else 60), now)
    assert len(found) == count
    assert found == sorted(found)


def test_nothing_is_due_in_a_pause_nor_the_ticks_that_passed_in_it() -> None:
    paused = schedule(paused={"by": "ann"}, catchup=100)
    assert due(paused, NOON + 5 * MINUTE) == []
    assert next_moment(paused, NOON) is None
    ending = schedule(paused={"by": "ann", "until": date_of(NOON + 5 * MINUTE)}, catchup=100)
    assert due(ending, NOON + 5 * MINUTE - 1) == []
    assert next_moment(ending, NOON) == NOON + 6 * MINUTE
    assert not is_paused(ending, NOON + 5 * MINUTE)
    assert due(ending, NOON + 5 * MINUTE) == []
    assert due(ending, NOON + 7 * MINUTE) == [NOON + 6 * MINUTE, NOON + 7 * MINUTE]
    assert next_moment(ending, NOON + 7 * MINUTE) == NOON + 8 * MINUTE


def test_two_schedules_have_jitter_of_their_own() -> None:
    one, other = (next_moment(schedule(name=name, jitter=50), NOON) for name in ("a", "b"))
    assert one is not None
    assert other is not None
    assert NOON <= one != other <= NOON + 2 * MINUTE
    assert due(schedule(name="a", jitter=50, tick=NOON), one - 1) == []


def test_a_line_in_a_zone() -> None:
    line = {"name": "s", "cron": "30 2 * * *", "timezone": "Europe/Berlin", "since": date_of(NOON)}
    moment = next_moment(line, NOON)
    assert moment == milliseconds("2027-03-28T01:00:00.000Z"), "the time that the change of the clock skips"
    assert due(line, moment - 1) == []
    assert due(line, moment) == [moment]
