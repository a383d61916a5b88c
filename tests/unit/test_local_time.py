"""Crontab lines in time zones against Debian's cron: 67 lines around clock changes, and random lines by its loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventjob.calendar.crontab import Crontab, parse
from geventjob.calendar.local import LocalCrontab
from geventjob.calendar.zones import Zone, names, zone

VECTORS = json.loads((Path(__file__).parent / "crontab_of_debian_in_zones.json").read_text())
"""Zone, line, window (UTC) and the instants at which cron 3.0pl1-162 starts the job, each once."""
UTC = timezone.utc
CHANGES = [
    ("Europe/Berlin", "2027-03-28T01:00"),
    ("Europe/Berlin", "2027-10-31T01:00"),
    ("Australia/Lord_Howe", "2027-04-03T15:00"),
    ("Australia/Lord_Howe", "2027-10-02T15:30"),
    ("America/Santiago", "2027-04-04T03:00"),
    ("America/Santiago", "2027-09-05T04:00"),
    ("Africa/Cairo", "2027-04-29T22:00"),
    ("Africa/Cairo", "2027-10-28T21:00"),
    ("Antarctica/Troll", "2027-03-28T01:00"),
    ("Antarctica/Troll", "2027-10-31T01:00"),
    ("Antarctica/Casey", "2020-10-03T16:01"),
    ("Pacific/Apia", "2011-12-30T10:00"),
    ("Africa/Casablanca", "2026-03-22T02:00"),
]


def minute(text: str) -> int:
    return int(datetime.fromisoformat(text.replace("Z", "")).replace(tzinfo=UTC).timestamp()) // 60


def firings(line: LocalCrontab, after: int, until: int, most: int = 10_000) -> list[int]:
    found: list[int] = []
    while len(found) < most and (at := line.following(after) or until + 1) <= until:
        after = at
        found.append(at)
    return found


@pytest.mark.parametrize("id", VECTORS)
def test_a_line_fires_as_with_debian(id: str) -> None:
    vector = VECTORS[id]
    line = LocalCrontab(parse(vector["line"]), zone(vector["zone"]))
    expected = [minute(instant) for instant in vector["instants"]]
    assert firings(line, minute(vector["after"]), minute(vector["until"]), vector["max"]) == expected
    for before, instant in zip([0, *expected], expected, strict=False):
        assert line.latest(instant) == instant
        assert line.latest(instant - 1) in (before, line.latest(expected[0] - 1))


numbers = st.sampled_from(["0", "1", "2", "3", "23", "30", "45", "0,30", "15-45/15", "*", "*/15", "*/2", "1-3"])
hours = st.sampled_from(["0", "1", "2", "3", "23", "22", "0,1", "1-3", "*", "*/2", "*,3", "2,*"])
days = st.sampled_from(["*", "*", "28", "1-7", "*/2"])
weekdays = st.sampled_from(["*", "*", "0", "fri", "1-5"])
lines = st.tuples(numbers, hours, days, st.just("*"), weekdays).map(" ".join)


@given(lines, st.sampled_from(CHANGES))
@settings(max_examples=150, deadline=None)
def test_a_random_line_fires_as_in_the_loop_of_debians_cron(line: str, change: tuple[str, str]) -> None:
    name, instant = change
    at = minute(instant)
    begin, end = at - 2 * 1440 - 7, at + 2 * 1440
    here = zone(name)
    local = LocalCrontab(parse(line), here)
    expected = loop(local.crontab, here, begin, end)
    assert firings(local, begin, end) == expected
    backwards, until = [], end
    while (latest := local.latest(until)) is not None and latest > begin:
        backwards.append(latest)
        until = latest - 1
    assert backwards[::-1] == expected


def loop(crontab: Crontab, here: Zone, begin: int, end: int) -> list[int]:
    """Return the minutes at which the loop of Debian's cron.c starts a line, each once."""

    def clock(at: int) -> int:
        local = here.local(datetime.fromtimestamp(60 * at, UTC)).replace(tzinfo=UTC)
        return int(local.timestamp()) // 60

    def matches(local: int) -> bool:
        return crontab.latest(local) == local

    virtual, found = clock(begin), []
    for at in range(begin + 1, end + 1):
        now = clock(at)
        if not -180 < now - virtual <= 180:
            virtual, fires = now, matches(now)
        elif now > virtual:
            fires = matches(now) if crontab.starred else any(map(matches, range(virtual + 1, now + 1)))
            virtual = now
        else:
            fires = crontab.starred and matches(now)
        found += [at] * fires
    return found


@given(lines, st.sampled_from([name for name, _ in CHANGES]), st.integers(0, 4_000_000_000 // 60))
@settings(max_examples=100, deadline=None)
def test_now_lies_between_the_latest_firing_and_the_following(line: str, name: str, now: int) -> None:
    local = LocalCrontab(parse(line), zone(name))
    latest, following = local.latest(now), local.following(now)
    assert following is not None
    assert now < following
    assert local.latest(following) == following
    if latest is not None:
        assert latest <= now
        assert local.following(latest) == following


def test_all_zones_load_and_a_rare_line_is_found_in_each() -> None:
    for name in sorted(names()):
        at = zone(name).local(datetime(2027, 1, 1, tzinfo=UTC))
        assert abs(at.utcoffset() or timedelta()) <= timedelta(hours=14)
    leap = LocalCrontab(parse("30 2 29 2 */7"), zone("Europe/Berlin"))
    assert leap.following(minute("2027-01-01T00:00")) == minute("2032-02-29T01:30")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Europe/Berln", "no time zone 'Europe/Berln': did you mean Europe/Berlin"),
        ("europe/berlin", "did you mean Europe/Berlin"),
        ("berlin", "did you mean Europe/Berlin"),
        ("New York", "did you mean America/New_York"),
        ("", "expected a name as Europe/Berlin"),
        ("../../etc/passwd", "no time zone"),
        ("GMT+25", "no time zone"),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest_names(name: str, said: str) -> None:
    with pytest.raises(ValueError, match="no time zone") as refused:
        Zone(name)
    assert said in str(refused.value)


def test_zones_come_from_the_package_not_from_the_host(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Berlin").write_bytes(b"no zone")
    code = "from geventjob.calendar.zones import *; print(zone('Europe/Berlin').local(EPOCH).isoformat())"
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONTZPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert ran.stdout == "1970-01-01T01:00:00+01:00\n"
