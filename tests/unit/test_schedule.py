"""Ticks: the same in every process, never doubled, never skipped except ticks that passed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventjob.scheduling.crontab import parse
from geventjob.scheduling.schedule import Cron, Every, Schedule, due, reckoned, schedule

NOW = 1_714_521_600_000  # 2024-05-01T00:00:00Z, a Wednesday
DAY = 86_400_000

moments = st.integers(0, 4_000_000_000_000)
LINES = """* * * * *; */7 * * * *; 0 3 * * *; 30 2 1 * *; 0 0 29 2 *; 5 4 * * sun; 0 9-17 * * mon-fri; @hourly;
0 0 1-7 * */7"""
lines = st.sampled_from([line.strip() for line in LINES.split(";")])
schedules: st.SearchStrategy[Schedule] = st.one_of(
    st.integers(1, 40 * DAY).map(Every),
    st.sampled_from([15_000, DAY]).map(Every),
    lines.map(lambda line: Cron(parse(line))),
)


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
    ],
)
def test_what_is_no_schedule(interval: Any, cron: Any, words: str) -> None:
    with pytest.raises(ValueError, match=r"cron|interval") as refused:
        schedule(interval, cron)
    assert words in str(refused.value)


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
