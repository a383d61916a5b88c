"""Ticks: the same in every process, never doubled, never skipped except ticks that passed."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventjob.calendar.crontab import parse
from geventjob.calendar.local import LocalCrontab
from geventjob.calendar.schedule import LATE, Cron, Every, Plan, Schedule, plan, reckoned, schedule
from geventjob.calendar.zones import zone

NOW = 1_714_521_600_000  # 2024-05-01T00:00:00Z, a Wednesday
DAY = 86_400_000

PLAIN = Namespace(interval=None, cron="0 3 * * *", timezone=None, catchup="last", jitter=0, unless_pending=True)

moments = st.integers(4 * 366 * DAY, 4_000_000_000_000)
"""After the first leap day of Unix time: no zone is known before 1970."""
LINES = """* * * * *; */7 * * * *; 0 3 * * *; 30 2 1 * *; 0 0 29 2 *; 5 4 * * sun; 0 9-17 * * mon-fri; @hourly;
0 0 1-7 * */7"""
lines = st.sampled_from([line.strip() for line in LINES.split(";")])
schedules: st.SearchStrategy[Schedule] = st.one_of(
    st.integers(1, 40 * DAY).map(Every),
    st.sampled_from([15_000, DAY]).map(Every),
    lines.map(lambda line: Cron(parse(line))),
    lines.map(lambda line: Cron(LocalCrontab(parse(line), zone("Europe/Berlin")))),
)


def due(ticks: Schedule, fired: int | None, now: int) -> int | None:
    """Return the tick that fires at `now`, without catch-up and jitter."""
    return next(iter(Plan("d", ticks).due(fired, now)), None)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() * 1000)


# --- ticks of a schedule


@given(schedules, moments)
@settings(max_examples=300, deadline=None)
def test_now_lies_between_the_latest_tick_and_the_following(ticks: Schedule, now: int) -> None:
    latest, following = ticks.latest(now), ticks.following(now)
    assert latest is not None
    assert following is not None
    assert latest <= now < following, "never a negative wait"
    assert ticks.latest(latest) == latest, "a tick is its own"
    assert ticks.following(latest) == following, "none between them"
    assert ticks.latest(following - 1) == latest
    assert ticks.latest(following) == following


@pytest.mark.parametrize(
    ("line", "now", "latest", "following"),
    [
        ("0 3 * * *", "2024-05-01T02:59:59.999", "2024-04-30T03:00", "2024-05-01T03:00"),
        ("0 3 * * *", "2024-05-01T03:00:00", "2024-05-01T03:00", "2024-05-02T03:00"),
        ("30 2 * * *", "2024-03-31T12:00:00", "2024-03-31T02:30", "2024-04-01T02:30"),  # skipped in Zurich that night
        ("0 0 29 2 *", "2025-01-01T00:00:00", "2024-02-29T00:00", "2028-02-29T00:00"),
    ],
)
def test_a_crontab_line_is_read_in_utc(line: str, now: str, latest: str, following: str) -> None:
    assert (Cron(parse(line)).latest(at(now)), Cron(parse(line)).following(at(now))) == (at(latest), at(following))


@pytest.mark.parametrize("interval", [15, 0.25, 86_400, 1.5])
def test_an_interval(interval: float) -> None:
    assert schedule(interval, None) == Every(int(interval * 1000))


@pytest.mark.parametrize(
    ("interval", "cron", "words"),
    [
        (None, None, "either `interval`"),
        (15, "* * * * *", "either `interval`"),
        (0, None, "0.001 to ten years, not 0"),
        (-1, None, "not -1"),
        (float("nan"), None, "not nan"),
        (True, None, "not True"),
        ("15", None, "not '15'"),
        (None, "0 25 * * *", "`cron` '0 25 * * *': hour '25': expected 0 to 23"),
        (None, "often", "`cron` 'often': 1 fields"),
        (None, 5, "not 5"),
        (None, "R * * * *", "minute 'R': expected 0 to 59"),
        (None, "H(0-5) * * * *", "minute 'H(0-5)': expected 0 to 59"),
        (None, "0 0 30 2 *", "never fires"),
        (None, "@every", "unknown name"),
    ],
)
def test_what_is_no_schedule(interval: Any, cron: Any, words: str) -> None:
    with pytest.raises(ValueError, match=r"cron|interval") as refused:
        schedule(interval, cron)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"timezone": "Europe/Berln"}, "`timezone`: no time zone 'Europe/Berln': did you mean Europe/Berlin"),
        ({"timezone": 2}, "`timezone` is a name as 'Europe/Berlin', not 2"),
        ({"timezone": "UTC", "cron": None, "interval": 5}, "`timezone` belongs to `cron`"),
        ({"catchup": "all"}, '`catchup` is "none", "last" or a number from 1 to 1000, not \'all\''),
        ({"catchup": 0}, "not 0"),
        ({"catchup": True}, "not True"),
        ({"catchup": 1001}, "not 1001"),
        ({"catchup": 5}, "`catchup` 5 needs `unless_pending` False"),
        ({"jitter": -1}, "`jitter` is seconds from 0 to a day, not -1"),
        ({"jitter": "5"}, "not '5'"),
        ({"jitter": float("nan")}, "not nan"),
    ],
)
def test_what_is_no_plan(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="`") as refused:
        plan("d", Namespace(**{**vars(PLAIN), **wrong}))
    assert words in str(refused.value)


def test_a_plan() -> None:
    made = plan("d", Namespace(**{**vars(PLAIN), "timezone": "Europe/Berlin", "catchup": 3, "unless_pending": False}))
    assert (made.catchup, made.jitter) == (3, 0)
    summer, winter = at("2027-10-30T01:00"), at("2027-10-31T02:00")
    assert made.schedule.following(summer) == winter
    assert made.local(winter).isoformat() == "2027-10-31T03:00:00+01:00"


def test_names_of_days_and_months_are_no_chance() -> None:
    assert schedule(None, "0 0 * mar thu,fri") == Cron(parse("0 0 * mar thu,fri"))


# --- where a leader goes on


def test_an_interval_fires_at_once_where_it_never_did_and_a_crontab_line_waits() -> None:
    assert due(Every(15_000), reckoned(Every(15_000), None, NOW), NOW) == NOW
    nightly = Cron(parse("0 3 * * *"))
    fired = reckoned(nightly, None, NOW)
    assert due(nightly, fired, NOW) is None
    assert due(nightly, fired, at("2024-05-01T03:00:00")) == at("2024-05-01T03:00:00")


def test_a_stored_tick_later_than_now_is_as_none() -> None:
    assert reckoned(Every(15_000), NOW + 1, NOW) is None
    assert reckoned(Every(15_000), NOW, NOW) == NOW
    assert reckoned(Cron(parse("0 3 * * *")), NOW + DAY, NOW) == at("2024-04-30T03:00:00")


def test_another_interval_than_before_waits_for_its_own_tick() -> None:
    fired = at("2024-05-01T00:00:45")
    assert due(Every(60_000), fired, at("2024-05-01T00:00:50")) is None
    assert due(Every(60_000), fired, at("2024-05-01T00:01:00")) == at("2024-05-01T00:01:00")


@given(
    schedules,
    moments,
    st.lists(st.tuples(st.integers(0, 5 * DAY), st.booleans(), st.booleans()), min_size=1, max_size=30),
)
@settings(max_examples=200, deadline=None)
def test_leaders_come_and_go(ticks: Schedule, now: int, looks: list[tuple[int, bool, bool]]) -> None:
    """At each step time has passed, a new leader may begin, and the last leader may not have stored its tick."""
    stored: int | None = None
    fired = reckoned(ticks, stored, now)
    fires: list[int] = []
    for passed, elected, lost in looks:
        now += passed
        if elected:
            fired = reckoned(ticks, stored, now)
        tick = due(ticks, fired, now)
        if tick is None:
            assert not ticks.at_once or (fired is not None and (ticks.following(fired) or 0) > now), "forgotten"
            continue
        assert fired is None or fired < tick <= now
        assert tick == ticks.latest(now), "what was missed collapses into the last"
        fires.append(tick)
        fired = tick
        stored = stored if lost else tick
    assert fires == sorted(fires)
    if not any(lost for _, _, lost in looks):
        assert len(fires) == len(set(fires)), "never doubled"


def test_a_day_of_quarter_minutes() -> None:
    ticks, now, end = Every(15_000), NOW, NOW + DAY
    fires = []
    while now < end:
        fires.append(ticks.latest(now))
        now = ticks.following(now) + 3
    assert fires == list(range(NOW, end, 15_000))
    assert timedelta(milliseconds=fires[-1] - fires[0]) == timedelta(days=1, seconds=-15)


# --- ticks that passed, and jitter


@pytest.mark.parametrize(
    ("catchup", "passed", "expected"),
    [
        (0, 5, ["2024-05-06T00:00"]),  # on time
        (1, 5, ["2024-05-06T00:00"]),
        (3, 5, ["2024-05-04T00:00", "2024-05-05T00:00", "2024-05-06T00:00"]),
        (9, 5, [f"2024-05-0{day}T00:00" for day in range(2, 7)]),
        (9, 0, []),
    ],
)
def test_ticks_that_passed_are_caught_up(catchup: int, passed: int, expected: list[str]) -> None:
    daily = Plan("d", Cron(parse("@daily")), catchup)
    assert daily.due(NOW, NOW + passed * DAY + 9) == [at(tick) for tick in expected]


def test_a_tick_that_passed_is_left_out_where_none_is_caught_up() -> None:
    daily = Plan("d", Every(DAY), catchup=0)
    assert daily.due(NOW - DAY, NOW + LATE) == [NOW]
    assert daily.due(NOW - DAY, NOW + LATE + 1) == []
    assert daily.due(None, NOW + LATE + 1) == [], "a new distributor waits for its next tick"


@given(schedules, moments, st.integers(1, DAY), st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_jitter_delays_a_tick_but_never_beyond_the_next(ticks: Schedule, now: int, jitter: int, catchup: int) -> None:
    made = Plan("d", ticks, catchup, jitter)
    tick = ticks.latest(now)
    assert tick is not None
    following = ticks.following(tick)
    assert following is not None
    assert tick <= made.moment(tick) <= min(tick + jitter, following)
    assert made.moment(tick) == Plan("d", ticks, catchup, jitter).moment(tick), "a new leader comes to the same moment"
    wake = made.next(now)
    assert wake is not None
    assert wake > now
    before, after = made.due(NOW - 100 * 366 * DAY, wake - 1), made.due(NOW - 100 * 366 * DAY, wake)
    assert after[-1] in (tick, following)
    assert not before or before[-1] < after[-1], "nothing fires earlier"


def test_the_jitter_of_two_distributors_differs() -> None:
    one, two = (Plan(name, Every(DAY), jitter=3_600_000) for name in ("a", "b"))
    assert one.moment(NOW) != two.moment(NOW)
    assert len({one.moment(NOW + day * DAY) - day * DAY for day in range(50)}) > 45
