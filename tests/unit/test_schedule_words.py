"""The words of `geventjob schedules`, and the values of its options."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from geventjob.calendar.stored import milliseconds
from geventjob.cli import schedule_options
from geventjob.cli.schedule_words import following, interval, last, lines, made, pause, timing

NOW = milliseconds("2027-03-28T09:00:00.000Z")
NIGHTLY: dict[str, Any] = {
    "kind": "schedule", "name": "nightly", "action": "report", "cron": "30 2 * * *", "timezone": "Europe/Berlin",
    "next": "2027-03-29T00:30:00.000Z", "leader": "host-a",
    "fired": {"at": "2027-03-28T01:00:00.214Z", "tick": "2027-03-28T01:00:00.000Z", "job": "job/1"},
}  # fmt: skip


def test_a_schedule_in_words() -> None:
    assert list(lines(NIGHTLY, NOW)) == [
        "nightly  30 2 * * *  Europe/Berlin  report",
        "    next    in 15 h: Mon 2027-03-29 02:30 +02:00 (00:30 UTC)",
        "    last    8 h ago: Sun 2027-03-28 03:00 +02:00 (01:00 UTC); made 1 job: job/1",
        "    leader  host-a",
    ]


def test_a_distributor_in_words() -> None:
    fired = {"at": "2027-03-28T08:59:30.500Z", "by": "ann", "made": 7, "jobs": ["job/1", "job/2"]}
    one = {"kind": "distributor", "name": "d", "interval": 900, "next": "2027-03-28T09:15:00.000Z", "fired": fired}
    assert list(lines(one, NOW)) == [
        "d  each 15 min  (distributor)",
        "    next    in 15 min: Sun 2027-03-28 09:15 UTC",
        "    last    29 s ago, by ann: Sun 2027-03-28 08:59:30 UTC; made 7 jobs: job/1, job/2, …",
        "    leader  none",
    ]
    assert list(lines({"kind": "distributor", "name": "old", "leader": "b"}, NOW)) == [
        "old  (distributor)",
        "    leader  b",
    ]


def test_a_paused_schedule_in_words() -> None:
    paused = {"by": "ann", "at": "2027-03-28T08:00:00.000Z"}
    endless = {name: value for name, value in NIGHTLY.items() if name not in ("next", "fired")} | {"paused": paused}
    assert list(lines(endless, NOW))[1:4] == [
        "    paused  by ann since 60 min",
        "    next    none while it is paused",
        "    last    none yet",
    ]
    told = NIGHTLY | {"paused": {**paused, "until": "2027-03-28T22:30:00.000Z", "why": "the disk is full"}}
    until = "until Mon 2027-03-29 00:30 +02:00 (Sun 22:30 UTC)"
    assert pause(told, NOW) == f"by ann since 60 min, {until}: the disk is full"


def test_a_schedule_that_never_fires_again() -> None:
    assert following({"cron": "0 0 1 1 *"}, NOW) == "never"


@pytest.mark.parametrize(
    ("fired", "words"),
    [
        ({"job": "job/1"}, "1 job: job/1"),
        ({"pending": "job/1"}, "no job: job/1 was pending"),
        ({"made": 0, "jobs": []}, "no job"),
        ({"made": 2, "jobs": ["job/1", "job/2"]}, "2 jobs: job/1, job/2"),
        ({"jobs": ["job/1"]}, "1 job: job/1"),
        ({}, ""),
    ],
)
def test_what_a_firing_made(fired: dict[str, Any], words: str) -> None:
    assert made(fired) == words


def test_the_last_firing_of_an_older_version_has_a_tick_alone() -> None:
    assert last({"fired": {"tick": "2027-03-28T08:00:00.000Z"}}, NOW) == "60 min ago: Sun 2027-03-28 08:00 UTC"


def test_a_zone_that_is_not_known_here_leaves_utc() -> None:
    assert following({**NIGHTLY, "timezone": "Europe/Nowhere"}, NOW) == "in 15 h: Mon 2027-03-29 00:30 UTC"
    assert timing({"cron": "@daily"}) == "@daily  UTC"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.5, "0.5 s"), (90, "90 s"), (5400, "90 min"), (7200, "2 h"), (86_400, "1 d"), (1.0, "1 s")],
)
def test_an_interval_in_words(seconds: float, words: str) -> None:
    assert interval(seconds) == words


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86_400), ("1.5", 1.5)]
)
def test_the_value_of_every(text: str, seconds: float) -> None:
    assert schedule_options.interval(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1y", "1 h", "1.2345", "1e3", "٣"])
def test_a_wrong_value_of_every(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a time as 90"):
        schedule_options.interval(text)


@pytest.mark.parametrize(("text", "value"), [("none", "none"), ("last", "last"), ("1", 1), ("1000", 1000)])
def test_the_value_of_catchup(text: str, value: str | int) -> None:
    assert schedule_options.catchup(text) == value


@pytest.mark.parametrize("text", ["", "all", "0", "1001", "-1", "1.5"])
def test_a_wrong_value_of_catchup(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected none, last or a number from 1 to 1000"):
        schedule_options.catchup(text)
