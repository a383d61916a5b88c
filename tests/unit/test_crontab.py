"""Crontab lines against Debian's cron: 117 lines with the results of its code, and random lines by its rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geventjob.calendar.crontab import NAMED, parse

VECTORS = json.loads((Path(__file__).parent / "crontab_of_debian.json").read_text())
"""Line, window (UTC) and the instants at which cron 3.0pl1-162 starts the job; null where cron refuses the line."""
OURS = {
    "a range that wraps, which never fires there": "G15 G19 G48 G49 G50 G51 G101 H11 H13",
    "a day that never comes": "G58 G59 G61",
    "what follows a number is not looked at there": "G25 G26 G27 G28 G91 G95 G96 G97 G100",
    "more than five fields, the rest of which is the command there": "G84 G85",
}
"""Lines that Debian accepts and geventjob refuses, since their meaning differs from their text."""
REFUSED = {id for ids in OURS.values() for id in ids.split()}


def minute(text: str) -> int:
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()) // 60


def firings(line: str, after: int, until: int, most: int) -> list[int]:
    """Return the minutes after `after` and up to `until` at which a line fires."""
    found: list[int] = []
    crontab, at = parse(line), after
    while len(found) < most and (at := crontab.following(at) or until + 1) <= until:
        found.append(at)
    return found


@pytest.mark.parametrize("id", VECTORS)
def test_a_line_fires_as_with_debian_or_is_refused(id: str) -> None:
    vector = VECTORS[id]
    if vector["instants"] is None or id in REFUSED:
        with pytest.raises(ValueError, match=r"\w{3}"):
            parse(vector["line"])
        return
    expected = [minute(instant) for instant in vector["instants"]]
    assert firings(vector["line"], minute(vector["after"]), minute(vector["until"]), vector["max"]) == expected
    for instant in expected:
        assert parse(vector["line"]).latest(instant) == instant
        assert parse(vector["line"]).latest(instant - 1) != instant


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0 12 * * *", "6 fields: a crontab line has five"),
        ("0 0 12 * * *", "where the first are seconds, write '0 12 * * *'"),
        ("0 0 12 * * ? 2027", "7 fields"),
        ("0 0 * *", "4 fields"),
        ("CRON_TZ=Europe/Berlin 30 2 * * *", "a time zone does not belong in the line"),
        ("0 0 1 * ?", "weekday '?': write *"),
        ("0 0 * * 5#2", "weekday '5#2': fire on each of the days, as 8-14 for a second week"),
        ("0 0 L * *", "day-of-month 'L': fire on 28-31"),
        ("0 0 * * friL", "weekday 'friL': fire on 28-31"),
        ("0 0 15W * *", "day-of-month '15W': fire on the days around it"),
        ("0 22-4 * * *", "hour '22-4': a range does not wrap: write 22-23,0-4"),
        ("0 0 * * sat-mon", "weekday 'sat-mon': a range does not wrap: write 6,0-1"),
        ("5/15 * * * *", "minute '5/15': a step needs a range: write 5-59/15"),
        ("*/0 * * * *", "a step is a whole number from 1 on"),
        ("60 * * * *", "minute '60': expected 0 to 59"),
        ("0 0 * * monday", "weekday 'monday': expected 0 to 7, or one of sun mon"),
        ("@DAILY", "unknown name @DAILY: did you mean @daily?"),
        ("@every 90s", "unknown name @every 90s"),
        ("0 0 30 2 *", "never fires"),
        ("", "0 fields"),
        ("* " * 501, "1002 characters: 1000 at most"),
    ],
)
def test_a_refusal_says_what_to_write_instead(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refused:
        parse(line)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_first_sunday_of_a_month() -> None:
    first = firings("0 0 1-7 * */7", minute("2027-01-01T00:00:00Z"), minute("2027-04-30T00:00:00Z"), 9)
    assert [datetime.fromtimestamp(60 * at, timezone.utc).day for at in first] == [3, 7, 7, 4]


# --- random lines, by Debian's own rules minute by minute

RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


def items(least: int, most: int) -> st.SearchStrategy[str]:
    pairs = st.tuples(st.integers(least, most), st.integers(least, most)).map(sorted)
    steps = st.one_of(st.just(""), st.integers(1, most + 5).map(lambda step: f"/{step}"))
    return st.one_of(
        st.integers(least, most).map(str),
        st.tuples(pairs, steps).map(lambda drawn: f"{drawn[0][0]}-{drawn[0][1]}{drawn[1]}"),
        steps.map(lambda step: f"*{step}"),
    )


fields = [st.lists(items(*bounds), min_size=1, max_size=3).map(",".join) for bounds in RANGES]
lines = st.tuples(*fields).map(" ".join)


def rule(line: str) -> Callable[[datetime], bool]:
    """Return whether cron starts the line in a minute: cron.c and entry.c, in the simplest code."""
    words = line.split()
    sets = []
    for word, (least, most) in zip(words, RANGES, strict=True):
        values: set[int] = set()
        for item in word.split(","):
            base, _, step = item.partition("/")
            first, _, last = (f"{least}-{most}" if base == "*" else base).partition("-")
            values.update(range(int(first), int(last or first) + 1, int(step or 1)))
        sets.append(values)
    star = words[2][0] == "*" or words[4][0] == "*"

    def matches(at: datetime) -> bool:
        weekday = at.isoweekday() % 7
        of_month, of_week = at.day in sets[2], weekday in sets[4] or (weekday == 0 and 7 in sets[4])
        day = (of_month and of_week) if star else (of_month or of_week)
        return at.minute in sets[0] and at.hour in sets[1] and at.month in sets[3] and day

    return matches


def fires_at_all(line: str) -> bool:
    """Return whether some day of 40 years is one of the line's."""
    words, first = line.split(), datetime(2000, 1, 1, tzinfo=timezone.utc)
    matches = rule(" ".join(["*", "*", *words[2:]]))
    return any(matches(first + timedelta(days=day)) for day in range(40 * 366))


@given(lines, st.integers(minute("1999-12-01T00:00:00Z"), minute("2045-01-01T00:00:00Z")))
@settings(max_examples=150, deadline=None)
def test_random_lines_fire_as_with_debian(line: str, after: int) -> None:
    window = 2 * 24 * 60
    start = datetime.fromtimestamp(60 * after, timezone.utc)
    matches = rule(line)
    expected = [after + n for n in range(1, window + 1) if matches(start + timedelta(minutes=n))]
    if not expected:
        assume(fires_at_all(line))
    assert firings(line, after, after + window, window) == expected


@pytest.mark.parametrize("name", NAMED)
def test_a_name_is_its_line(name: str) -> None:
    assert parse(name) == parse(NAMED[name])
